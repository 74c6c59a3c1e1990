//! What was said: history, threads, pins, former words, and what the rules need to know of a message.

mod rules;

use deadpool_postgres::GenericClient;
use natterjack_domain::{MessageId, RoomId, UserId};
use natterjack_wire::{
    Position,
    rest::{Message, MessageList, PinList, Thread, ThreadList, Version, VersionList},
};
use tokio_postgres::{Row, types::Type};

pub use self::rules::{Known, message, pin_count, place};
use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    notices, query, rows,
};

/// The messages of the room `$1` that a subquery gives, as the person `$2` sees them, with what was done to them. One row
/// without a message where there are none; no row where there is no room.
///
/// What was done is looked for once for the whole page, `$among` its sequences: nearly always there is none, and to look
/// for each message would cost more than the messages.
macro_rules! messages {
    ($page:literal, $among:expr, $order:literal) => {
        concat!(
            "WITH page AS MATERIALIZED (",
            $page,
            "), reacted AS MATERIALIZED (
                SELECT c.seq, json_agg(json_build_object('emoji', c.emoji, 'count', c.count, 'users', f.users,
                                                         'me', f.me) ORDER BY f.first, c.emoji)::text AS reactions
                FROM read.reaction_counts c
                CROSS JOIN LATERAL (
                    SELECT json_agg(user_id ORDER BY reacted_seq) AS users, min(reacted_seq) AS first,
                           EXISTS (SELECT FROM read.reactions mine
                                   WHERE mine.room = c.room AND mine.seq = c.seq AND mine.emoji = c.emoji
                                     AND mine.user_id = $2) AS me
                    FROM (SELECT user_id, reacted_seq FROM read.reactions r
                          WHERE r.room = c.room AND r.seq = c.seq AND r.emoji = c.emoji
                          ORDER BY reacted_seq LIMIT 10) ten
                ) f
                WHERE c.room = $1 AND c.seq ",
            $among,
            " GROUP BY c.seq
            ), pinned AS MATERIALIZED (
                SELECT seq, pinned_by, pinned_seq, pinned_at FROM read.pins c WHERE c.room = $1 AND c.seq ",
            $among,
            "), begun AS MATERIALIZED (
                SELECT seq, replies, last_seq, last_at, participants FROM read.threads c
                WHERE c.room = $1 AND c.seq ",
            $among,
            ") SELECT ",
            message_columns!(),
            ", x.reactions, p.pinned_by, p.pinned_at, t.replies, t.last_seq, t.last_at, t.participants,
              c.epoch, c.seq AS as_of
            FROM read.rooms r
            JOIN read.checkpoints c ON c.stream = r.stream
            LEFT JOIN page m ON true
            LEFT JOIN reacted x ON x.seq = m.seq
            LEFT JOIN pinned p ON p.seq = m.seq
            LEFT JOIN begun t ON t.seq = m.seq
            WHERE r.id = $1 ORDER BY ",
            $order
        )
    };
}

/// The page is a stretch of the room.
macro_rules! stretch {
    () => {
        "BETWEEN (SELECT min(seq) FROM page) AND (SELECT max(seq) FROM page)"
    };
}

/// The page's messages may lie far from each other.
macro_rules! each {
    () => {
        "= ANY (ARRAY (SELECT seq FROM page))"
    };
}

/// Which part of a room's history is wanted.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    /// As the cursor says; the newest page without one.
    Cursor(Option<&'a str>),
    /// What follows this sequence.
    After(u64),
    /// What lies about this sequence.
    Around(u64),
}

/// So many older messages before one sequence, and newer ones from another on.
struct Stretch {
    before: i64,
    older: i64,
    from: i64,
    newer: i64,
}

impl Stretch {
    /// One row more in each direction in which there may be more, to see whether there is.
    fn of(from: From<'_>, limit: i64) -> Result<Self, CursorInvalid> {
        let after = |after: i64| {
            let from = after.saturating_add(1);
            Self { before: from, older: 1, from, newer: limit + 1 }
        };
        let before = |before, newer| Self { before, older: limit + 1, from: before, newer };
        Ok(match from {
            From::Cursor(None) => before(i64::MAX, 0),
            From::Cursor(Some(cursor)) => match Cursor::decode(cursor)? {
                Cursor::History { before_seq } => before(before_seq, 1),
                Cursor::Newer { after_seq } => after(after_seq),
                _ => return Err(CursorInvalid),
            },
            From::After(seq) => after(rows::signed(seq)),
            From::Around(seq) => {
                let (seq, half) = (rows::signed(seq), limit / 2);
                Self { before: seq, older: half + 1, from: seq, newer: limit - half + 1 }
            }
        })
    }
}

