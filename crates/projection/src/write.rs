//! Writes the changes of a batch: one statement for each table and kind of change, arrays for columns; the tables that
//! grow with every event are copied into.
//!
//! The read tables are those of the schema that the search path names.

mod done;
mod kept;
mod messages;
mod people;
mod rooms;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_eventlog::{Kind, Topic};
use tokio::join;
use tokio_postgres::{
    Error,
    error::SqlState,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{
    copy::Copy,
    entry::Entry,
    fold::{Changes, Mark, Parked},
    number::{self, signed},
};

type Columns<'a> = [&'a (dyn ToSql + Sync)];

/// Prepares a transaction for folding into `schema`.
///
/// Every statement finds its rows by key. A plan made while a table was small, or before it was ever
/// analysed, must not read all of it when it has grown.
pub async fn begin(work: &impl GenericClient, schema: &str) -> Result<(), Error> {
    let settings = format!(
        "SET LOCAL search_path TO {schema}; SET LOCAL enable_seqscan = off;
         SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
    );
    work.batch_execute(&settings).await
}

async fn put(work: &Transaction<'_>, sql: &str, columns: &Columns<'_>) -> Result<(), Error> {
    let statement = work.prepare_cached(sql).await?;
    work.execute(&statement, columns).await?;
    Ok(())
}

/// Removes what the second copy of the log has of these entries, which follow each other: nothing, unless an operator has
/// set its checkpoint back.
pub async fn clear_events(work: &Transaction<'_>, stream: u16, entries: &[Entry]) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM log.events WHERE stream = $1 AND seq BETWEEN $2 AND $3";
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
    put(work, SQL, &[&number::stream(stream), &signed(first.seq), &signed(last.seq)]).await
}

/// Entries on their way into the second copy of the log.
pub struct Events {
    stream: i16,
    copy: Copy,
}

impl Events {
    pub async fn begin(work: &Transaction<'_>, stream: u16) -> Result<Self, Error> {
        const SQL: &str = "COPY log.events (stream, seq, topic, kind, known, ts, body) FROM STDIN BINARY";
        const TYPES: &[Type] =
            &[Type::INT2, Type::INT8, Type::UUID, Type::INT2, Type::BOOL, Type::TEXT, Type::BYTEA];
        Ok(Self { stream: number::stream(stream), copy: Copy::begin(work, SQL, TYPES).await? })
    }

    pub async fn push(&mut self, entry: &Entry) -> Result<(), Error> {
        let (topic, kind) = place(entry);
        let (seq, body) = (signed(entry.seq), &entry.body[..]);
        self.copy.row(&[&self.stream, &seq, &topic, &kind, &entry.known, &entry.ts, &body]).await
    }

    pub async fn finish(self) -> Result<(), Error> {
        self.copy.finish().await
    }
}

/// The columns `topic` and `kind` of `log.events`.
fn place(entry: &Entry) -> (Option<Uuid>, i16) {
    let Some(subject) = entry.subject else { return (None, 3) };
    let topic = match subject.topic {
        Topic::Room(id) => *id.as_uuid(),
        Topic::User(id) => *id.as_uuid(),
    };
    let kind = match subject.kind {
        Kind::State => 0,
        Kind::Timeline => 1,
        Kind::Feed => 2,
    };
    (Some(topic), kind)
}

pub async fn changes(work: &Transaction<'_>, stream: u16, changes: &Changes) -> Result<(), Error> {
    messages::posted(work, changes).await?;
    rooms::created(work, stream, changes).await?;
    // What the message said, before it says something else.
    Box::pin(done::first_versions(work, changes)).await?;
    let results = join!(
        rooms::counts(work, changes),
        rooms::state(work, changes),
        messages::edited(work, changes),
        // Boxed: hardly any batch needs them.
        Box::pin(done::all(work, changes)),
        Box::pin(kept::kept(work, changes)),
        people::people(work, changes),
        people::profiles(work, changes),
        people::deactivated(work, changes),
        parked(work, stream, &changes.parked),
    );
    cause(results.into())
}

/// Once one statement has failed, the transaction refuses those sent after it: the first failure counts.
fn cause<const N: usize>(results: [Result<(), Error>; N]) -> Result<(), Error> {
    let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
    let consequence = |error: &Error| error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
    errors.sort_by_key(consequence);
    errors.into_iter().next().map_or(Ok(()), Err)
}

pub async fn parked(work: &Transaction<'_>, stream: u16, parked: &[Parked]) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO parked (stream, seq, subject, error)
        SELECT $1::smallint, * FROM UNNEST($2::bigint[], $3::text[], $4::text[])";
    if parked.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = parked.iter().map(|p| signed(p.seq)).collect();
    let subjects: Vec<&str> = parked.iter().map(|p| p.subject.as_str()).collect();
    // What an error says may repeat what the event says; Postgres takes no NUL.
    let errors: Vec<String> = parked.iter().map(|p| p.error.replace('\0', "\u{fffd}")).collect();
    put(work, SQL, &[&number::stream(stream), &seqs, &subjects, &errors]).await
}

fn marks_of<'a>(marks: impl Iterator<Item = &'a Mark>) -> (Vec<i64>, Vec<&'a str>) {
    marks.map(|mark| (signed(mark.seq), mark.at.as_str())).unzip()
}
