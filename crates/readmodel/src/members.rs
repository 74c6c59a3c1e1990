//! Who is in a room, who is muted in it, and who is banned from it.

use deadpool_postgres::GenericClient;
use natterjack_domain::{Role, RoomId, UserId};
use natterjack_wire::rest::{Member, MemberList, Sanction, SanctionList};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// What is done to people, as the column `kind` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sanctions {
    Mutes,
    Bans,
}

/// A room's members in the order of joining; `None` if there is no such room. A member whose registration has
/// not reached the read model yet (it comes by another stream) has an empty name.
pub async fn members(
    client: &impl GenericClient,
    room: RoomId,
    page: Page<'_>,
) -> Result<Option<MemberList>, Error> {
    const SQL: &str = "SELECT m.user_id AS id, coalesce(p.username, '') AS username, n.nickname, n.avatar,
               n.deactivated_at IS NOT NULL AS deactivated, m.joined_seq, m.role, c.epoch, c.seq AS as_of
        FROM read.rooms r
        JOIN read.checkpoints c ON c.stream = r.stream
        LEFT JOIN LATERAL (
            SELECT user_id, joined_seq, role FROM read.members
            WHERE room = r.id AND (joined_seq, user_id) > ($2, $3)
            ORDER BY joined_seq, user_id LIMIT $4
        ) m ON true
        LEFT JOIN read.people p ON p.id = m.user_id
        LEFT JOIN read.profiles n ON n.user_id = m.user_id
        WHERE r.id = $1 ORDER BY m.joined_seq, m.user_id";
    let (joined_seq, after) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (0, Uuid::nil()),
        Some(Cursor::Members { joined_seq, after }) => (joined_seq, after.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let rows = query(
        client,
        "members",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (&joined_seq, Type::INT8),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let (people, last) = cut(&rows, page)?;
    let items = people.iter().map(|row| member(row)).collect::<Result<_, _>>()?;
    let next = last.map(|row| {
        let after = UserId::from_uuid(row.try_get("id")?);
        Ok::<_, Error>(Cursor::Members { joined_seq: row.try_get("joined_seq")?, after }.encode())
    });
    Ok(Some(MemberList { items, next: next.transpose()?, as_of }))
}

/// Who is muted or banned, by id; also those for whom it is over. `None` if there is no such room.
pub async fn sanctions(
    client: &impl GenericClient,
    room: RoomId,
    which: Sanctions,
    page: Page<'_>,
) -> Result<Option<SanctionList>, Error> {
    const SQL: &str =
        "SELECT s.user_id AS id, coalesce(p.username, '') AS username, n.nickname, n.avatar,
               n.deactivated_at IS NOT NULL AS deactivated, s.until, s.reason, s.by_user, s.at, c.epoch, c.seq AS as_of
        FROM read.rooms r
        JOIN read.checkpoints c ON c.stream = r.stream
        LEFT JOIN LATERAL (
            SELECT * FROM read.sanctions
            WHERE room = r.id AND kind = $2 AND user_id > $3 ORDER BY user_id LIMIT $4
        ) s ON true
        LEFT JOIN read.people p ON p.id = s.user_id
        LEFT JOIN read.profiles n ON n.user_id = s.user_id
        WHERE r.id = $1 ORDER BY s.user_id";
    let after = match page.cursor.map(Cursor::decode).transpose()? {
        None => Uuid::nil(),
        Some(Cursor::Sanctions { after }) => after.into(),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let kind = match which {
        Sanctions::Mutes => "mute",
        Sanctions::Bans => "ban",
    };
    let rows = query(
        client,
        "sanctions",
        SQL,
        &[
            (room.as_uuid(), Type::UUID),
            (&kind, Type::TEXT),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let as_of = rows::position(first)?;
    let (people, last) = cut(&rows, page)?;
    let items = people.iter().map(|row| sanction(row)).collect::<Result<_, _>>()?;
    let next = last.map(|row| {
        let after = UserId::from_uuid(row.try_get("id")?);
        Ok::<_, Error>(Cursor::Sanctions { after }.encode())
    });
    Ok(Some(SanctionList { items, next: next.transpose()?, as_of }))
}

/// The rows of the page that bear a person, and the last of them if more follow.
fn cut<'a>(rows: &'a [Row], page: Page<'_>) -> Result<(Vec<&'a Row>, Option<&'a Row>), Error> {
    let mut people = Vec::with_capacity(rows.len().min(page.limit()));
    for row in rows.iter().take(page.limit()) {
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            people.push(row);
        }
    }
    Ok((people, (rows.len() > page.limit()).then(|| &rows[page.limit() - 1])))
}

fn member(row: &Row) -> Result<Member, Error> {
    let role = Role::parse(row.try_get("role")?).unwrap_or_default();
    Ok(Member { person: rows::person(row)?, role })
}

fn sanction(row: &Row) -> Result<Sanction, Error> {
    Ok(Sanction {
        person: rows::person(row)?,
        until: row.try_get::<_, Option<i64>>("until")?.map(rows::unsigned),
        reason: row.try_get("reason")?,
        by: UserId::from_uuid(row.try_get("by_user")?),
        at: row.try_get("at")?,
    })
}
