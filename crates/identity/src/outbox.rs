//! Public facts about people on their way to the log.
//!
//! A fact is written in the transaction that makes it true and deleted once it was published: it is
//! published at least once, and bears an event id by which the log drops repeats. Facts of one person come in the order in
//! which they became true, whoever relays them; those of different people in none.

use std::future::Future;

use metrics::counter;
use natterjack_database::Error as DatabaseError;
use natterjack_domain::{EventId, UserId, profile::Profile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_postgres::Transaction;

use crate::{Identity, metrics::OUTBOX_RELAYED_TOTAL};

/// What everybody may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum PublicFact {
    #[serde(rename = "user.registered")]
    Registered { username: String },
    /// All of the profile.
    #[serde(rename = "user.profile_changed")]
    ProfileChanged(Profile),
    #[serde(rename = "user.deactivated")]
    Deactivated {},
}

impl PublicFact {
    /// Those that this program can read: what a newer one has written waits for a newer one, and holds up only the facts
    /// of the same person.
    const TYPES: [&str; 3] = ["user.registered", "user.profile_changed", "user.deactivated"];
}

/// A fact to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// The same at every attempt.
    pub id: EventId,
    /// Whom it is about.
    pub user: UserId,
    pub fact: PublicFact,
    pub created_at: OffsetDateTime,
}

/// Why not all of a batch was relayed. What was published before the failure is deleted, as far as
/// Postgres could be reached.
#[derive(Debug, thiserror::Error)]
pub enum RelayError<E> {
    #[error("an event could not be published")]
    Publish(#[source] E),
    #[error("the outbox is unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the outbox could not be read or changed")]
    Database(#[source] DatabaseError),
}

impl<E> From<DatabaseError> for RelayError<E> {
    fn from(error: DatabaseError) -> Self {
        if error.is_unavailable() { Self::Unavailable(error) } else { Self::Database(error) }
    }
}

impl<E> From<tokio_postgres::Error> for RelayError<E> {
    fn from(error: tokio_postgres::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl Identity {
    /// Waits until this process has written to the outbox. Other processes' writes are not heard: relay on
    /// a tick as well. Cancel safe.
    pub async fn outbox_written(&self) {
        self.0.outbox_written.notified().await;
    }

    /// Publishes the oldest facts of the outbox, one after the other and up to the configured batch, and
    /// deletes them. Answers how many; call it again at once unless it was none: of each person only the oldest is taken.
    ///
    /// `publish` must only succeed once the event is safe, and must give up by itself: after a minute
    /// Postgres ends the transaction, and the batch will be published again. Several relays may run at
    /// once; each takes other rows.
    pub async fn relay<E, F>(&self, publish: impl Fn(OutboxEvent) -> F) -> Result<usize, RelayError<E>>
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut client = self.0.pool.get().await?;
        let work = client.transaction().await?;
        // Publishing happens between two statements, and may take longer than a caller is allowed to idle.
        work.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '60s'").await?;
        let mut published = Vec::new();
        let mut failure = None;
        for (position, event) in take(&work, self.0.config.outbox_batch_rows).await? {
            if let Err(error) = publish(event).await {
                failure = Some(RelayError::Publish(error));
                break;
            }
            published.push(position);
        }
        work.execute("DELETE FROM identity.outbox WHERE position = ANY($1)", &[&published]).await?;
        work.commit().await?;
        counter!(OUTBOX_RELAYED_TOTAL).increment(published.len() as u64);
        failure.map_or(Ok(published.len()), Err)
    }
}

/// `work` holds the person's account, so that facts get their places in the order in which they are committed.
pub(crate) async fn add(
    work: &Transaction<'_>,
    user: UserId,
    fact: &PublicFact,
    now: OffsetDateTime,
) -> Result<(), tokio_postgres::Error> {
    const ADD: &str = "INSERT INTO identity.outbox (event_id, account_id, type, payload, created_at)
        VALUES ($1, $2, $3, $4, $5)";
    let mut fact = serde_json::to_value(fact).expect("a fact is plain data");
    let (kind, payload) = (fact["type"].take(), fact["payload"].take());
    let id = EventId::random();
    work.execute(ADD, &[id.as_uuid(), user.as_uuid(), &kind.as_str(), &payload, &now]).await?;
    Ok(())
}

/// Of each person the oldest fact: who relays it at the same time holds it, and the next one is to be had once it is gone.
async fn take(work: &Transaction<'_>, rows: u32) -> Result<Vec<(i64, OutboxEvent)>, tokio_postgres::Error> {
    const TAKE: &str = "SELECT position, event_id, account_id, type, payload, created_at
        FROM identity.outbox o WHERE type = ANY($2) AND NOT EXISTS (
            SELECT FROM identity.outbox e WHERE e.account_id = o.account_id AND e.position < o.position)
        ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED";
    let rows = work.query(TAKE, &[&i64::from(rows), &PublicFact::TYPES.as_slice()]).await?;
    Ok(rows.iter().filter_map(event).collect())
}

fn event(row: &tokio_postgres::Row) -> Option<(i64, OutboxEvent)> {
    let (position, id) = (row.get(0), EventId::from_uuid(row.get(1)));
    let fact = json!({ "type": row.get::<_, &str>(3), "payload": row.get::<_, Value>(4) });
    match serde_json::from_value(fact) {
        Ok(fact) => {
            let user = UserId::from_uuid(row.get(2));
            Some((position, OutboxEvent { id, user, fact, created_at: row.get(5) }))
        }
        Err(error) => {
            tracing::error!(%error, position, "a fact of the outbox cannot be read, and stays there");
            None
        }
    }
}
