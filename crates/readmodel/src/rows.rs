//! From columns to values. The columns have one name and one meaning in all statements.

use natterjack_domain::{ClientId, MessageId, RoomId, UserId, Visibility};
use natterjack_wire::{
    Position,
    rest::{Message, Person, RoomSummary},
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// Postgres counts in `bigint`: what is beyond is beyond every sequence.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

pub fn small(stream: u16) -> i16 {
    i16::try_from(stream).unwrap_or(i16::MAX)
}

/// The position of a stream that no projector has seen yet.
pub fn nowhere() -> Position {
    Position { epoch: String::new(), seq: 0 }
}

/// `epoch`, `as_of`; both null where there is no checkpoint.
pub fn position(row: &Row) -> Result<Position, crate::Error> {
    let epoch: Option<String> = row.try_get("epoch")?;
    let seq: Option<i64> = row.try_get("as_of")?;
    Ok(match (epoch, seq) {
        (Some(epoch), Some(seq)) => Position { epoch, seq: unsigned(seq) },
        _ => nowhere(),
    })
}

pub fn person(row: &Row) -> Result<Person, Error> {
    Ok(Person { id: UserId::from_uuid(row.try_get("id")?), username: row.try_get("username")? })
}

/// The columns of a message; none when `m_seq` is null.
pub fn message(row: &Row, room: RoomId) -> Result<Option<Message>, Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("m_seq")? else { return Ok(None) };
    Ok(Some(Message {
        id: MessageId::from_uuid(row.try_get("m_mid")?),
        room,
        seq: unsigned(seq),
        author: UserId::from_uuid(row.try_get("m_author")?),
        cid: ClientId::from_uuid(row.try_get("m_cid")?),
        body: row.try_get("m_body")?,
        reply_to: row.try_get::<_, Option<Uuid>>("m_reply_to")?.map(MessageId::from_uuid),
        posted_at: row.try_get("m_posted_at")?,
        edited_at: row.try_get("m_edited_at")?,
        recalled_at: row.try_get("m_recalled_at")?,
    }))
}

pub fn room(row: &Row) -> Result<RoomSummary, crate::Error> {
    let id = RoomId::from_uuid(row.try_get("id")?);
    let number = |column| row.try_get(column).map(unsigned);
    Ok(RoomSummary {
        id,
        name: row.try_get("name")?,
        visibility: visibility(row.try_get("visibility")?),
        owner: UserId::from_uuid(row.try_get("owner")?),
        member_count: number("member_count")?,
        joined: row.try_get("joined")?,
        unread: number("unread")?,
        read_seq: number("read_seq")?,
        head: number("head")?,
        last_message: message(row, id)?,
        as_of: position(row)?,
    })
}

fn visibility(text: &str) -> Visibility {
    // Anything but the one word for all is not for all.
    if text == Visibility::Public.as_str() { Visibility::Public } else { Visibility::Private }
}
