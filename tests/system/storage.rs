//! A disk that fails: what was acknowledged stays, and nothing is acknowledged any more.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{PATIENCE, Store, World, random};
use tokio::{process::Command, time::Instant};

/// Stands before the C library: each flush fails while a file exists, as a dying disk's would; those of one file
/// alone where its name stands in that file.
const SHIM: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int fails(int file) {
        const char *path = getenv("SAM_TEST_FLUSH_FAILS");
        int told = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (told < 0) return 0;
        char only[64] = "", link[64], name[4096] = "";
        ssize_t n = read(told, only, sizeof only - 1);
        close(told);
        if (n <= 0) return 1;
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, name, sizeof name - 1);
        return length >= n && strcmp(name + length - n, only) == 0;
    }
    int fsync(int file) {
        if (fails(file)) { errno = EIO; return -1; }
        return (int) syscall(SYS_fsync, file);
    }
    int fdatasync(int file) {
        if (fails(file)) { errno = EIO; return -1; }
        return (int) syscall(SYS_fdatasync, file);
    }
"#;

/// Any C compiler will do: the build of SQLite needs one too.
async fn shim(folder: &Path) -> Result<String> {
    std::fs::create_dir_all(folder)?;
    let (source, library) = (folder.join("flush.c"), folder.join("flush.so"));
    std::fs::write(&source, SHIM)?;
    let mut built = Command::new("cc");
    built.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    let output = built.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(library.display().to_string())
}

/// More events than are left in the write-ahead log.
const LINKS: usize = 2500;
const LINKS_AT_ONCE: usize = 32;

async fn link(world: &World, name: &str) -> Result<(u16, Value)> {
    let body = json!({ "id": random(), "repository": world.repository.path(), "name": name });
    world.server()?.ask(Method::POST, "projects", Some(&body)).await
}

/// A world whose server cannot flush once there is a file, the last of the answer; and the folder that it is in.
async fn on_a_dying_disk(name: &str) -> Result<(World, PathBuf, PathBuf)> {
    let folder = std::env::temp_dir().join(format!("sam-{name}-{}", std::process::id()));
    let library = shim(&folder).await?;
    let broken = folder.join("broken");
    let settings = [
        ("SAM_NO_LOCAL_NODE", "true"),
        ("LD_PRELOAD", library.as_str()),
        ("SAM_TEST_FLUSH_FAILS", broken.to_str().context("a path")?),
    ];
    let world = World::start_with(name, Store::Sqlite, &settings).await?;
    Ok((world, folder, broken))
}

async fn ends_and_says_why(world: &mut World) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !world.server_mut()?.is_dead() {
        ensure!(Instant::now() < deadline, "it goes on:\n{}", world.server()?.said());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let said = world.server()?.said();
    ensure!(said.contains("the log cannot be written"), "it says why: {said}");
    Ok(())
}

/// What was acknowledged is in the write-ahead log. Once the file behind it did not take it, the next flush may say
/// that it did, and then the write-ahead log would be thrown away.
#[tokio::test]
async fn a_flush_that_fails_behind_the_write_ahead_log_ends_the_server_too() -> Result<()> {
    let (mut world, folder, broken) = on_a_dying_disk("flush-behind").await?;
    std::fs::write(&broken, "/log.db")?;
    let names: Vec<String> = (0..LINKS).map(|n| format!("Link {n}")).collect();
    let links = futures_util::stream::iter(names.iter().map(|name| link(&world, name)));
    let answers: Vec<_> = links.buffer_unordered(LINKS_AT_ONCE).collect().await;
    let n_acknowledged = answers.iter().flatten().filter(|(status, _)| *status == 202).count();
    ends_and_says_why(&mut world).await?;

    std::fs::remove_file(&broken)?;
    world.kill().await?;
    world.resume().await?;
    // They and the first; what is read right after the start may be shown in part.
    let are_kept =
        |projects: &Value| projects.as_array().is_some_and(|all| all.len() > n_acknowledged);
    world.until("projects", are_kept).await?;
    world.end().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[tokio::test]
async fn a_disk_that_cannot_flush_ends_the_server_and_acknowledges_nothing() -> Result<()> {
    let (mut world, folder, broken) = on_a_dying_disk("flush").await?;
    assert_eq!(link(&world, "Before").await?.0, 202);

    std::fs::write(&broken, "")?;
    // Refused, or cut off because the server is on its way out: anything but acknowledged.
    if let Ok((status, document)) = link(&world, "Doubtful").await {
        assert!(status >= 500, "{status} {document}");
    }
    ends_and_says_why(&mut world).await?;

    std::fs::remove_file(&broken)?;
    world.kill().await?;
    world.resume().await?;
    assert_eq!(link(&world, "After").await?.0, 202);
    let is_last = |one: &Value| one["name"] == "After";
    let are_shown = |all: &Value| all.as_array().is_some_and(|all| all.iter().any(is_last));
    let projects = world.until("projects", are_shown).await?;
    let names: Vec<_> =
        projects.as_array().context("a list")?.iter().map(|one| &one["name"]).collect();
    for name in ["Story", "Before", "After"] {
        assert_eq!(names.iter().filter(|one| ***one == name).count(), 1, "{names:?}");
    }
    world.end().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
