//! Who has read a message: nobody writes that down, it follows from how far each member has read.

use deadpool_postgres::GenericClient;
use natterjack_domain::{MessageId, RoomId, UserId};
use natterjack_wire::rest::{SeenBy, SeenList};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// The members of `room` that have read the message, besides its author, by id. `None` if there is no such message.
pub async fn seen(
    client: &impl GenericClient,
    room: RoomId,
    mid: MessageId,
    page: Page<'_>,
) -> Result<Option<SeenList>, Error> {
    const SQL: &str = "SELECT s.user_id, s.seq, c.epoch, c.seq AS as_of
        FROM read.messages m
        JOIN read.rooms r ON r.id = m.room
        JOIN read.checkpoints c ON c.stream = r.stream
        LEFT JOIN LATERAL (
            SELECT k.user_id, k.seq FROM read.members me
            JOIN read.read_marks k ON k.user_id = me.user_id AND k.room = me.room
            WHERE me.room = m.room AND me.user_id <> m.author AND k.seq >= m.seq AND me.user_id > $3
            ORDER BY k.user_id LIMIT $4
        ) s ON true
        WHERE m.room = $1 AND m.mid = $2 ORDER BY s.user_id";
    let after = match page.cursor.map(Cursor::decode).transpose()? {
        None => Uuid::nil(),
        Some(Cursor::Seen { after }) => after.into(),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let found = query(
        client,
        "seen",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (mid.as_uuid(), Type::UUID),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some(first) = found.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let mut items = Vec::with_capacity(found.len().min(page.limit()));
    for row in found.iter().take(page.limit()) {
        if let Some(user) = row.try_get::<_, Option<Uuid>>("user_id")? {
            items.push(SeenBy { user: UserId::from_uuid(user), seq: rows::unsigned(row.try_get("seq")?) });
        }
    }
    let last = items.last().filter(|_| found.len() > page.limit());
    let next = last.map(|last| Cursor::Seen { after: last.user }.encode());
    Ok(Some(SeenList { items, next, as_of }))
}
