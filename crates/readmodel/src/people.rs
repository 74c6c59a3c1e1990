//! People.

use deadpool_postgres::GenericClient;
use natterjack_domain::{UserId, presence::Presence, profile::search_key};
use natterjack_wire::rest::{PersonList, PersonPresence, PublicProfile};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// People whose user name or nickname begins with `q`, whatever its case and width, in the order of that name; everybody,
/// by user name, for an empty `q`. Who has closed the account is not found.
///
/// People are spread over all streams and no single position tells how fresh the list is: `as_of` is that of
/// the first stream.
pub async fn people(client: &impl GenericClient, q: &str, page: Page<'_>) -> Result<PersonList, Error> {
    // Each way is one step in an index; whoever is found by both counts by the user name.
    const SQL: &str = "SELECT f.id, f.key, f.username, f.nickname, f.avatar, false AS deactivated,
               c.epoch, c.seq AS as_of
        FROM (SELECT) one
        LEFT JOIN read.checkpoints c ON c.stream = 0
        LEFT JOIN LATERAL (
            (SELECT p.id, p.username AS key, p.username, n.nickname, n.avatar
             FROM read.people p LEFT JOIN read.profiles n ON n.user_id = p.id
             WHERE p.username >= $1 AND p.username < $2 AND (p.username, p.id) > ($3, $4)
               AND n.deactivated_at IS NULL
             ORDER BY p.username, p.id LIMIT $5)
            UNION ALL
            (SELECT p.id, n.nickname_key, p.username, n.nickname, n.avatar
             FROM read.profiles n JOIN read.people p ON p.id = n.user_id
             WHERE n.nickname_key >= $1 AND n.nickname_key < $2 AND (n.nickname_key, n.user_id) > ($3, $4)
               AND n.deactivated_at IS NULL AND NOT (p.username >= $1 AND p.username < $2)
             ORDER BY n.nickname_key, n.user_id LIMIT $5)
            ORDER BY key, id LIMIT $5
        ) f ON true ORDER BY f.key, f.id";
    let (key, after) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (String::new(), Uuid::nil()),
        Some(Cursor::People { key, after }) => (key, after.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let q = search_key(&q.replace('\0', "\u{fffd}"));
    // In the order of bytes nothing that begins with `q` lies beyond it.
    let beyond = format!("{q}\u{10ffff}");
    let rows = query(
        client,
        "people",
        SQL,
        &[
            (&q, Type::TEXT),
            (&beyond, Type::TEXT),
            (&key, Type::TEXT),
            (&after, Type::UUID),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    list(&rows, page, |row| {
        let after = UserId::from_uuid(row.try_get("id")?);
        Ok(Cursor::People { key: row.try_get("key")?, after })
    })
}

/// What everybody may know of a person; whether the person is there, the caller knows better.
pub async fn person(client: &impl GenericClient, id: UserId) -> Result<Option<PublicProfile>, Error> {
    let sql = "SELECT p.id, p.username, n.nickname, n.avatar, n.deactivated_at IS NOT NULL AS deactivated,
                      n.bio, n.status_text, n.status_emoji, n.status_until
               FROM read.people p LEFT JOIN read.profiles n ON n.user_id = p.id WHERE p.id = $1";
    let rows = query(client, "person", sql, &[(id.as_uuid(), Type::UUID)]).await?;
    let person = rows.first().map(|row| {
        let presence = PersonPresence { state: Presence::Offline, since: None, last_seen: None };
        let (person, status) = (rows::person(row)?, rows::status(row)?);
        Ok::<_, Error>(PublicProfile { person, bio: row.try_get("bio")?, status, presence })
    });
    person.transpose()
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