/// A page of a room's messages outside of threads, oldest first. `None` if there is no such room.
pub async fn history(
    client: &impl GenericClient,
    room: RoomId,
    asker: UserId,
    from: From<'_>,
    limit: Option<u32>,
) -> Result<Option<MessageList>, Error> {
    const SQL: &str = messages!(
        "(SELECT * FROM read.messages WHERE room = $1 AND seq < $3 AND thread IS NULL
          ORDER BY seq DESC LIMIT $4)
         UNION ALL
         (SELECT * FROM read.messages WHERE room = $1 AND seq >= $5 AND thread IS NULL
          ORDER BY seq LIMIT $6)",
        stretch!(),
        "m.seq"
    );
    let limit = Page { cursor: None, limit }.limit();
    let stretch = Stretch::of(from, rows::signed(limit as u64))?;
    let rows = query(
        client,
        "history",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (asker.as_uuid(), Type::UUID),
            (&stretch.before, Type::INT8),
            (&stretch.older, Type::INT8),
            (&stretch.from, Type::INT8),
            (&stretch.newer, Type::INT8),
        ],
    )
    .await?;
    let Some((mut items, as_of)) = items(&rows, room)? else { return Ok(None) };
    let split = items.partition_point(|message| rows::signed(message.seq) < stretch.before);
    let newer_wanted = usize::try_from(stretch.newer - 1).unwrap_or(0);
    let older_wanted = usize::try_from(stretch.older - 1).unwrap_or(0);
    let has_newer = items.len() - split > newer_wanted;
    let has_older = split > older_wanted;
    let beyond = items.get(split + newer_wanted).map(|message| message.seq);
    items.truncate(split + newer_wanted);
    items.drain(..split - split.min(older_wanted));
    // An empty page leads back to where it was asked for.
    let oldest = items.first().map_or(stretch.before, |message| rows::signed(message.seq));
    let newest = items.last().map_or(stretch.from - 1, |message| rows::signed(message.seq));
    // What was done between this page's messages, and after the last of them up to the next page.
    let first = if has_older { rows::unsigned(oldest) } else { 0 };
    let last = beyond.map_or(as_of.seq, |seq| as_of.seq.min(seq - 1));
    let notices = notices::between(client, room, first, last).await?;
    Ok(Some(MessageList {
        items,
        notices,
        next: has_older.then(|| Cursor::History { before_seq: oldest }.encode()),
        newer: has_newer.then(|| Cursor::Newer { after_seq: newest }.encode()),
        as_of,
    }))
}

/// One message, replies too. `None` where the read model does not hold it.
pub async fn one(
    client: &impl GenericClient,
    room: RoomId,
    asker: UserId,
    mid: MessageId,
) -> Result<Option<Message>, Error> {
    const SQL: &str = messages!("SELECT * FROM read.messages WHERE room = $1 AND mid = $3", each!(), "m.seq");
    let rows = query(
        client,
        "one_message",
        SQL,
        &[(room.as_uuid(), Type::UUID), (asker.as_uuid(), Type::UUID), (mid.as_uuid(), Type::UUID)],
    )
    .await?;
    Ok(items(&rows, room)?.and_then(|(mut items, _)| items.pop()))
}

/// The message that began a thread, and a page of its replies, the newest ones first to be had. `None` if there is no
/// such message.
pub async fn thread(
    client: &impl GenericClient,
    room: RoomId,
    asker: UserId,
    first: MessageId,
    page: Page<'_>,
) -> Result<Option<Thread>, Error> {
    const SQL: &str = messages!(
        "(SELECT * FROM read.messages WHERE room = $1 AND mid = $3 AND thread IS NULL)
         UNION ALL
         (SELECT * FROM read.messages WHERE room = $1 AND thread = $3 AND seq < $4 ORDER BY seq DESC LIMIT $5)",
        each!(),
        "m.seq"
    );
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Replies { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "thread",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (asker.as_uuid(), Type::UUID),
            (first.as_uuid(), Type::UUID),
            (&before_seq, Type::INT8),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some((items, as_of)) = items(&rows, room)? else { return Ok(None) };
    let (firsts, mut items): (Vec<_>, Vec<_>) = items.into_iter().partition(|message| message.id == first);
    let Some(first) = firsts.into_iter().next() else { return Ok(None) };
    let has_older = items.len() > page.limit();
    items.drain(..items.len() - items.len().min(page.limit()));
    let oldest = items.first().filter(|_| has_older).map(|message| rows::signed(message.seq));
    let next = oldest.map(|before_seq| Cursor::Replies { before_seq }.encode());
    Ok(Some(Thread { root: first, items, next, as_of }))
}

/// The messages of a room that began threads, the one that was replied to last first.
pub async fn threads(
    client: &impl GenericClient,
    room: RoomId,
    asker: UserId,
    page: Page<'_>,
) -> Result<Option<ThreadList>, Error> {
    const SQL: &str = messages!(
        "SELECT m.* FROM (SELECT seq FROM read.threads WHERE room = $1 AND last_seq < $3
                          ORDER BY last_seq DESC LIMIT $4) t
         JOIN read.messages m ON m.room = $1 AND m.seq = t.seq",
        each!(),
        "t.last_seq DESC"
    );
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Threads { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "threads",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (asker.as_uuid(), Type::UUID),
            (&before_seq, Type::INT8),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some((mut items, as_of)) = items(&rows, room)? else { return Ok(None) };
    let has_more = items.len() > page.limit();
    items.truncate(page.limit());
    let last = items.last().filter(|_| has_more).and_then(|message| message.replies.as_ref());
    let next = last.map(|thread| Cursor::Threads { before_seq: rows::signed(thread.last_seq) }.encode());
    Ok(Some(ThreadList { items, next, as_of }))
}

/// The pinned messages of a room, the one that was pinned last first.
pub async fn pins(
    client: &impl GenericClient,
    room: RoomId,
    asker: UserId,
) -> Result<Option<PinList>, Error> {
    const SQL: &str = messages!(
        "SELECT m.* FROM read.pins p JOIN read.messages m ON m.room = $1 AND m.seq = p.seq WHERE p.room = $1",
        each!(),
        "p.pinned_seq DESC"
    );
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(room.as_uuid(), Type::UUID), (asker.as_uuid(), Type::UUID)];
    let rows = query(client, "pins", SQL, &parameters).await?;
    Ok(items(&rows, room)?.map(|(items, as_of)| PinList { items, as_of }))
}

