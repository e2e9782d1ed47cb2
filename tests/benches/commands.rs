//! How many commands a second get through the dispatcher to disk?
//!
//! Budget, on PostgreSQL against PostgreSQL: at least 5 times what unmodified cqrs-es with postgres-es does
//! when 64 aggregates are busy, and not less when there is one. SQLite has no peer here and is shown for itself.
//!
//! Both sides run the same commands of the same aggregate (link a project, then rename it 19 times; then the next
//! project), one at a time per aggregate, on one server with `fsync` on and a database each. Ours is the whole
//! control plane: read models and processes follow the log meanwhile. The peer has neither queries nor snapshots.
//! Sides take turns within each round.

use anyhow::Result;
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
};

use crate::dispatch::{our_rate, rate, start, start_peer, theirs};

#[path = "shared/dispatch.rs"]
mod dispatch;

const N_ROUNDS: usize = 5;
const N_AGGREGATES: [usize; 3] = [1, 8, 64];

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("commands")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    let sqlite = start(&folder, "sqlite", "sqlite:").await?;
    let postgres = start(&folder, "postgres-data", &cluster.database()?).await?;
    let peer = start_peer(&cluster).await?;
    let mut figures = Figures::default();
    for n in N_AGGREGATES {
        let [mut on_sqlite, mut on_postgres, mut of_peer]: [Samples; 3] = Default::default();
        for round in 0..=N_ROUNDS {
            let rates = [
                our_rate(n, &sqlite).await?,
                our_rate(n, &postgres).await?,
                rate(n, |id, number| theirs(&peer, id, number)).await?,
            ];
            if round == 0 {
                continue; // Connections and plans are made; nothing is counted.
            }
            let [s, p, c] = rates;
            say(&format!(
                "{n} aggregates, round {round}: sqlite {s:.0}, postgres {p:.0}, cqrs-es {c:.0} commands/s"
            ));
            on_sqlite.push(s);
            on_postgres.push(p);
            of_peer.push(c);
        }
        let goal = match n {
            1 => Goal::AtLeast(1.0),
            64 => Goal::AtLeast(5.0),
            _ => Goal::None,
        };
        let unit = "commands/s";
        figures.add(&format!("commands/sqlite_{n}"), on_sqlite.median(), unit, Goal::None);
        figures.add(&format!("commands/postgres_{n}"), on_postgres.median(), unit, Goal::None);
        figures.add(&format!("commands/cqrs_es_{n}"), of_peer.median(), unit, Goal::None);
        let ratio = on_postgres.median() / of_peer.median();
        figures.add(&format!("commands/ratio_{n}"), ratio, "times", goal);
    }
    sqlite.stop().await;
    postgres.stop().await;
    figures.close()
}
