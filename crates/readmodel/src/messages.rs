//! What was said: history, and who wrote a message.

use deadpool_postgres::GenericClient;
use natterjack_domain::{MessageId, RoomId, UserId, message::Message};
use natterjack_wire::rest::MessageList;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::{
    AsOf, Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// A page of a room's messages, oldest first; the first page holds the newest, `next` leads to older ones.
/// `None` if there is no such room.
pub async fn history(
    client: &impl GenericClient,
    room: RoomId,
    page: Page<'_>,
) -> Result<Option<MessageList>, Error> {
    const SQL: &str = "SELECT m.seq AS m_seq, m.mid AS m_mid, m.author AS m_author, m.cid AS m_cid,
               m.body AS m_body, m.reply_to AS m_reply_to, m.posted_at AS m_posted_at,
               m.edited_at AS m_edited_at, m.recalled_at AS m_recalled_at, c.epoch, c.seq AS as_of
        FROM read.rooms r
        JOIN read.checkpoints c ON c.stream = r.stream
        LEFT JOIN LATERAL (
            SELECT * FROM read.messages WHERE room = r.id AND seq < $2 ORDER BY seq DESC LIMIT $3
        ) m ON true
        WHERE r.id = $1 ORDER BY m.seq DESC";
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::History { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "history",
        SQL,
        &[(room.as_uuid(), Type::UUID), (&before_seq, Type::INT8), (&page.limit_and_one(), Type::INT8)],
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let mut items = Vec::with_capacity(rows.len().min(page.limit()));
    for row in rows.iter().take(page.limit()) {
        items.extend(rows::message(row, room)?);
    }
    let oldest = items.last().filter(|_| rows.len() > page.limit()).map(|m| rows::signed(m.seq));
    items.reverse();
    let next = oldest.map(|before_seq| Cursor::History { before_seq }.encode());
    Ok(Some(MessageList { items, next, as_of }))
}

/// What the rules need to know of a message of `room`, which lives in stream `stream`. `None` where the read
/// model does not hold it; `as_of` says up to where that can be relied on.
pub async fn message(
    client: &impl GenericClient,
    stream: u16,
    room: RoomId,
    mid: MessageId,
) -> Result<AsOf<Option<Message>>, Error> {
    const SQL: &str = "SELECT m.author, m.recalled_seq IS NOT NULL AS recalled, c.epoch, c.seq AS as_of
        FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = $1
        LEFT JOIN read.messages m ON m.room = $2 AND m.mid = $3";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&rows::small(stream), Type::INT2), (room.as_uuid(), Type::UUID), (mid.as_uuid(), Type::UUID)];
    let rows = query(client, "message", SQL, &parameters).await?;
    let Some(row) = rows.first() else { return Ok(AsOf { as_of: rows::nowhere(), value: None }) };
    let author: Option<Uuid> = row.try_get("author")?;
    let recalled = row.try_get("recalled")?;
    let value = author.map(|author| Message { id: mid, author: UserId::from_uuid(author), recalled });
    Ok(AsOf { as_of: rows::position(row)?, value })
}