/// What a message said, the newest words first; what it says now where it was never edited. `None` if there is no such
/// message.
pub async fn versions(
    client: &impl GenericClient,
    room: RoomId,
    mid: MessageId,
    page: Page<'_>,
) -> Result<Option<VersionList>, Error> {
    const SQL: &str = "SELECT v.since_seq, v.since_at, v.body, v.mentions, v.meta, c.epoch, c.seq AS as_of
        FROM read.rooms r
        JOIN read.checkpoints c ON c.stream = r.stream
        JOIN read.messages m ON m.room = r.id AND m.mid = $2
        LEFT JOIN LATERAL (
            (SELECT since_seq, since_at, body, mentions, meta FROM read.versions
             WHERE room = m.room AND seq = m.seq AND since_seq < $3 ORDER BY since_seq DESC LIMIT $4)
            UNION ALL
            SELECT m.seq, m.posted_at, m.body, m.mentions, m.meta
            WHERE m.edited_seq IS NULL AND m.body IS NOT NULL AND m.seq < $3
        ) v ON true
        WHERE r.id = $1 ORDER BY v.since_seq DESC";
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Versions { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "versions",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (mid.as_uuid(), Type::UUID),
            (&before_seq, Type::INT8),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let mut items = Vec::with_capacity(rows.len().min(page.limit()));
    for row in rows.iter().take(page.limit()) {
        items.extend(version(row)?);
    }
    let last = items.last().filter(|_| rows.len() > page.limit()).map(|version| rows::signed(version.seq));
    let next = last.map(|before_seq| Cursor::Versions { before_seq }.encode());
    Ok(Some(VersionList { items, next, as_of }))
}

fn version(row: &Row) -> Result<Option<Version>, Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("since_seq")? else { return Ok(None) };
    Ok(Some(Version {
        seq: rows::unsigned(seq),
        at: row.try_get("since_at")?,
        body: row.try_get("body")?,
        mentions: rows::json(row, "mentions")?.unwrap_or_default(),
        meta: rows::json(row, "meta")?,
    }))
}

/// The messages with what was done to them, and the position that they reflect. `None` where there is no row.
fn items(rows: &[Row], room: RoomId) -> Result<Option<(Vec<Message>, Position)>, Error> {
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(message) = rows::message(row, room)? {
            items.push(rows::marked(row, message)?);
        }
    }
    Ok(Some((items, as_of)))
}

/// The last message of `author` among the newest 1,000 of `room`, and when it was posted.
pub async fn last_of(
    client: &impl GenericClient,
    room: RoomId,
    author: UserId,
) -> Result<Option<(MessageId, String)>, Error> {
    const SQL: &str = "SELECT mid, posted_at FROM (
            SELECT seq, mid, author, posted_at FROM read.messages WHERE room = $1 ORDER BY seq DESC LIMIT 1000
        ) newest WHERE author = $2 ORDER BY seq DESC LIMIT 1";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(room.as_uuid(), Type::UUID), (author.as_uuid(), Type::UUID)];
    let rows = query(client, "last_of", SQL, &parameters).await?;
    let found =
        rows.first().map(|row| Ok((MessageId::from_uuid(row.try_get("mid")?), row.try_get("posted_at")?)));
    found.transpose()
}
