//! What people are.

use deadpool_postgres::Transaction;
use tokio_postgres::Error;
use uuid::Uuid;

use super::put;
use crate::fold::Changes;

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
