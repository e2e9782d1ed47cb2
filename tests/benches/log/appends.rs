//! Durable appends a second through 64 actors.
//!
//! Ours are the log and its actors, without read models and processes behind it, as the peers are; a whole
//! control plane on PostgreSQL stands beside them.

use anyhow::Result;
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
};

use crate::{
    Sizes, bare,
    dispatch::{Alone, our_rate, rate, start, start_peer, theirs},
    peers,
};

const N_ACTORS: usize = 64;
const BULK_ROWS: usize = 512;

pub(crate) async fn measure(
    figures: &mut Figures,
    sizes: Sizes,
    prefix: &str,
    folder: &Folder,
    cluster: &Cluster,
) -> Result<()> {
    let url = cluster.database()?;
    let on_postgres = Alone::start(folder, "postgres-data", &url).await?;
    let on_sqlite = Alone::start(folder, "sqlite", "sqlite:").await?;
    let whole = start(folder, "whole", &cluster.database()?).await?;
    let peer = start_peer(cluster).await?;
    let [mut postgres, mut sqlite, mut stock, mut bare_postgres, mut bare_sqlite]: [Samples; 5] =
        Default::default();
    let [mut small, mut syncs, mut of_whole]: [Samples; 3] = Default::default();
    for round in 0..=sizes.n_rounds {
        let p = on_postgres.rate(N_ACTORS).await?;
        let s = on_sqlite.rate(N_ACTORS).await?;
        let c = rate(N_ACTORS, |id, number| theirs(&peer, id, number)).await?;
        let rows = bare::rows(&url).await?;
        let n_batch = bare::batch_rows(&url).await?;
        let bp = bare::postgres_rate(&url, &rows, n_batch).await?;
        let bs = bare::sqlite_rate(folder, &rows, BULK_ROWS).await?;
        // With a row of each caller, which is all that a commit can have where each waits for its answer.
        let b1 = bare::sqlite_rate(folder, &rows, N_ACTORS).await?;
        let f = bare::sync_rate(folder)?;
        let w = our_rate(N_ACTORS, &whole).await?;
        if round == 0 {
            continue; // Connections and plans are made; nothing is counted.
        }
        say(&format!(
            "round {round}: postgres {p:.0}, sqlite {s:.0}, postgres-es {c:.0}, bare insert of {n_batch} rows \
             {bp:.0}, bare sqlite insert of {BULK_ROWS} rows {bs:.0}, of {N_ACTORS} {b1:.0}, the whole control plane \
             {w:.0} appends/s; {f:.0} fsync/s"
        ));
        for (samples, value) in [&mut postgres, &mut sqlite, &mut stock]
            .into_iter()
            .chain([&mut bare_postgres, &mut bare_sqlite, &mut small, &mut syncs, &mut of_whole])
            .zip([p, s, c, bp, bs, b1, f, w])
        {
            samples.push(value);
        }
    }
    on_sqlite.stop().await;
    on_postgres.stop().await;
    whole.stop().await;
    let mut add = |name: &str, value: f64, unit: &str, goal: Goal| {
        figures.add(&format!("log/{prefix}{name}"), value, unit, goal);
    };
    let (p, s, c) = (postgres.median(), sqlite.median(), stock.median());
    add("postgres_64", p, "appends/s", Goal::None);
    add("sqlite_64", s, "appends/s", Goal::None);
    add("postgres_es_64", c, "appends/s", Goal::None);
    add("whole_64", of_whole.median(), "appends/s", Goal::None);
    add("fsync", syncs.median(), "/s", Goal::None);
    add("postgres_to_postgres_es", p / c, "times", Goal::AtLeast(8.0));
    add("postgres_to_bare_insert", p / bare_postgres.median(), "times", Goal::AtLeast(0.6));
    add("sqlite_to_bare_bulk_insert", s / bare_sqlite.median(), "times", Goal::AtLeast(0.25));
    add("sqlite_to_bare_insert_of_64", s / small.median(), "times", Goal::None);
    add("bare_insert_of_64_to_bulk", small.median() / bare_sqlite.median(), "times", Goal::None);
    for (name, peer) in peers::rates(N_ACTORS, cluster)? {
        match peer {
            Ok(rate) => add(&format!("postgres_to_{name}"), p / rate, "times", Goal::AtLeast(1.0)),
            Err(reason) => {
                say(&format!("{name} could not be measured, which fails its figure: {reason:#}"));
                add(&format!("postgres_to_{name}"), 0.0, "times", Goal::AtLeast(1.0));
            }
        }
    }
    Ok(())
}
