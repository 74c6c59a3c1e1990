//! What people are, and what they keep for themselves.

use deadpool_postgres::Transaction;
use tokio_postgres::Error;
use uuid::Uuid;

use super::put;
use crate::{fold::Changes, number::signed};

/// A mark only moves forward.
pub(super) async fn marks(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO read_marks (user_id, room, seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
        ON CONFLICT (user_id, room) DO UPDATE SET seq = EXCLUDED.seq WHERE read_marks.seq < EXCLUDED.seq";
    let marks = &changes.marks;
    if marks.is_empty() {
        return Ok(());
    }
    let (users, rooms): (Vec<Uuid>, Vec<Uuid>) =
        marks.keys().map(|(user, room)| (*user.as_uuid(), *room.as_uuid())).unzip();
    let seqs: Vec<i64> = marks.values().map(|seq| signed(*seq)).collect();
    put(work, SQL, &[&users, &rooms, &seqs]).await
}

/// A person registers once; what comes after is a repeat.
pub(super) async fn people(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO people (id, username, registered_at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";
    let people = &changes.people;
    if people.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = people.keys().map(|id| *id.as_uuid()).collect();
    let names: Vec<&str> = people.values().map(|p| p.username.as_str()).collect();
    let times: Vec<&str> = people.values().map(|p| p.registered_at.as_str()).collect();
    put(work, SQL, &[&ids, &names, &times]).await
}
