//! From columns to values. The columns have one name and one meaning in all statements.

use natterjack_domain::{
    ClientId, MessageId, Role, RoomId, UserId, Visibility, profile::Status, room::Kind, user::NotifyLevel,
};
use natterjack_wire::{
    Position,
    rest::{Deleted, FirstUnread, Message, Person, Pinned, RoomSummary, ThreadSummary},
};
use serde::de::DeserializeOwned;
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

/// `id`, `username`, and of the profile `nickname`, `avatar`, `deactivated`: null or false where there is none.
pub fn person(row: &Row) -> Result<Person, Error> {
    Ok(Person {
        id: UserId::from_uuid(row.try_get("id")?),
        username: row.try_get("username")?,
        nickname: row.try_get("nickname")?,
        avatar: row.try_get("avatar")?,
        deactivated: row.try_get("deactivated")?,
    })
}

/// The status of a profile.
pub fn status(row: &Row) -> Result<Option<Status>, Error> {
    // What is stored was checked before it was.
    let text = row.try_get::<_, Option<String>>("status_text")?.and_then(|text| text.try_into().ok());
    let emoji = row.try_get::<_, Option<String>>("status_emoji")?.and_then(|emoji| emoji.try_into().ok());
    let until = row.try_get::<_, Option<i64>>("status_until")?.map(unsigned);
    Ok(text.map(|text| Status { text, emoji, until }))
}

/// What [`message`] reads, of a row `m` of `read.messages`.
macro_rules! message_columns {
    () => {
        "m.seq AS m_seq, m.mid AS m_mid, m.author AS m_author, m.cid AS m_cid, m.body AS m_body,
         m.reply_to AS m_reply_to, m.thread AS m_thread, m.mentions AS m_mentions, m.meta AS m_meta,
         m.forwarded AS m_forwarded, m.attachments AS m_attachments, m.posted_at AS m_posted_at,
         m.edited_at AS m_edited_at, m.edited_seq AS m_edited_seq, m.recalled_at AS m_recalled_at,
         m.deleted_by AS m_deleted_by, m.deleted_reason AS m_deleted_reason"
    };
}

/// The columns of a message; none when `m_seq` is null. What was done to it is left out: see [`marked`].
pub fn message(row: &Row, room: RoomId) -> Result<Option<Message>, Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("m_seq")? else { return Ok(None) };
    let gone_at: Option<String> = row.try_get("m_recalled_at")?;
    let deleted_by = row.try_get::<_, Option<Uuid>>("m_deleted_by")?.map(UserId::from_uuid);
    let (recalled_at, deleted) = match (gone_at, deleted_by) {
        (Some(at), Some(by)) => (None, Some(Deleted { by, at, reason: row.try_get("m_deleted_reason")? })),
        (at, _) => (at, None),
    };
    Ok(Some(Message {
        id: MessageId::from_uuid(row.try_get("m_mid")?),
        room,
        seq: unsigned(seq),
        author: UserId::from_uuid(row.try_get("m_author")?),
        cid: ClientId::from_uuid(row.try_get("m_cid")?),
        body: row.try_get("m_body")?,
        reply_to: row.try_get::<_, Option<Uuid>>("m_reply_to")?.map(MessageId::from_uuid),
        thread: row.try_get::<_, Option<Uuid>>("m_thread")?.map(MessageId::from_uuid),
        mentions: json(row, "m_mentions")?.unwrap_or_default(),
        meta: json(row, "m_meta")?,
        forwarded: json(row, "m_forwarded")?,
        attachments: json(row, "m_attachments")?.unwrap_or_default(),
        posted_at: row.try_get("m_posted_at")?,
        edited_at: row.try_get("m_edited_at")?,
        edited_seq: row.try_get::<_, Option<i64>>("m_edited_seq")?.map(unsigned),
        recalled_at,
        deleted,
        reactions: vec![],
        pinned: None,
        replies: None,
    }))
}

