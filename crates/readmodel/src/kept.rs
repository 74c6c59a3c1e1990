//! What people keep for themselves. Each answer bears the position of the person's feed that it reflects.

use deadpool_postgres::GenericClient;
use natterjack_domain::{
    MessageBody, MessageId, RoomId, ScheduleId, UserId,
    user::{
        DoNotDisturb, NotifyLevel,
        schedule::{Plan, Stage},
    },
};
use natterjack_wire::{
    Position,
    rest::{DraftList, SavedList, SavedMessage, Schedule, ScheduleList, ScheduleStage, UnsentDraft},
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    AsOf, Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// What `user`, whose feed lives in stream `stream`, is told of `room`.
pub async fn notifications(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    room: RoomId,
) -> Result<AsOf<NotifyLevel>, Error> {
    const SQL: &str = "SELECT n.level, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN read.notify_levels n ON n.user_id = $2 AND n.room = $3";
    let rows = query(
        client,
        "notifications",
        SQL,
        &[(&rows::small(stream), Type::INT2), (user.as_uuid(), Type::UUID), (room.as_uuid(), Type::UUID)],
    )
    .await?;
    let Some(row) = rows.first() else { return Ok(nothing()) };
    Ok(AsOf { as_of: rows::position(row)?, value: rows::level(row.try_get("level")?) })
}

/// When `user` is not to be disturbed.
pub async fn do_not_disturb(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
) -> Result<AsOf<DoNotDisturb>, Error> {
    const SQL: &str = "SELECT d.dnd, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN read.do_not_disturb d ON d.user_id = $2";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&rows::small(stream), Type::INT2), (user.as_uuid(), Type::UUID)];
    let rows = query(client, "do_not_disturb", SQL, &parameters).await?;
    let Some(row) = rows.first() else { return Ok(nothing()) };
    let text: Option<&str> = row.try_get("dnd")?;
    // The projector wrote it from the same type.
    let value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok(AsOf { as_of: rows::position(row)?, value })
}

