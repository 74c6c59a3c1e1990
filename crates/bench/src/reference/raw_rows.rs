//! Postgres by itself: the rows that the projector made, written into equal tables by nothing but inserts.

use std::{pin::pin, time::Instant};

use anyhow::Context as _;
use natterjack_database::Client;
use tokio_postgres::{
    Row, Statement, Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};
use uuid::Uuid;

const EVENTS: &str = "log.events (stream, seq, topic, kind, known, ts, body)";
const EVENT_TYPES: [Type; 7] =
    [Type::INT2, Type::INT8, Type::UUID, Type::INT2, Type::BOOL, Type::TEXT, Type::BYTEA];
const MESSAGES: &str = "read.messages (room, seq, mid, author, cid, ordinal, body, reply_to, posted_at)";
const MESSAGE_TYPES: [Type; 9] = [
    Type::UUID,
    Type::INT8,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::INT8,
    Type::TEXT,
    Type::UUID,
    Type::TEXT,
];

/// How the rows of a batch get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `INSERT … SELECT * FROM UNNEST(…)`.
    Unnest,
    /// `COPY` to a temporary table, then `INSERT … SELECT … ON CONFLICT DO NOTHING`.
    CopyAndInsert,
    /// `COPY` straight into the table.
    Copy,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Unnest, Self::CopyAndInsert, Self::Copy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unnest => "unnest",
            Self::CopyAndInsert => "copy_and_insert",
            Self::Copy => "copy",
        }
    }
}

/// What the projector made of messages: the second copy of their events, and the messages.
pub struct Rows {
    events: Vec<Event>,
    messages: Vec<Message>,
}

struct Event {
    stream: i16,
    seq: i64,
    topic: Option<Uuid>,
    kind: i16,
    known: bool,
    ts: String,
    body: Vec<u8>,
}

struct Message {
    room: Uuid,
    seq: i64,
    mid: Uuid,
    author: Uuid,
    cid: Uuid,
    ordinal: i64,
    body: Option<String>,
    reply_to: Option<Uuid>,
    posted_at: String,
}

impl Rows {
    /// The rows as they stand in the product's tables.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        let events =
            "SELECT stream, seq, topic, kind, known, ts, body FROM log.events WHERE kind = 1 ORDER BY seq";
        let messages = "SELECT room, seq, mid, author, cid, ordinal, body, reply_to, posted_at
                        FROM read.messages ORDER BY seq";
        let events = client.query(events, &[]).await?.iter().map(Event::read).collect::<Result<_, _>>()?;
        let messages =
            client.query(messages, &[]).await?.iter().map(Message::read).collect::<Result<_, _>>()?;
        Ok(Self { events, messages })
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Writes all rows into empty tables, each batch in one transaction with a checkpoint; events per second.
    pub async fn write(&self, client: &mut Client, way: Way, batch: usize) -> anyhow::Result<f64> {
        client
            .batch_execute(
                "TRUNCATE log.events, read.messages, log.checkpoints;
                 INSERT INTO log.checkpoints (stream, epoch, seq) VALUES (0, '', 0);
                 DROP TABLE IF EXISTS some_events; CREATE TEMPORARY TABLE some_events (LIKE log.events);
                 ALTER TABLE read.messages ALTER COLUMN all_mentions SET DEFAULT 0;
                 DROP TABLE IF EXISTS some_messages;
                 CREATE TEMPORARY TABLE some_messages (LIKE read.messages INCLUDING DEFAULTS);
                 CHECKPOINT",
            )
            .await?;
        let statements = Statements::prepare(client, way).await?;
        let begun = Instant::now();
        for (events, messages) in self.events.chunks(batch).zip(self.messages.chunks(batch)) {
            let work = client.transaction().await?;
            statements.write(&work, events, messages).await?;
            let last = events.last().context("a batch has rows")?.seq;
            work.execute(&statements.checkpoint, &[&last]).await?;
            work.commit().await?;
        }
        Ok(self.len() as f64 / begun.elapsed().as_secs_f64())
    }
}

struct Statements {
    way: Way,
    events: Statement,
    messages: Statement,
    /// From the temporary tables to the real ones.
    moves: Vec<Statement>,
    checkpoint: Statement,
}

