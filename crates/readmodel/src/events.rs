//! Raw events from the second copy of the log: for resuming, for folding a room, for the stream of raw events.
//!
//! `as_of` is the log's own checkpoint here: every event of the topic up to it was looked at.

use bytes::Bytes;
use deadpool_postgres::GenericClient;
use natterjack_domain::{RoomId, UserId};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{AsOf, Error, query, rows};

/// Most events in one answer.
pub const EVENTS_MAX: u32 = 1_000;

/// What `log.events` says of a subject's last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    State,
    Timeline,
    Feed,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    pub seq: u64,
    pub kind: Kind,
    /// When the log stored it, in the log's own words.
    pub ts: String,
    /// Whether a front wrote it; the body of any other cannot be trusted to be JSON.
    pub known: bool,
    pub body: Bytes,
}

/// The first and the last kind.
const ROOM: (i16, i16) = (0, 1);
const FEED: (i16, i16) = (2, 2);

/// The state events of `room`, which lives in stream `stream`, in their order; the caller folds them.
pub async fn room_state_events(
    client: &impl GenericClient,
    stream: u16,
    room: RoomId,
) -> Result<AsOf<Vec<LogEvent>>, Error> {
    const SQL: &str = "SELECT e.seq, e.kind, e.ts, e.known, e.body, c.epoch, c.seq AS as_of
        FROM (SELECT) one
        LEFT JOIN log.checkpoints c ON c.stream = $1
        LEFT JOIN log.events e ON e.topic = $2 AND e.kind = 0
        ORDER BY e.seq";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&rows::small(stream), Type::INT2), (room.as_uuid(), Type::UUID)];
    answer(&query(client, "room_state", SQL, &parameters).await?)
}

/// Up to `limit` (at most [`EVENTS_MAX`]) events of `room` after the sequence `after`, in their order.
pub async fn events_after(
    client: &impl GenericClient,
    stream: u16,
    room: RoomId,
    after: u64,
    limit: u32,
) -> Result<AsOf<Vec<LogEvent>>, Error> {
    topic_after(client, stream, room.as_uuid(), ROOM, after, limit).await
}

/// The same for a person's feed.
pub async fn feed_after(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    after: u64,
    limit: u32,
) -> Result<AsOf<Vec<LogEvent>>, Error> {
    topic_after(client, stream, user.as_uuid(), FEED, after, limit).await
}

async fn topic_after(
    client: &impl GenericClient,
    stream: u16,
    topic: &Uuid,
    (first, last): (i16, i16),
    after: u64,
    limit: u32,
) -> Result<AsOf<Vec<LogEvent>>, Error> {
    // The position has a row of its own: with each event it would be sent, and every page sorted again.
    const SQL: &str =
        "SELECT NULL::bigint AS seq, NULL::smallint AS kind, NULL::text AS ts, NULL::boolean AS known,
               NULL::bytea AS body, epoch, seq AS as_of FROM log.checkpoints WHERE stream = $1
        UNION ALL (
            SELECT seq, kind, ts, known, body, NULL, NULL FROM log.events
            WHERE topic = $2 AND kind BETWEEN $3 AND $4 AND seq > $5 ORDER BY seq LIMIT $6
        )";
    let rows = query(
        client,
        "events",
        SQL,
        &[
            (&rows::small(stream), Type::INT2),
            (topic, Type::UUID),
            (&first, Type::INT2),
            (&last, Type::INT2),
            (&rows::signed(after), Type::INT8),
            (&i64::from(limit.min(EVENTS_MAX)), Type::INT8),
        ],
    )
    .await?;
    answer(&rows)
}

/// The position comes with one row or with all; a row may bear no event.
fn answer(rows: &[Row]) -> Result<AsOf<Vec<LogEvent>>, Error> {
    let mut answer = AsOf { as_of: rows::nowhere(), value: Vec::with_capacity(rows.len()) };
    for row in rows {
        if answer.as_of.epoch.is_empty() {
            answer.as_of = rows::position(row)?;
        }
        answer.value.extend(event(row)?);
    }
    // No statement but the outermost may promise an order.
    answer.value.sort_by_key(|event| event.seq);
    Ok(answer)
}

fn event(row: &Row) -> Result<Option<LogEvent>, tokio_postgres::Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("seq")? else { return Ok(None) };
    let kind = match row.try_get::<_, i16>("kind")? {
        0 => Kind::State,
        1 => Kind::Timeline,
        _ => Kind::Feed,
    };
    Ok(Some(LogEvent {
        seq: rows::unsigned(seq),
        kind,
        ts: row.try_get("ts")?,
        known: row.try_get("known")?,
        body: Bytes::from(row.try_get::<_, Vec<u8>>("body")?),
    }))
}
