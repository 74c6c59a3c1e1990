//! What was done to a room, from the second copy of the log: beside what was said in it, and for its moderators.

use deadpool_postgres::GenericClient;
use natterjack_domain::RoomId;
use natterjack_wire::{
    StoredEvent,
    rest::{AuditList, Notice},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// Most notices beside one page of messages.
pub const NOTICES_MAX: i64 = 500;

/// The state events of `room` from `first` to `last`, in their order; the newest of them if there are too many.
pub async fn between(
    client: &impl GenericClient,
    room: RoomId,
    first: u64,
    last: u64,
) -> Result<Vec<Notice>, Error> {
    const SQL: &str = "SELECT seq, ts, body FROM log.events
        WHERE topic = $1 AND kind = 0 AND known AND seq BETWEEN $2 AND $3 ORDER BY seq DESC LIMIT $4";
    let rows = query(
        client,
        "notices",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (&rows::signed(first), Type::INT8),
            (&rows::signed(last), Type::INT8),
            (&NOTICES_MAX, Type::INT8),
        ],
    )
    .await?;
    let mut notices = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        notices.extend(notice(row)?);
    }
    Ok(notices)
}

/// All state events of `room`, the newest first. `None` if there is no such room.
pub async fn audit(
    client: &impl GenericClient,
    room: RoomId,
    page: Page<'_>,
) -> Result<Option<AuditList>, Error> {
    const SQL: &str = "SELECT e.seq, e.ts, e.body, c.epoch, c.seq AS as_of
        FROM read.rooms r
        JOIN read.checkpoints c ON c.stream = r.stream
        LEFT JOIN LATERAL (
            SELECT seq, ts, body FROM log.events
            WHERE topic = r.id AND kind = 0 AND known AND seq < $2 ORDER BY seq DESC LIMIT $3
        ) e ON true
        WHERE r.id = $1 ORDER BY e.seq DESC";
    let before_seq = match page.cursor.map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Audit { before_seq }) => before_seq,
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "audit",
        SQL,
        &[(room.as_uuid(), Type::UUID), (&before_seq, Type::INT8), (&page.limit_and_one(), Type::INT8)],
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.iter().take(page.limit()) {
        items.extend(notice(row)?);
    }
    let last = (rows.len() > page.limit()).then(|| &rows[page.limit() - 1]);
    let next = last.map(|row| Ok::<_, Error>(Cursor::Audit { before_seq: row.try_get("seq")? }.encode()));
    Ok(Some(AuditList { items, next: next.transpose()?, as_of }))
}

/// What cannot be read, or not yet by this program, is no notice.
fn notice(row: &Row) -> Result<Option<Notice>, Error> {
    let Some(seq) = row.try_get::<_, Option<i64>>("seq")? else { return Ok(None) };
    let Ok(e) = StoredEvent::decode(row.try_get("body")?) else { return Ok(None) };
    Ok(Some(Notice { seq: rows::unsigned(seq), ts: row.try_get("ts")?, e }))
}
