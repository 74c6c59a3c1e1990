//! Writes the changes of a batch: one statement for each table and kind of change, arrays for columns; the tables that
//! grow with every event are copied into.
//!
//! The read tables are those of the schema that the search path names.

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
    fold::{Changes, Content, Mark},
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
    posted(work, changes).await?;
    created(work, stream, changes).await?;
    let results = join!(
        counts(work, changes),
        joined(work, changes),
        left(work, changes),
        edited(work, changes),
        marks(work, changes),
        people(work, changes),
        parked(work, stream, changes),
    );
    cause(results.into())
}

/// Once one statement has failed, the transaction refuses those sent after it: the first failure counts.
fn cause(results: [Result<(), Error>; 7]) -> Result<(), Error> {
    let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
    let consequence = |error: &Error| error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
    errors.sort_by_key(consequence);
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// The counts follow with those of the rooms that were there.
async fn created(work: &Transaction<'_>, stream: u16, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO rooms (stream, id, name, name_key, visibility, owner, created_seq,
                                          created_at, member_count, last_ordinal, head)
        SELECT $1::smallint, *, 0, 0, 0 FROM UNNEST(
            $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::text[])";
    let rooms = &changes.created;
    if rooms.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rooms.keys().map(|id| *id.as_uuid()).collect();
    let names: Vec<&str> = rooms.values().map(|r| r.name.as_str()).collect();
    let name_keys: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let visibilities: Vec<&str> = rooms.values().map(|r| r.visibility.as_str()).collect();
    let owners: Vec<Uuid> = rooms.values().map(|r| *r.owner.as_uuid()).collect();
    let (seqs, times) = marks_of(rooms.values().map(|r| &r.created));
    let stream = number::stream(stream);
    put(work, SQL, &[&stream, &ids, &names, &name_keys, &visibilities, &owners, &seqs, &times]).await
}

async fn counts(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE rooms SET member_count = c.members, last_ordinal = c.ordinal, head = c.head
        FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) c (id, members, ordinal, head)
        WHERE rooms.id = c.id";
    let counts = &changes.counts;
    if counts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = counts.keys().map(|id| *id.as_uuid()).collect();
    let members: Vec<i64> = counts.values().map(|c| signed(c.members)).collect();
    let ordinals: Vec<i64> = counts.values().map(|c| signed(c.last_ordinal)).collect();
    let heads: Vec<i64> = counts.values().map(|c| signed(c.head)).collect();
    put(work, SQL, &[&ids, &members, &ordinals, &heads]).await
}

/// One who left and came back within the batch has a row already.
async fn joined(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO members (room, user_id, joined_seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
        ON CONFLICT (room, user_id) DO UPDATE SET joined_seq = EXCLUDED.joined_seq";
    let joined = changes.members.iter().filter_map(|(key, seq)| seq.map(|seq| (key, signed(seq))));
    let (mut rooms, mut users, mut seqs) = (vec![], vec![], vec![]);
    for ((room, user), seq) in joined {
        rooms.push(*room.as_uuid());
        users.push(*user.as_uuid());
        seqs.push(seq);
    }
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users, &seqs]).await
}

async fn left(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM members m USING UNNEST($1::uuid[], $2::uuid[]) k (room, user_id)
        WHERE m.room = k.room AND m.user_id = k.user_id";
    let left = changes.members.iter().filter(|(_, seq)| seq.is_none());
    let (rooms, users): (Vec<Uuid>, Vec<Uuid>) =
        left.map(|((room, user), _)| (*room.as_uuid(), *user.as_uuid())).unzip();
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users]).await
}

