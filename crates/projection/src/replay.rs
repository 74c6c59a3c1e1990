//! Makes tables from the second copy of the log, in a schema of their own.

use std::marker::PhantomData;

use bytes::Bytes;
use deadpool_postgres::{ClientWrapper, GenericClient, Transaction};
use natterjack_database::{MigrateError, Pool, migrate_schema};
use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::Subject;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::{
    batch::{self, Folded},
    derived::Derived,
    entry::Entry,
    number::{signed, unsigned},
    write,
};

/// Events folded in one transaction.
const BATCH_EVENTS: i64 = 5_000;
/// What may be left to fold when the last step begins, which others may have to wait for.
const REMAINDER_EVENTS: u64 = 1_000;
/// Held by whoever rebuilds or verifies: one at a time ("njreplay").
const REPLAY_LOCK: i64 = 0x6e6a_7265_706c_6179;

/// Why a rebuild or a verification failed. The live tables are as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("another rebuild or verification is running")]
    AlreadyRunning,
    #[error("the schema for the replay cannot be made")]
    Schema(#[source] MigrateError),
    #[error(transparent)]
    Database(#[from] natterjack_database::Error),
}

impl From<tokio_postgres::Error> for ReplayError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// How far a replay is, in events of all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    /// Grows while people chat.
    pub total: u64,
}

/// A replay into the schema `name`, up to the checkpoints that the table `goal` holds.
pub struct Replay<D> {
    pub client: ClientWrapper,
    pub name: String,
    pub goal: String,
    _of: PhantomData<D>,
}

/// A stream, and up to where it is to be replayed.
pub struct Goal {
    pub stream: i16,
    pub seq: i64,
}

/// A batch that was folded.
pub struct Step {
    pub events: u64,
    /// The checkpoint is here now.
    pub reached: i64,
    pub folded: Folded,
}

impl<D: Derived> Replay<D> {
    /// Makes the schema anew, empty. The connection is taken out of the pool: when it is dropped, however that
    /// comes about, others may replay.
    pub async fn begin(pool: &Pool, name: String, goal: String) -> Result<Self, ReplayError> {
        let mut client = deadpool_postgres::Object::take(pool.get().await?);
        let lock = client.query_one("SELECT pg_try_advisory_lock($1)", &[&REPLAY_LOCK]).await?;
        if !lock.try_get::<_, bool>(0)? {
            return Err(ReplayError::AlreadyRunning);
        }
        client.batch_execute("SET statement_timeout = 0").await?;
        client.batch_execute(&format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
        migrate_schema(&mut client, D::SCHEMA, &name).await.map_err(ReplayError::Schema)?;
        client
            .batch_execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                 SET synchronous_commit = off",
            )
            .await?;
        Ok(Self { client, name, goal, _of: PhantomData })
    }

    /// Replays all streams at full speed until little is left.
    pub async fn run(&mut self, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
        let mut done = 0;
        loop {
            let before = done;
            let work = self.client.transaction().await?;
            write::begin(&work, &self.name).await?;
            let goals = goals(&work, &self.goal).await?;
            work.commit().await?;
            let total = goals.iter().map(|goal| unsigned(goal.seq)).sum();
            progress(Progress { done, total });
            for goal in &goals {
                while let Some(events) = self.step(goal).await? {
                    done += events;
                    progress(Progress { done, total });
                }
            }
            if done - before <= REMAINDER_EVENTS {
                return Ok(());
            }
        }
    }

    async fn step(&mut self, goal: &Goal) -> Result<Option<u64>, Error> {
        let mut work = self.client.transaction().await?;
        write::begin(&work, &self.name).await?;
        let done = step::<D>(&mut work, goal, BATCH_EVENTS).await?;
        work.commit().await?;
        Ok(done.map(|step| step.events))
    }

    /// Gives the planner what it needs to know of the new tables.
    pub async fn analyse(&self) -> Result<(), Error> {
        let tables = D::TABLES.iter().map(|table| format!("{}.{table}", self.name)).collect::<Vec<_>>();
        self.client.batch_execute(&format!("ANALYZE {}", tables.join(", "))).await
    }
}

/// What is left, within one transaction of the caller's. Its search path is that of the replay then.
pub async fn finish<D: Derived>(work: &mut Transaction<'_>, name: &str, goal: &str) -> Result<(), Error> {
    write::begin(work, name).await?;
    for goal in goals(work, goal).await? {
        while step::<D>(work, &goal, BATCH_EVENTS).await?.is_some() {}
    }
    Ok(())
}

async fn goals(work: &Transaction<'_>, goal: &str) -> Result<Vec<Goal>, Error> {
    let make = format!(
        "INSERT INTO checkpoints (stream, epoch, seq) SELECT stream, epoch, 0 FROM {goal} ON CONFLICT DO NOTHING"
    );
    work.batch_execute(&make).await?;
    let rows = work.query(&format!("SELECT stream, seq FROM {goal} ORDER BY stream"), &[]).await?;
    rows.iter().map(|row| Ok(Goal { stream: row.try_get(0)?, seq: row.try_get(1)? })).collect()
}

/// Folds the next batch, of `max` events at most; `None` when the goal is reached.
///
/// What an erasure took out of the log is no longer there to be folded: gaps are passed over here, and told by
/// a verification.
pub async fn step<D: Derived>(
    work: &mut Transaction<'_>,
    goal: &Goal,
    max: i64,
) -> Result<Option<Step>, Error> {
    const CHECKPOINT: &str = "SELECT seq FROM checkpoints WHERE stream = $1";
    const EVENTS: &str = "SELECT seq, topic, kind, known, ts, body FROM log.events
                          WHERE stream = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    const ADVANCE: &str = "UPDATE checkpoints SET seq = $2 WHERE stream = $1";
    let statement = work.prepare_cached(CHECKPOINT).await?;
    let reached: i64 = work.query_one(&statement, &[&goal.stream]).await?.try_get(0)?;
    if reached >= goal.seq {
        return Ok(None);
    }
    let statement = work.prepare_cached(EVENTS).await?;
    let rows = work.query(&statement, &[&goal.stream, &reached, &goal.seq, &max]).await?;
    let entries: Vec<Entry> = rows.iter().map(entry).collect::<Result<_, _>>()?;
    let stream = u16::try_from(goal.stream).unwrap_or(0);
    let folded = batch::fold_into::<D>(work, stream, &entries).await?;
    let more = i64::try_from(entries.len()) == Ok(max);
    let reached = entries.last().filter(|_| more).map_or(goal.seq, |last| signed(last.seq));
    let statement = work.prepare_cached(ADVANCE).await?;
    work.execute(&statement, &[&goal.stream, &reached]).await?;
    Ok(Some(Step { events: entries.len() as u64, reached, folded }))
}

fn entry(row: &Row) -> Result<Entry, Error> {
    let seq = unsigned(row.try_get(0)?);
    let topic: Option<Uuid> = row.try_get(1)?;
    let subject = match (topic, row.try_get::<_, i16>(2)?) {
        (Some(id), 0) => Subject::state(RoomId::from_uuid(id)),
        (Some(id), 1) => Subject::timeline(RoomId::from_uuid(id)),
        (Some(id), 2) => Subject::feed(UserId::from_uuid(id)),
        _ => return Ok(Entry::foreign(seq)),
    };
    let body = Bytes::from(row.try_get::<_, Vec<u8>>(5)?);
    Ok(Entry::new(seq, subject, row.try_get(4)?, row.try_get(3)?, body))
}