impl Statements {
    async fn prepare(client: &Client, way: Way) -> Result<Self, tokio_postgres::Error> {
        let (events, messages) = match way {
            Way::Unnest => (
                format!(
                    "INSERT INTO {EVENTS} SELECT * FROM UNNEST(
                         $1::smallint[], $2::bigint[], $3::uuid[], $4::smallint[], $5::boolean[], $6::text[], $7::bytea[])"
                ),
                format!(
                    "INSERT INTO {MESSAGES} SELECT * FROM UNNEST(
                         $1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[],
                         $8::uuid[], $9::text[])"
                ),
            ),
            Way::CopyAndInsert => (
                copy(&EVENTS.replace("log.events", "some_events")),
                copy(&MESSAGES.replace("read.messages", "some_messages")),
            ),
            Way::Copy => (copy(EVENTS), copy(MESSAGES)),
        };
        let mut moves = Vec::new();
        if way == Way::CopyAndInsert {
            for sql in [
                "INSERT INTO log.events SELECT * FROM some_events ON CONFLICT DO NOTHING",
                "INSERT INTO read.messages SELECT * FROM some_messages ON CONFLICT DO NOTHING",
                "TRUNCATE some_events, some_messages",
            ] {
                moves.push(client.prepare(sql).await?);
            }
        }
        Ok(Self {
            way,
            events: client.prepare(&events).await?,
            messages: client.prepare(&messages).await?,
            moves,
            checkpoint: client.prepare("UPDATE log.checkpoints SET seq = $1 WHERE stream = 0").await?,
        })
    }

    async fn write(
        &self,
        work: &Transaction<'_>,
        events: &[Event],
        messages: &[Message],
    ) -> anyhow::Result<()> {
        if self.way == Way::Unnest {
            tokio::try_join!(
                unnest_events(work, &self.events, events),
                unnest_messages(work, &self.messages, messages)
            )?;
            return Ok(());
        }
        let mut writer = pin!(BinaryCopyInWriter::new(work.copy_in(&self.events).await?, &EVENT_TYPES));
        for e in events {
            writer.as_mut().write(&[&e.stream, &e.seq, &e.topic, &e.kind, &e.known, &e.ts, &e.body]).await?;
        }
        writer.finish().await?;
        let mut writer = pin!(BinaryCopyInWriter::new(work.copy_in(&self.messages).await?, &MESSAGE_TYPES));
        for m in messages {
            let row: [&(dyn ToSql + Sync); 9] =
                [&m.room, &m.seq, &m.mid, &m.author, &m.cid, &m.ordinal, &m.body, &m.reply_to, &m.posted_at];
            writer.as_mut().write(&row).await?;
        }
        writer.finish().await?;
        for sql in &self.moves {
            work.execute(sql, &[]).await?;
        }
        Ok(())
    }
}

fn copy(table: &str) -> String {
    format!("COPY {table} FROM STDIN BINARY")
}

async fn unnest_events(
    work: &Transaction<'_>,
    statement: &Statement,
    rows: &[Event],
) -> Result<u64, tokio_postgres::Error> {
    let streams: Vec<i16> = rows.iter().map(|e| e.stream).collect();
    let seqs: Vec<i64> = rows.iter().map(|e| e.seq).collect();
    let topics: Vec<Option<Uuid>> = rows.iter().map(|e| e.topic).collect();
    let kinds: Vec<i16> = rows.iter().map(|e| e.kind).collect();
    let known: Vec<bool> = rows.iter().map(|e| e.known).collect();
    let times: Vec<&str> = rows.iter().map(|e| e.ts.as_str()).collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|e| &e.body[..]).collect();
    work.execute(statement, &[&streams, &seqs, &topics, &kinds, &known, &times, &bodies]).await
}

async fn unnest_messages(
    work: &Transaction<'_>,
    statement: &Statement,
    rows: &[Message],
) -> Result<u64, tokio_postgres::Error> {
    let rooms: Vec<Uuid> = rows.iter().map(|m| m.room).collect();
    let seqs: Vec<i64> = rows.iter().map(|m| m.seq).collect();
    let mids: Vec<Uuid> = rows.iter().map(|m| m.mid).collect();
    let authors: Vec<Uuid> = rows.iter().map(|m| m.author).collect();
    let cids: Vec<Uuid> = rows.iter().map(|m| m.cid).collect();
    let ordinals: Vec<i64> = rows.iter().map(|m| m.ordinal).collect();
    let bodies: Vec<Option<&str>> = rows.iter().map(|m| m.body.as_deref()).collect();
    let replies: Vec<Option<Uuid>> = rows.iter().map(|m| m.reply_to).collect();
    let times: Vec<&str> = rows.iter().map(|m| m.posted_at.as_str()).collect();
    let columns: [&(dyn ToSql + Sync); 9] =
        [&rooms, &seqs, &mids, &authors, &cids, &ordinals, &bodies, &replies, &times];
    work.execute(statement, &columns).await
}

impl Event {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            stream: row.try_get(0)?,
            seq: row.try_get(1)?,
            topic: row.try_get(2)?,
            kind: row.try_get(3)?,
            known: row.try_get(4)?,
            ts: row.try_get(5)?,
            body: row.try_get(6)?,
        })
    }
}

impl Message {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            room: row.try_get(0)?,
            seq: row.try_get(1)?,
            mid: row.try_get(2)?,
            author: row.try_get(3)?,
            cid: row.try_get(4)?,
            ordinal: row.try_get(5)?,
            body: row.try_get(6)?,
            reply_to: row.try_get(7)?,
            posted_at: row.try_get(8)?,
        })
    }
}
