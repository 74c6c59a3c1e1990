//! What the rules need to know of a message.

use deadpool_postgres::GenericClient;
use natterjack_domain::{
    MessageId, RoomId, UserId,
    message::{Emoji, Message, Reactions},
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{AsOf, Error, query, rows};

/// A message as one person is about to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Of its reactions, how many there are, and which of them are that person's.
    pub message: Message,
    /// In the log's words.
    pub posted_at: String,
    /// Sequence of the last edit; 0 where there was none.
    pub edited_seq: u64,
}

/// What `user` has to know of a message of `room`, which lives in stream `stream`, to change it. `None` where the read model
/// does not hold it; `as_of` says up to where that can be relied on.
pub async fn message(
    client: &impl GenericClient,
    stream: u16,
    room: RoomId,
    mid: MessageId,
    user: UserId,
) -> Result<AsOf<Option<Known>>, Error> {
    const SQL: &str = "SELECT m.author, m.thread, m.posted_at, coalesce(m.edited_seq, 0) AS edited_seq,
            m.recalled_seq IS NOT NULL AS gone, p.room IS NOT NULL AS pinned,
            ARRAY (SELECT emoji FROM read.reaction_counts c
                   WHERE c.room = m.room AND c.seq = m.seq ORDER BY emoji) AS emojis,
            ARRAY (SELECT count FROM read.reaction_counts c
                   WHERE c.room = m.room AND c.seq = m.seq ORDER BY emoji) AS counts,
            ARRAY (SELECT emoji FROM read.reaction_counts c
                   WHERE c.room = m.room AND c.seq = m.seq AND EXISTS (
                       SELECT FROM read.reactions r
                       WHERE r.room = c.room AND r.seq = c.seq AND r.emoji = c.emoji AND r.user_id = $4)) AS mine,
            c.epoch, c.seq AS as_of
        FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN read.messages m ON m.room = $2 AND m.mid = $3
        LEFT JOIN read.pins p ON p.room = m.room AND p.seq = m.seq";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&rows::small(stream), Type::INT2),
        (room.as_uuid(), Type::UUID),
        (mid.as_uuid(), Type::UUID),
        (user.as_uuid(), Type::UUID),
    ];
    let rows = query(client, "message", SQL, &parameters).await?;
    let Some(row) = rows.first() else { return Ok(AsOf { as_of: rows::nowhere(), value: None }) };
    Ok(AsOf { as_of: rows::position(row)?, value: known(row, mid, user)? })
}

fn known(row: &Row, mid: MessageId, user: UserId) -> Result<Option<Known>, Error> {
    let Some(author) = row.try_get::<_, Option<Uuid>>("author")? else { return Ok(None) };
    let counts: Vec<i64> = row.try_get("counts")?;
    let counts = emojis(row, "emojis")?.into_iter().zip(counts).map(|(emoji, n)| (emoji, rows::unsigned(n)));
    let mine = emojis(row, "mine")?.into_iter().map(|emoji| (user, emoji));
    let message = Message {
        id: mid,
        author: UserId::from_uuid(author),
        thread: row.try_get::<_, Option<Uuid>>("thread")?.map(MessageId::from_uuid),
        gone: row.try_get("gone")?,
        pinned: row.try_get("pinned")?,
        reactions: Reactions::new(counts, mine),
    };
    Ok(Some(Known {
        message,
        posted_at: row.try_get("posted_at")?,
        edited_seq: rows::unsigned(row.try_get("edited_seq")?),
    }))
}

/// As the projector wrote them, and so such as can be read.
fn emojis(row: &Row, column: &str) -> Result<Vec<Emoji>, Error> {
    let texts: Vec<&str> = row.try_get(column)?;
    Ok(texts.into_iter().filter_map(|text| Emoji::parse(text).ok()).collect())
}

/// How many pinned messages a room has.
pub async fn pin_count(client: &impl GenericClient, room: RoomId) -> Result<usize, Error> {
    const SQL: &str = "SELECT count(*) AS count FROM read.pins WHERE room = $1";
    let rows = query(client, "pin_count", SQL, &[(room.as_uuid(), Type::UUID)]).await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get("count"))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The room of a message, and where it stands in the room's timeline: a reply stands where its thread began.
pub async fn place(client: &impl GenericClient, mid: MessageId) -> Result<Option<(RoomId, u64)>, Error> {
    const SQL: &str = "SELECT m.room, coalesce(t.seq, m.seq) AS seq FROM read.messages m
        LEFT JOIN read.messages t ON t.room = m.room AND t.mid = m.thread
        WHERE m.mid = $1 LIMIT 1";
    let rows = query(client, "place_of_message", SQL, &[(mid.as_uuid(), Type::UUID)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((RoomId::from_uuid(row.try_get("room")?), rows::unsigned(row.try_get("seq")?))))
}