async fn posted(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "COPY messages (room, mid, author, cid, ordinal, reply_to, seq, posted_at, body,
                                      edited_seq, edited_at, recalled_seq, recalled_at) FROM STDIN BINARY";
    const TYPES: &[Type] = &[
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::INT8,
        Type::UUID,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
    ];
    if changes.posted.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(work, SQL, TYPES).await?;
    for message in &changes.posted {
        let content = &message.content;
        let (edited, recalled) = (content.edited.as_ref(), content.recalled.as_ref());
        copy.row(&[
            message.room.as_uuid(),
            message.mid.as_uuid(),
            message.author.as_uuid(),
            message.cid.as_uuid(),
            &signed(message.ordinal),
            &message.reply_to.map(Uuid::from),
            &signed(message.posted.seq),
            &message.posted.at,
            &content.body,
            &edited.map(|mark| signed(mark.seq)),
            &edited.map(|mark| &mark.at),
            &recalled.map(|mark| signed(mark.seq)),
            &recalled.map(|mark| &mark.at),
        ])
        .await?;
    }
    copy.finish().await
}

async fn edited(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE messages m SET body = c.body,
            edited_seq = coalesce(c.edited_seq, m.edited_seq),
            edited_at = coalesce(c.edited_at, m.edited_at),
            recalled_seq = c.recalled_seq, recalled_at = c.recalled_at
        FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::text[])
             c (room, seq, body, edited_seq, edited_at, recalled_seq, recalled_at)
        WHERE m.room = c.room AND m.seq = c.seq";
    let edited = &changes.edited;
    if edited.is_empty() {
        return Ok(());
    }
    let (rooms, seqs): (Vec<Uuid>, Vec<i64>) =
        edited.keys().map(|(room, seq)| (*room.as_uuid(), signed(*seq))).unzip();
    let c = Contents::of(edited.values());
    let columns: &Columns<'_> =
        &[&rooms, &seqs, &c.bodies, &c.edited_seqs, &c.edited_times, &c.recalled_seqs, &c.recalled_times];
    put(work, SQL, columns).await
}

/// A mark only moves forward.
async fn marks(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO read_marks (user_id, room, seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
        ON CONFLICT (user_id, room) DO UPDATE SET seq = EXCLUDED.seq WHERE read_marks.seq < EXCLUDED.seq";
    let marks = &changes.marks;
    if marks.is_empty() {
        return Ok(());
    }
    let (users, rooms): (Vec<Uuid>, Vec<Uuid>) =
        marks.keys().map(|(user, room)| (*user.as_uuid(), *room.as_uuid())).unzip();
    let seqs: Vec<i64> = marks.values().map(|seq| signed(*seq)).collect();
    put(work, SQL, &[&users, &rooms, &seqs]).await
}

/// A person registers once; what comes after is a repeat.
async fn people(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO people (id, username, registered_at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";
    let people = &changes.people;
    if people.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = people.keys().map(|id| *id.as_uuid()).collect();
    let names: Vec<&str> = people.values().map(|p| p.username.as_str()).collect();
    let times: Vec<&str> = people.values().map(|p| p.registered_at.as_str()).collect();
    put(work, SQL, &[&ids, &names, &times]).await
}

async fn parked(work: &Transaction<'_>, stream: u16, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO parked (stream, seq, subject, error)
        SELECT $1::smallint, * FROM UNNEST($2::bigint[], $3::text[], $4::text[])";
    let parked = &changes.parked;
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

#[derive(Default)]
struct Contents<'a> {
    bodies: Vec<Option<&'a str>>,
    edited_seqs: Vec<Option<i64>>,
    edited_times: Vec<Option<&'a str>>,
    recalled_seqs: Vec<Option<i64>>,
    recalled_times: Vec<Option<&'a str>>,
}

impl<'a> Contents<'a> {
    fn of(contents: impl Iterator<Item = &'a Content>) -> Self {
        let mut columns = Self::default();
        for content in contents {
            let (edited, recalled) = (content.edited.as_ref(), content.recalled.as_ref());
            columns.bodies.push(content.body.as_deref());
            columns.edited_seqs.push(edited.map(|mark| signed(mark.seq)));
            columns.edited_times.push(edited.map(|mark| mark.at.as_str()));
            columns.recalled_seqs.push(recalled.map(|mark| signed(mark.seq)));
            columns.recalled_times.push(recalled.map(|mark| mark.at.as_str()));
        }
        columns
    }
}