/// The drafts of `user` in rooms where the person still is.
pub async fn drafts(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    page: Page<'_>,
) -> Result<DraftList, Error> {
    const SQL: &str = "SELECT d.*, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN LATERAL (
            SELECT d.room, d.thread, d.body, d.saved_at FROM read.drafts d
            JOIN read.members m ON m.room = d.room AND m.user_id = d.user_id
            WHERE d.user_id = $2 AND (d.room, d.thread) > ($3, $4) ORDER BY d.room, d.thread LIMIT $5
        ) d ON true ORDER BY d.room, d.thread";
    let (room, thread) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (Uuid::nil(), Uuid::nil()),
        Some(Cursor::Drafts { room, thread }) => (room.into(), thread.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let found = query(
        client,
        "drafts",
        SQL,
        &[
            (&rows::small(stream), Type::INT2),
            (user.as_uuid(), Type::UUID),
            (&room, Type::UUID),
            (&thread, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let (found, last, as_of) = cut(&found, "room", page)?;
    let next = last.map(|row| {
        let thread = MessageId::from_uuid(row.try_get("thread")?);
        Ok::<_, tokio_postgres::Error>(
            Cursor::Drafts { room: RoomId::from_uuid(row.try_get("room")?), thread }.encode(),
        )
    });
    let items = found.iter().map(|row| {
        let thread = MessageId::from_uuid(row.try_get("thread")?);
        Ok::<_, tokio_postgres::Error>(UnsentDraft {
            room: RoomId::from_uuid(row.try_get("room")?),
            thread: (thread != MessageId::NONE).then_some(thread),
            body: row.try_get("body")?,
            saved_at: row.try_get("saved_at")?,
        })
    });
    Ok(DraftList { items: items.collect::<Result<_, _>>()?, next: next.transpose()?, as_of })
}

/// The messages that `user` has saved, as they are now, of rooms where the person still is.
pub async fn saved(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    page: Page<'_>,
) -> Result<SavedList, Error> {
    const SQL: &str = concat!(
        "SELECT s.*, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN LATERAL (
            SELECT s.room, s.saved_seq, s.saved_at, ",
        message_columns!(),
        " FROM read.saved_messages s
            JOIN read.members me ON me.room = s.room AND me.user_id = s.user_id
            JOIN read.messages m ON m.room = s.room AND m.mid = s.mid
            WHERE s.user_id = $2 AND s.saved_seq < $3 ORDER BY s.saved_seq DESC LIMIT $4
        ) s ON true ORDER BY s.saved_seq DESC"
    );
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Saved { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let found = query(
        client,
        "saved",
        SQL,
        &[
            (&rows::small(stream), Type::INT2),
            (user.as_uuid(), Type::UUID),
            (&before_seq, Type::INT8),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let (found, last, as_of) = cut(&found, "room", page)?;
    let next =
        last.map(|row| row.try_get("saved_seq").map(|before_seq| Cursor::Saved { before_seq }.encode()));
    let mut items = Vec::with_capacity(found.len());
    for row in found {
        if let Some(message) = rows::message(row, RoomId::from_uuid(row.try_get("room")?))? {
            items.push(SavedMessage { message, saved_at: row.try_get("saved_at")? });
        }
    }
    Ok(SavedList { items, next: next.transpose()?, as_of })
}

/// How many messages `user` has saved.
pub async fn saved_count(client: &impl GenericClient, user: UserId) -> Result<u64, Error> {
    const SQL: &str = "SELECT count(*) FROM read.saved_messages WHERE user_id = $1";
    let rows = query(client, "saved_count", SQL, &[(user.as_uuid(), Type::UUID)]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get(0).map(rows::unsigned))?)
}

/// The room of a message that `user` has saved.
pub async fn saved_in(
    client: &impl GenericClient,
    user: UserId,
    mid: MessageId,
) -> Result<Option<RoomId>, Error> {
    const SQL: &str = "SELECT room FROM read.saved_messages WHERE user_id = $1 AND mid = $2";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(user.as_uuid(), Type::UUID), (mid.as_uuid(), Type::UUID)];
    let rows = query(client, "saved_in", SQL, &parameters).await?;
    Ok(rows.first().map(|row| row.try_get(0).map(RoomId::from_uuid)).transpose()?)
}

/// The rooms of `user` after `after`, by id, in which something is unread, each with its last event.
pub async fn unread_rooms(
    client: &impl GenericClient,
    user: UserId,
    after: RoomId,
    limit: i64,
) -> Result<Vec<(RoomId, u64)>, Error> {
    const SQL: &str = "SELECT r.id, r.head FROM read.members me
        JOIN read.rooms r ON r.id = me.room
        LEFT JOIN read.read_marks k ON k.user_id = me.user_id AND k.room = me.room
        WHERE me.user_id = $1 AND me.room > $2 AND r.head > greatest(coalesce(k.seq, 0), me.joined_seq)
        ORDER BY me.room LIMIT $3";
    let rows = query(
        client,
        "unread_rooms",
        SQL,
        &[(user.as_uuid(), Type::UUID), (after.as_uuid(), Type::UUID), (&limit, Type::INT8)],
    )
    .await?;
    let rooms = rows.iter().map(|row| {
        Ok::<_, tokio_postgres::Error>((
            RoomId::from_uuid(row.try_get("id")?),
            rows::unsigned(row.try_get("head")?),
        ))
    });
    Ok(rooms.collect::<Result<_, _>>()?)
}

/// What `user` has scheduled and what could not be sent, by time.
pub async fn schedules(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    page: Page<'_>,
) -> Result<ScheduleList, Error> {
    const SQL: &str = "SELECT s.*, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN LATERAL (
            SELECT sid, room, at, body, reply_to, thread, mentions, stage, code FROM read.schedules
            WHERE user_id = $2 AND stage IN ('pending', 'begun', 'failed') AND (at, sid) > ($3, $4)
            ORDER BY at, sid LIMIT $5
        ) s ON true ORDER BY s.at, s.sid";
    let (at, after) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (-1, Uuid::nil()),
        Some(Cursor::Schedules { at, after }) => (at, after.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let found = query(
        client,
        "schedules",
        SQL,
        &[
            (&rows::small(stream), Type::INT2),
            (user.as_uuid(), Type::UUID),
            (&at, Type::INT8),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let (found, last, as_of) = cut(&found, "sid", page)?;
    let next = last.map(|row| {
        let after = ScheduleId::from_uuid(row.try_get("sid")?);
        Ok::<_, tokio_postgres::Error>(Cursor::Schedules { at: row.try_get("at")?, after }.encode())
    });
    let items = found.iter().map(schedule).collect::<Result<_, _>>()?;
    Ok(ScheduleList { items, next: next.transpose()?, as_of })
}

fn schedule(row: &Row) -> Result<Schedule, tokio_postgres::Error> {
    let code: Option<i32> = row.try_get("code")?;
    Ok(Schedule {
        id: ScheduleId::from_uuid(row.try_get("sid")?),
        room: RoomId::from_uuid(row.try_get("room")?),
        at: rows::unsigned(row.try_get("at")?),
        body: row.try_get("body")?,
        reply_to: row.try_get::<_, Option<Uuid>>("reply_to")?.map(MessageId::from_uuid),
        thread: row.try_get::<_, Option<Uuid>>("thread")?.map(MessageId::from_uuid),
        mentions: rows::json(row, "mentions")?.unwrap_or_default(),
        stage: match row.try_get("stage")? {
            "begun" => ScheduleStage::Begun,
            "failed" => ScheduleStage::Failed,
            _ => ScheduleStage::Pending,
        },
        code: code.and_then(|code| code.try_into().ok()),
    })
}

/// How far a schedule has come, and how many are pending with it.
pub async fn stage(
    client: &impl GenericClient,
    user: UserId,
    sid: ScheduleId,
) -> Result<(Option<Stage>, u64), Error> {
    const SQL: &str = "SELECT s.stage, s.seq, s.code,
               (SELECT count(*) FROM read.schedules WHERE user_id = $1 AND stage = 'pending') AS pending
        FROM (SELECT) one LEFT JOIN read.schedules s ON s.user_id = $1 AND s.sid = $2";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(user.as_uuid(), Type::UUID), (sid.as_uuid(), Type::UUID)];
    let rows = query(client, "schedule_stage", SQL, &parameters).await?;
    let Some(row) = rows.first() else { return Ok((None, 0)) };
    let (seq, code): (Option<i64>, Option<i32>) = (row.try_get("seq")?, row.try_get("code")?);
    let stage = match row.try_get("stage")? {
        None => None,
        Some("pending") => Some(Stage::Pending),
        Some("begun") => Some(Stage::Begun),
        Some("sent") => Some(Stage::Sent { seq: rows::unsigned(seq.unwrap_or_default()) }),
        Some("failed") => {
            Some(Stage::Failed { code: code.unwrap_or_default().try_into().unwrap_or_default() })
        }
        Some(_) => Some(Stage::Cancelled),
    };
    Ok((stage, rows::unsigned(row.try_get("pending")?)))
}

pub async fn schedule_room(
    client: &impl GenericClient,
    user: UserId,
    sid: ScheduleId,
) -> Result<Option<RoomId>, Error> {
    const SQL: &str = "SELECT room FROM read.schedules WHERE user_id = $1 AND sid = $2";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(user.as_uuid(), Type::UUID), (sid.as_uuid(), Type::UUID)];
    let rows = query(client, "schedule_room", SQL, &parameters).await?;
    Ok(rows.first().map(|row| row.try_get(0).map(RoomId::from_uuid)).transpose()?)
}

/// Whose schedules are due at `now`, in milliseconds since 1970: those who have waited longest first.
pub async fn due_people(client: &impl GenericClient, now: i64, limit: i64) -> Result<Vec<UserId>, Error> {
    const SQL: &str = "SELECT user_id FROM read.schedules WHERE stage IN ('pending', 'begun') AND at <= $1
        GROUP BY user_id ORDER BY min(at) LIMIT $2";
    let rows = query(client, "due_people", SQL, &[(&now, Type::INT8), (&limit, Type::INT8)]).await?;
    Ok(rows.iter().map(|row| row.try_get(0).map(UserId::from_uuid)).collect::<Result<_, _>>()?)
}

/// What is due of one person, by time.
#[derive(Debug)]
pub struct Due {
    pub sid: ScheduleId,
    pub plan: Plan,
    /// Whether somebody has begun to send it.
    pub begun: bool,
}

pub async fn due(client: &impl GenericClient, user: UserId, now: i64, limit: i64) -> Result<Vec<Due>, Error> {
    const SQL: &str =
        "SELECT sid, room, at, body, reply_to, thread, mentions, stage, code FROM read.schedules
        WHERE stage IN ('pending', 'begun') AND at <= $2 AND user_id = $1 ORDER BY at, sid LIMIT $3";
    let rows =
        query(client, "due", SQL, &[(user.as_uuid(), Type::UUID), (&now, Type::INT8), (&limit, Type::INT8)])
            .await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        let Schedule { id, room, at, body, reply_to, thread, mentions, stage, .. } = schedule(row)?;
        // It was parsed before it was stored.
        let Ok(body) = MessageBody::try_from(body) else { continue };
        let plan = Plan { room, at, body, reply_to, thread, mentions };
        due.push(Due { sid: id, plan, begun: stage == ScheduleStage::Begun });
    }
    Ok(due)
}

fn nothing<T: Default>() -> AsOf<T> {
    AsOf { as_of: rows::nowhere(), value: T::default() }
}

/// The rows of a page, of which there are none where `key` is null; the last of them if another page follows.
fn cut<'a>(
    found: &'a [Row],
    key: &str,
    page: Page<'_>,
) -> Result<(&'a [Row], Option<&'a Row>, Position), Error> {
    let as_of = found.first().map_or_else(|| Ok(rows::nowhere()), rows::position)?;
    let is_empty = match found.first() {
        Some(row) => row.try_get::<_, Option<Uuid>>(key)?.is_none(),
        None => true,
    };
    let on_page = if is_empty { &[] } else { &found[..found.len().min(page.limit())] };
    let last = on_page.last().filter(|_| found.len() > page.limit());
    Ok((on_page, last, as_of))
}
