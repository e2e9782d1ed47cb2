//! How many commands a second get through the dispatcher to disk?
//!
//! Budget, on PostgreSQL against PostgreSQL: at least 5 times what unmodified cqrs-es with postgres-es does
//! when 64 aggregates are busy, and not less when there is one. SQLite has no peer here and is shown for itself.
//!
//! Both sides run the same commands of the same aggregate (link a project, then rename it 19 times; then the next
//! project), one at a time per aggregate, on one server with `fsync` on and a database each. Neither has anything
//! behind its log: the peer has neither queries nor snapshots, and ours no read models or processes. Beside it
//! stands the whole control plane, in which eleven read models, the index of words, all processes and the signed
//! heads follow the log meanwhile; it has no peer. Sides take turns within each round.

use anyhow::Result;
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
};

use crate::dispatch::{Alone, our_rate, rate, start, start_peer, theirs};

#[path = "shared/dispatch.rs"]
mod dispatch;

/// As in `sam`; for the peers in this program too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_ROUNDS: usize = 5;
const N_AGGREGATES: [usize; 3] = [1, 8, 64];

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("commands")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    let sqlite = Alone::start(&folder, "sqlite", "sqlite:").await?;
    let postgres = Alone::start(&folder, "postgres-data", &cluster.database()?).await?;
    let peer = start_peer(&cluster).await?;
    let whole = start(&folder, "whole", &cluster.database()?).await?;
    let mut figures = Figures::default();
    for n in N_AGGREGATES {
        let [mut on_sqlite, mut on_postgres, mut of_peer, mut of_whole]: [Samples; 4] =
            Default::default();
        for round in 0..=N_ROUNDS {
            let rates = [
                sqlite.rate(n).await?,
                postgres.rate(n).await?,
                rate(n, |id, number| theirs(&peer, id, number)).await?,
                our_rate(n, &whole).await?,
            ];
            if round == 0 {
                continue; // Connections and plans are made; nothing is counted.
            }
            let [s, p, c, w] = rates;
            say(&format!(
                "{n} aggregates, round {round}: sqlite {s:.0}, postgres {p:.0}, cqrs-es {c:.0}, \
                 the whole control plane {w:.0} commands/s"
            ));
            on_sqlite.push(s);
            on_postgres.push(p);
            of_peer.push(c);
            of_whole.push(w);
        }
        let goal = match n {
            1 => Goal::AtLeast(1.0),
            64 => Goal::AtLeast(5.0),
            _ => Goal::None,
        };
        let mut add = |name: &str, value: f64, unit: &str, goal: Goal| {
            figures.add(&format!("commands/{name}_{n}"), value, unit, goal);
        };
        let (p, c, w) = (on_postgres.median(), of_peer.median(), of_whole.median());
        add("sqlite", on_sqlite.median(), "commands/s", Goal::None);
        add("postgres", p, "commands/s", Goal::None);
        add("cqrs_es", c, "commands/s", Goal::None);
        add("ratio", p / c, "times", goal);
        add("whole_ratio", w / c, "times", Goal::None);
    }
    sqlite.stop().await;
    postgres.stop().await;
    whole.stop().await;
    figures.close()
}
