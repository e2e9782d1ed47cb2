//! Several servers on one PostgreSQL database.
//!
//! Commands are accepted by each of them. Processes run where the lease is. The agent of this
//! installation's machine calls the server of its data directory, its home, whoever has the lease: the
//! home serves the others over one internal socket. Through it the holder of the lease gives orders and
//! has the machine started, and every replica follows streamed text.
//!
//! The socket is encrypted and authenticated by a key from the database, so nobody who cannot open that
//! key understands or says anything there. Nothing on it is durable: what was under way when it breaks
//! is asked again.
//!
//! Read next: `replica/home.rs` answers, `replica/guest.rs` asks, `replica/channel.rs` carries.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use projections::{
    database::Database,
    lease_row::LeaseRow,
    replica_list::{Replica, ReplicaList},
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    random,
    replica::{
        guest::{Caller, Homes},
        home::Home,
    },
    tasks::Tasks,
};

pub(crate) mod channel;
pub(crate) mod frames;
pub(crate) mod guest;
pub(crate) mod home;

const ID_FILE: &str = "replica.id";
/// How long an announcement is good for.
const PERIOD: Duration = Duration::from_secs(9);
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(2);

/// The id of a data directory; the first call ever makes it.
pub(crate) fn id_of(data_dir: &Path) -> io::Result<Uuid> {
    let path = data_dir.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random::uuid();
            let draft = path.with_extension("new");
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            io::Write::write_all(&mut options.open(&draft)?, id.to_string().as_bytes())?;
            fs::rename(&draft, &path)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

/// What is needed to be one of several.
pub(crate) struct Membership {
    pub(crate) id: Uuid,
    pub(crate) database: Database,
    pub(crate) links: AgentLinks,
    pub(crate) homes: Homes,
    /// Present where the agents' socket is.
    pub(crate) home: Option<Arc<Home>>,
    pub(crate) key: [u8; 32],
}

impl Membership {
    /// Opens the internal socket where there is a machine to serve, and starts to take part.
    pub(crate) async fn start(self, listen: SocketAddr, tasks: &Tasks) -> io::Result<()> {
        let mut address = String::new();
        if let Some(home) = &self.home {
            let listener = TcpListener::bind(listen).await?;
            address = listener.local_addr()?.to_string();
            tasks.start("internal socket", Arc::clone(home).listen(listener, tasks.clone()));
        }
        let replica = Replica { id: self.id, address, carries_node: self.home.is_some() };
        let list = ReplicaList::new(&self.database);
        let tell = (list.clone(), replica, LeaseRow::new(&self.database), self.links.clone());
        tasks.keep("announcing", move || {
            let (list, replica, lease, links) = tell.clone();
            announce(list, replica, lease, links)
        });
        let callers: Arc<Mutex<Vec<(Replica, Tasks)>>> = Arc::default();
        tasks.keep("looking for homes", move || {
            let caller = Caller {
                own: self.id,
                key: self.key,
                links: self.links.clone(),
                homes: self.homes.clone(),
            };
            look(list.clone(), caller, Arc::clone(&callers))
        });
        Ok(())
    }
}

/// Says that this server runs, and learns which epoch the lease is in, for ever.
async fn announce(list: ReplicaList, replica: Replica, lease: LeaseRow, links: AgentLinks) {
    loop {
        if let Err(error) = list.announce(&replica, PERIOD).await {
            tracing::debug!(%error, "other replicas could not be told of this one");
        }
        if let Ok(Some(lease)) = lease.current().await {
            links.saw_epoch(lease.epoch);
        }
        tokio::time::sleep(ANNOUNCE_PERIOD).await;
    }
}

/// Keeps one connection to each running home, for ever.
async fn look(list: ReplicaList, caller: Caller, callers: Arc<Mutex<Vec<(Replica, Tasks)>>>) {
    loop {
        match list.others(caller.own).await {
            Ok(others) => {
                let homes = others.into_iter().filter(|other| other.carries_node);
                keep(&callers, homes.collect(), &caller);
            }
            Err(error) => tracing::debug!(%error, "other replicas could not be looked for"),
        }
        tokio::time::sleep(ANNOUNCE_PERIOD).await;
    }
}

fn keep(callers: &Mutex<Vec<(Replica, Tasks)>>, homes: Vec<Replica>, caller: &Caller) {
    let mut callers = callers.lock().unwrap_or_else(PoisonError::into_inner);
    // Dropping its tasks hangs up.
    callers.retain(|(replica, _)| homes.contains(replica));
    for home in homes {
        if callers.iter().all(|(replica, _)| *replica != home) {
            let tasks = Tasks::new();
            let (caller, replica) = (caller.clone(), home.clone());
            tasks.keep("a home's caller", move || caller.clone().call(replica.clone()));
            callers.push((home, tasks));
        }
    }
}
