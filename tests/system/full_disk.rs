//! The disk of the log fills up while people write: they are told, nothing that was acknowledged is lost, and it
//! goes on once there is room.

#![expect(clippy::unwrap_used, reason = "it is a test to its last function")]

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    postgres::Cluster,
    world::{PATIENCE, Store, World, random},
};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

/// What the posts may fill before the disk is full.
const ROOM_BYTES: u64 = 1 << 20;
/// A text of this length fills the room after some dozens of posts.
const TEXT_LENGTH: usize = 12_000;
const N_CLIENTS: usize = 4;
/// Far more than the room holds.
const POSTS_MAX: usize = 2_000;
const GLANCE: Duration = Duration::from_millis(100);

/// A disk of its own, in memory, which can be filled and freed.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(name: &str, size: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sam-disk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let size = format!("size={size},mode=755");
        as_root(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", path.to_str().unwrap()]);
        Self { path }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills it up but for some bytes.
    fn fill(&self, room: u64) {
        let mut file = File::create(self.filler()).unwrap();
        let full = loop {
            // The last one is shorter: the disk is full in the middle of it.
            match file.write(&[0; 4096]) {
                Ok(n_bytes) => assert!(n_bytes > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let n_bytes = file.metadata().unwrap().len();
        file.set_len(n_bytes.saturating_sub(room)).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.path.to_str().unwrap()]);
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Only root may mount; elsewhere sudo has to do without a question.
fn as_root(words: &[&str]) {
    let is_root = Path::new("/proc/self").metadata().is_ok_and(|it| {
        use std::os::unix::fs::MetadataExt as _;
        it.uid() == 0
    });
    let words = if is_root { words.to_vec() } else { [&["sudo", "-n"], words].concat() };
    let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(status.success(), "{words:?}: run the tests as root, or with sudo");
}

/// An idea that somebody wants kept.
#[derive(Clone, Debug)]
struct Wish {
    idea: Uuid,
    text: String,
}

impl Wish {
    fn new() -> Self {
        let idea = random();
        Self { idea, text: format!("{idea} {}", "x".repeat(TEXT_LENGTH)) }
    }

    async fn post(&self, world: &World) -> (u16, Value) {
        let body = json!({ "idea": self.idea, "description": self.text, "stage": "exploring" });
        let path = format!("projects/{}/ideas", world.project);
        world.server().unwrap().ask(Method::POST, &path, Some(&body)).await.unwrap()
    }

    async fn assert_kept(&self, world: &World) {
        let path = format!("ideas/{}", self.idea);
        let idea = world.until(&path, |idea| idea["description"] == self.text).await;
        assert!(idea.is_ok(), "{} was acknowledged and is lost", self.idea);
    }
}

/// Some people post until one of them is refused; tells what was acknowledged, and the refusal.
async fn post_until_refused(world: &World) -> (Vec<Wish>, Wish, (u16, Value)) {
    let mut kept = Vec::new();
    for _ in 0..POSTS_MAX / N_CLIENTS {
        let wishes: Vec<Wish> = (0..N_CLIENTS).map(|_| Wish::new()).collect();
        let answers = join_all(wishes.iter().map(|wish| wish.post(world))).await;
        let mut refused = None;
        for (wish, answer) in wishes.into_iter().zip(answers) {
            match answer.0 {
                202 => kept.push(wish),
                _ => refused = Some((wish, answer)),
            }
        }
        if let Some((wish, answer)) = refused {
            return (kept, wish, answer);
        }
    }
    panic!("the disk never fills up")
}

/// The same wish again, under the same id, until it is accepted.
async fn post_until_kept(world: &World, wish: &Wish) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, document) = wish.post(world).await;
        if status == 202 {
            return;
        }
        assert!([503, 507].contains(&status), "{status} {document}");
        assert!(Instant::now() < deadline, "it never heals: {status} {document}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// A server on a database of our own, without a machine.
async fn start_on(url: &str) -> World {
    let settings = [("SAM_NO_LOCAL_NODE", "true"), ("SAM_DATABASE_URL", url)];
    World::start_with("full", Store::Sqlite, &settings).await.unwrap()
}

async fn assert_intact(world: &World) {
    let report = world.server().unwrap().post("audit/verify", &json!({})).await.unwrap();
    assert_eq!(report["isIntact"], true, "{report:#}");
}

/// The disk is filled, freed, and filled again, with a restart in the end.
async fn survive(mut world: World, disk: &Disk) {
    let (mut kept, mut last) = (Vec::new(), None);
    for _ in 0..2 {
        disk.fill(ROOM_BYTES);
        let (more, refused, (status, problem)) = post_until_refused(&world).await;
        kept.extend(more);
        assert_eq!((status, &problem["code"]), (507, &json!("disk_full")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("Free some space") && detail.contains("try again"), "{detail}");
        let (status, _) = world.server().unwrap().ask(Method::GET, "projects", None).await.unwrap();
        assert_eq!(status, 200, "reading goes on");
        if last.is_none() {
            disk.free();
            post_until_kept(&world, &refused).await;
            kept.push(refused.clone());
        }
        last = Some(refused);
    }
    world.kill().await.unwrap();
    disk.free();
    world.resume().await.unwrap();
    for wish in &kept {
        wish.assert_kept(&world).await;
    }
    // What was refused can be sent again, and is there once.
    let refused = last.unwrap();
    post_until_kept(&world, &refused).await;
    refused.assert_kept(&world).await;
    let ideas = format!("projects/{}/ideas", world.project);
    let ideas = world.server().unwrap().get(&ideas).await.unwrap();
    assert_eq!(ideas.as_array().unwrap().len(), kept.len() + 1);
    assert_intact(&world).await;
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_refuses_and_heals() {
    let disk = Disk::mount("sqlite", "24m");
    let url = format!("sqlite:{}", disk.path.display());
    let world = start_on(&url).await;
    survive(world, &disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_tables_of_postgres_refuses_and_heals() {
    let disk = Disk::mount("tables", "48m");
    let folder = std::env::temp_dir().join(format!("sam-full-tables-{}", std::process::id()));
    let cluster = Cluster::start(&folder, "").unwrap();
    let url = cluster.database_in(&disk.path).unwrap();
    let world = start_on(&url).await;
    survive(world, &disk).await;
}

/// A PostgreSQL that cannot write its log ends with all its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_log_of_postgres_loses_nothing() {
    let disk = Disk::mount("wal", "48m");
    let folder = std::env::temp_dir().join(format!("sam-full-wal-{}", std::process::id()));
    let cluster = Cluster::start_with_wal(&folder, &disk.path, "").unwrap();
    let url = cluster.database().unwrap();
    let mut world = start_on(&url).await;
    disk.fill(ROOM_BYTES);
    let (mut kept, refused, (status, problem)) = post_until_refused(&world).await;
    assert!([503, 507].contains(&status), "{status} {problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("disk"),
        "it says where to look: {problem}"
    );
    disk.free();
    if !cluster.is_running() {
        let _ = cluster.crash_server();
        cluster.start_server("").unwrap();
    }
    post_until_kept(&world, &refused).await;
    kept.push(refused);
    world.kill().await.unwrap();
    world.resume().await.unwrap();
    for wish in &kept {
        wish.assert_kept(&world).await;
    }
    assert_intact(&world).await;
    world.end().await.unwrap();
}
