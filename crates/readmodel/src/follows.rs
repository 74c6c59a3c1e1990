//! The threads that a person follows: those of which the person said so, wrote in, or was named in, put together here from
//! what the rooms and what the person's feed say.

use deadpool_postgres::GenericClient;
use natterjack_domain::{MessageId, RoomId, UserId};
use natterjack_wire::rest::{FollowedList, FollowedThread};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// Beyond every time.
const END: &str = "~";

/// The threads that `user`, whose feed lives in stream `stream`, follows, in rooms where the person is; the one that was
/// replied to last comes first. What was said before a person joined is not unread.
pub async fn followed(
    client: &impl GenericClient,
    stream: u16,
    user: UserId,
    page: Page<'_>,
) -> Result<FollowedList, Error> {
    const SQL: &str = concat!(
        "WITH mine AS (
            SELECT room, thread FROM read.thread_follows WHERE user_id = $2 AND follows
            UNION
            SELECT room, thread FROM read.messages WHERE author = $2 AND thread IS NOT NULL
            UNION
            SELECT room, thread FROM read.mentions WHERE user_id = $2 AND thread IS NOT NULL
        ), page AS MATERIALIZED (
            SELECT m.room, m.mid, t.replies, t.last_seq, t.last_at, t.participants,
                   greatest(k.seq, me.joined_seq) AS read_seq
            FROM mine
            JOIN read.members me ON me.room = mine.room AND me.user_id = $2
            JOIN read.messages m ON m.mid = mine.thread AND m.room = mine.room
            JOIN read.threads t ON t.room = m.room AND t.seq = m.seq
            LEFT JOIN read.thread_follows f
                   ON f.user_id = $2 AND f.room = mine.room AND f.thread = mine.thread
            LEFT JOIN read.thread_marks k
                   ON k.user_id = $2 AND k.room = mine.room AND k.thread = mine.thread
            WHERE f.follows IS NOT FALSE AND (t.last_at COLLATE \"C\", m.mid) < ($3, $4)
            ORDER BY t.last_at COLLATE \"C\" DESC, m.mid DESC LIMIT $5
        )
        SELECT t.room, t.read_seq, t.replies - coalesce(u.thread_ordinal, 0) AS unread, ",
        message_columns!(),
        ", NULL::text AS reactions, NULL::uuid AS pinned_by, NULL::text AS pinned_at, t.replies, t.last_seq,
           t.last_at, t.participants, c.epoch, c.seq AS as_of
        FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN page t ON true
        LEFT JOIN read.messages m ON m.mid = t.mid AND m.room = t.room
        LEFT JOIN LATERAL (
            SELECT thread_ordinal FROM read.messages
            WHERE room = t.room AND thread = t.mid AND seq <= t.read_seq ORDER BY seq DESC LIMIT 1
        ) u ON true
        ORDER BY t.last_at COLLATE \"C\" DESC, t.mid DESC"
    );
    let (at, before) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (END.to_owned(), Uuid::nil()),
        Some(Cursor::Followed { at, before }) => (at, before.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let found = query(
        client,
        "followed",
        SQL,
        &[
            (&rows::small(stream), Type::INT2),
            (user.as_uuid(), Type::UUID),
            (&at, Type::TEXT),
            (&before, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let as_of = found.first().map_or_else(|| Ok(rows::nowhere()), rows::position)?;
    let mut items = Vec::with_capacity(found.len().min(page.limit()));
    for row in found.iter().take(page.limit()) {
        let Some(room) = row.try_get::<_, Option<Uuid>>("room")? else { continue };
        let Some(message) = rows::message(row, RoomId::from_uuid(room))? else { continue };
        items.push(FollowedThread {
            root: rows::marked(row, message)?,
            unread: rows::unsigned(row.try_get("unread")?),
            read_seq: rows::unsigned(row.try_get("read_seq")?),
        });
    }
    let last = (found.len() > page.limit()).then(|| &found[page.limit() - 1]);
    let next = last.map(|row| {
        let before = MessageId::from_uuid(row.try_get("m_mid")?);
        Ok::<_, tokio_postgres::Error>(Cursor::Followed { at: row.try_get("last_at")?, before }.encode())
    });
    Ok(FollowedList { items, next: next.transpose()?, as_of })
}
