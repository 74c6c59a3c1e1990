//! People.

use deadpool_postgres::GenericClient;
use natterjack_domain::UserId;
use natterjack_wire::rest::{Person, PersonList};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// People whose user name begins with `q` (folded to lower case), by name; everybody for an empty `q`.
///
/// People are spread over all streams and no single position tells how fresh the list is: `as_of` is that of
/// the first stream.
pub async fn people(client: &impl GenericClient, q: &str, page: Page<'_>) -> Result<PersonList, Error> {
    const SQL: &str = "SELECT p.id, p.username, c.epoch, c.seq AS as_of FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = 0
        LEFT JOIN LATERAL (
            SELECT id, username FROM read.people
            WHERE username >= $1 AND username < $2 AND (username, id) > ($3, $4)
            ORDER BY username, id LIMIT $5
        ) p ON true ORDER BY p.username, p.id";
    let (username, after) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (String::new(), Uuid::nil()),
        Some(Cursor::People { username, after }) => (username, after.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let q = q.replace('\0', "\u{fffd}").trim().to_lowercase();
    // In the order of bytes nothing that begins with `q` lies beyond it.
    let beyond = format!("{q}\u{10ffff}");
    let rows = query(
        client,
        "people",
        SQL,
        &[
            (&q, Type::TEXT),
            (&beyond, Type::TEXT),
            (&username, Type::TEXT),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    list(&rows, page, |row| {
        let after = UserId::from_uuid(row.try_get("id")?);
        Ok(Cursor::People { username: row.try_get("username")?, after })
    })
}

pub async fn person(client: &impl GenericClient, id: UserId) -> Result<Option<Person>, Error> {
    let sql = "SELECT id, username FROM read.people WHERE id = $1";
    let rows = query(client, "person", sql, &[(id.as_uuid(), Type::UUID)]).await?;
    Ok(rows.first().map(rows::person).transpose()?)
}

/// Which of `ids` nobody has.
pub async fn unknown(client: &impl GenericClient, ids: &[UserId]) -> Result<Vec<UserId>, Error> {
    const SQL: &str = "SELECT wanted.id FROM unnest($1) AS wanted (id)
        WHERE NOT EXISTS (SELECT FROM read.people p WHERE p.id = wanted.id)";
    let ids: Vec<Uuid> = ids.iter().map(|id| (*id).into()).collect();
    let rows = query(client, "unknown_people", SQL, &[(&ids, Type::UUID_ARRAY)]).await?;
    Ok(rows.iter().map(|row| row.try_get(0).map(UserId::from_uuid)).collect::<Result<_, _>>()?)
}

/// Rows of people, each with the same `as_of`; a single row without a person when there is none.
fn list(
    rows: &[Row],
    page: Page<'_>,
    cursor: impl FnOnce(&Row) -> Result<Cursor, tokio_postgres::Error>,
) -> Result<PersonList, Error> {
    let as_of = rows.first().map_or_else(|| Ok(rows::nowhere()), rows::position)?;
    let mut items = Vec::with_capacity(rows.len().min(page.limit()));
    for row in rows.iter().take(page.limit()) {
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            items.push(rows::person(row)?);
        }
    }
    let last = (rows.len() > page.limit()).then(|| &rows[page.limit() - 1]);
    let next = last.map(cursor).transpose()?.map(|cursor| cursor.encode());
    Ok(PersonList { items, next, as_of })
}