/// The message with what was done to it: `reactions`, `pinned_by`, `pinned_at`, and the thread that it began.
pub fn marked(row: &Row, mut message: Message) -> Result<Message, Error> {
    message.reactions = json(row, "reactions")?.unwrap_or_default();
    if let Some(by) = row.try_get::<_, Option<Uuid>>("pinned_by")? {
        message.pinned = Some(Pinned { by: UserId::from_uuid(by), at: row.try_get("pinned_at")? });
    }
    if let Some(count) = row.try_get::<_, Option<i64>>("replies")? {
        let participants: Vec<Uuid> = row.try_get("participants")?;
        message.replies = Some(ThreadSummary {
            count: unsigned(count),
            last_seq: unsigned(row.try_get("last_seq")?),
            last_at: row.try_get("last_at")?,
            participants: participants.into_iter().map(UserId::from_uuid).collect(),
        });
    }
    Ok(message)
}

/// JSON that the projector wrote, or this crate's own statements made: it is what it is read as.
pub fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, Error> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

pub fn room(row: &Row) -> Result<RoomSummary, crate::Error> {
    let id = RoomId::from_uuid(row.try_get("id")?);
    let number = |column| row.try_get(column).map(unsigned);
    Ok(RoomSummary {
        id,
        kind: Kind::parse(row.try_get("kind")?).unwrap_or_default(),
        name: row.try_get("name")?,
        people: others(row)?,
        visibility: visibility(row.try_get("visibility")?),
        owner: UserId::from_uuid(row.try_get("owner")?),
        topic: row.try_get("topic")?,
        description: row.try_get("description")?,
        avatar: row.try_get("avatar")?,
        slow_mode_s: number("slow_mode_s")?,
        read_only: row.try_get("read_only")?,
        members_max: number("members_max")?,
        archived: row.try_get("archived")?,
        role: row.try_get::<_, Option<&str>>("role")?.and_then(Role::parse),
        member_count: number("member_count")?,
        joined: row.try_get("joined")?,
        unread: number("unread")?,
        mentions: number("mentions")?,
        read_seq: number("read_seq")?,
        first_unread: first_unread(row)?,
        notify: level(row.try_get("notify")?),
        other_read_seq: row.try_get::<_, Option<i64>>("other_read_seq")?.map(unsigned),
        other_delivered_seq: row.try_get::<_, Option<i64>>("other_delivered_seq")?.map(unsigned),
        head: number("head")?,
        last_message: message(row, id)?,
        as_of: position(row)?,
    })
}

/// The others in a direct room.
fn others(row: &Row) -> Result<Vec<Person>, Error> {
    let ids: Option<Vec<Uuid>> = row.try_get("ids")?;
    let mut usernames = row.try_get::<_, Option<Vec<String>>>("usernames")?.into_iter().flatten();
    let mut nicknames = row.try_get::<_, Option<Vec<Option<String>>>>("nicknames")?.into_iter().flatten();
    let mut avatars = row.try_get::<_, Option<Vec<Option<String>>>>("avatars")?.into_iter().flatten();
    let mut deactivated = row.try_get::<_, Option<Vec<bool>>>("deactivated")?.into_iter().flatten();
    let people = ids.into_iter().flatten().map(|id| Person {
        id: UserId::from_uuid(id),
        username: usernames.next().unwrap_or_default(),
        nickname: nicknames.next().flatten(),
        avatar: avatars.next().flatten(),
        deactivated: deactivated.next().unwrap_or_default(),
    });
    Ok(people.collect())
}

fn first_unread(row: &Row) -> Result<Option<FirstUnread>, Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("first_seq")? else { return Ok(None) };
    Ok(Some(FirstUnread { seq: unsigned(seq), mid: MessageId::from_uuid(row.try_get("first_mid")?) }))
}

/// Of a person who has said nothing: everything.
pub fn level(text: Option<&str>) -> NotifyLevel {
    let said = NotifyLevel::ALL.into_iter().find(|level| Some(level.as_str()) == text);
    said.unwrap_or_default()
}

fn visibility(text: &str) -> Visibility {
    // Anything but the one word for all is not for all.
    if text == Visibility::Public.as_str() { Visibility::Public } else { Visibility::Private }
}
