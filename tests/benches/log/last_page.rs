//! How long the last page of a conversation takes when a project holds a million messages.
//!
//! Ours is the query of the API (`chat_transcript::page`): the newest items with the segments of their messages, made
//! into items. The bare one is one statement for the same rows through the same indexes, on a connection of its own,
//! its rows read and left as they are. Decrypting the texts is in neither. All messages are in one session, which is
//! the longest way through an index; the read model is filled by the projector from events of the log.

use std::time::Instant;

use anyhow::{Result, ensure};
use domain::{
    agent_protocol::TextKind,
    event_sourced::{EventPayload as _, canonical_json},
    ids::{AccountId, ContentId, ExecutionId, MessageId, ProjectId, SessionId},
    session::{RecordedSegment, SessionEvent},
    values::ContentRef,
};
use projections::{
    chat_transcript::{self, ChatTranscript},
    database::Database,
    event_log::{APPEND_EVENTS_MAX, Append, EventLog, FIRST_HASH, NewEvent, Options, StreamId},
    projector::Projector,
    read_models,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
    world::random,
};
use uuid::Uuid;

use crate::{Sizes, history};

/// What the API gives without being asked for more or less.
const PAGE: usize = 100;
const N_PAGES: usize = 2000;
const N_WARM_UP: usize = 200;
const RATIO_MAX: f64 = 2.0;

/// The page and the row behind it, by which is seen whether there are older ones.
const BARE: &str = "SELECT items.*, segments.content AS text
    FROM (SELECT * FROM chat_items WHERE session = $1 ORDER BY position DESC, key DESC LIMIT $2)
        AS items
    LEFT JOIN chat_segments AS segments
        ON segments.session = items.session AND segments.message = items.message
    ORDER BY items.position DESC, items.key DESC, segments.first_chunk";

pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-last-page")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    for (name, url) in [("sqlite", "sqlite:".to_owned()), ("postgres", cluster.database()?)] {
        let data_dir = folder.path().join(name);
        std::fs::create_dir_all(&data_dir)?;
        let database = Database::open(&url, &data_dir).await?;
        let log = EventLog::open(&database, Options::default()).await?;
        let session = SessionId(random());
        let begun = Instant::now();
        write(&log, session, sizes.n_messages).await?;
        let written = begun.elapsed();
        let projector = Projector::new(&database, &log, read_models::decode);
        projector.with(ChatTranscript).catch_up().await?;
        let projected = begun.elapsed() - written;
        say(&format!(
            "{name}: {} messages written in {written:.1?}, projected in {projected:.1?}",
            sizes.n_messages
        ));
        let mut bare = match name {
            "sqlite" => Bare::Sqlite(
                SqliteConnectOptions::new().filename(data_dir.join("views.db")).connect().await?,
            ),
            _ => Bare::Postgres(PgConnection::connect(&url).await?),
        };
        bare.prepare().await?;
        let [mut ours, mut theirs]: [Samples; 2] = Default::default();
        for n in 0..N_WARM_UP + N_PAGES {
            let begun = Instant::now();
            let page = chat_transcript::page(&database, session, None, PAGE).await?;
            let our = begun.elapsed();
            let begun = Instant::now();
            let n_rows = bare.page(session.0).await?;
            let their = begun.elapsed();
            ensure!(page.items.len() == PAGE && page.has_more, "this is a page of something else");
            ensure!(n_rows == PAGE + 1, "{n_rows} rows are other rows");
            if n >= N_WARM_UP {
                ours.push_ms(our);
                theirs.push_ms(their);
            }
        }
        let (p99, p99_bare) = (ours.percentile(99.0), theirs.percentile(99.0));
        say(&format!(
            "{name}: the last page takes {:.2} ms, p99 {p99:.2} ms; bare {:.2} ms, p99 {p99_bare:.2} ms",
            ours.median(),
            theirs.median()
        ));
        let ratio = p99 / p99_bare;
        figures.add(&format!("log/{name}_last_page_p99"), p99, "ms", Goal::None);
        let goal = Goal::AtMost(RATIO_MAX);
        figures.add(&format!("log/{name}_last_page_to_bare"), ratio, "times", goal);
        log.close().await;
        database.close().await;
    }
    Ok(())
}

/// A conversation in which a person and a coding agent take turns.
async fn write(log: &EventLog, session: SessionId, n_messages: usize) -> Result<()> {
    let (project, execution) = (ProjectId(random()), ExecutionId(random()));
    let mut events =
        std::iter::once(SessionEvent::Opened { project }).chain((0..n_messages).map(|number| {
            let (message, content) = (MessageId(random()), text());
            match number % 2 {
                0 => {
                    let author = AccountId(project.0);
                    SessionEvent::MessagePosted { execution, message, author, content }
                }
                _ => SessionEvent::SegmentRecorded(RecordedSegment {
                    epoch: 1,
                    message,
                    kind: TextKind::Answer,
                    first_chunk: 0,
                    n_chunks: 1,
                    content,
                    is_last: true,
                }),
            }
        }));
    let (mut expected, mut previous_hash) = (0, FIRST_HASH);
    loop {
        let events: Vec<NewEvent> = events.by_ref().take(APPEND_EVENTS_MAX).map(stored).collect();
        if events.is_empty() {
            return Ok(());
        }
        let stream = StreamId::new("session", session.0);
        // All but the stream and its events is that of any history.
        let any = history::history(project.0, 1);
        let appended =
            log.append(Append { stream, expected, previous_hash, events, ..any }).await?;
        (expected, previous_hash) = (appended.sequence, appended.hash);
    }
}

fn stored(event: SessionEvent) -> NewEvent {
    let (event_type, payload) = event.stored();
    NewEvent { event_type, event_version: "1".to_owned(), payload: canonical_json(&payload) }
}

fn text() -> ContentRef {
    ContentRef { id: ContentId(random()), length: 9, digest: "00".repeat(32) }
}

/// A connection of its own.
enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Bare {
    async fn prepare(&mut self) -> Result<()> {
        if let Self::Postgres(connection) = self {
            // The test server does not do by itself what every other one does after so many rows.
            connection.execute("SET search_path TO sam_views").await?;
            connection.execute("VACUUM ANALYZE chat_items, chat_segments, chat_sessions").await?;
        }
        Ok(())
    }

    async fn page(&mut self, session: Uuid) -> Result<usize> {
        let limit = i64::try_from(PAGE + 1)?;
        Ok(match self {
            Self::Sqlite(connection) => {
                let query = sqlx::query(BARE).bind(session.to_string()).bind(limit);
                query.fetch_all(connection).await?.len()
            }
            Self::Postgres(connection) => {
                let query = sqlx::query(BARE).bind(session).bind(limit);
                query.fetch_all(connection).await?.len()
            }
        })
    }
}
