//! Public facts about people on their way to the log.
//!
//! A fact is written in the transaction that makes it true and deleted once it was published: it is
//! published at least once, and bears an event id by which the log drops repeats. Facts of different
//! people, and those relayed by different fronts, come in no order.

use std::future::Future;

use metrics::counter;
use natterjack_database::Error as DatabaseError;
use natterjack_domain::{EventId, UserId};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::Transaction;

use crate::{Identity, metrics::OUTBOX_RELAYED_TOTAL};

/// Someone has registered: `{"username": …}`.
pub const USER_REGISTERED: &str = "user.registered";

/// A fact to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEvent {
    /// The same at every attempt.
    pub id: EventId,
    /// Whom it is about.
    pub user: UserId,
    /// Such as [`USER_REGISTERED`].
    pub kind: String,
    /// The fields of the event beside its id, type and author.
    pub payload: Value,
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

    /// Publishes the oldest events of the outbox, one after the other and up to the configured batch, and
    /// deletes them. Answers how many; call it again at once after a full batch.
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

pub(crate) async fn add(
    work: &Transaction<'_>,
    id: EventId,
    user: UserId,
    kind: &str,
    payload: &Value,
    now: OffsetDateTime,
) -> Result<(), tokio_postgres::Error> {
    const ADD: &str = "INSERT INTO identity.outbox (event_id, account_id, type, payload, created_at)
        VALUES ($1, $2, $3, $4, $5)";
    work.execute(ADD, &[id.as_uuid(), user.as_uuid(), &kind, payload, &now]).await?;
    Ok(())
}

async fn take(work: &Transaction<'_>, rows: u32) -> Result<Vec<(i64, OutboxEvent)>, tokio_postgres::Error> {
    const TAKE: &str = "SELECT position, event_id, account_id, type, payload, created_at
        FROM identity.outbox ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED";
    let rows = work.query(TAKE, &[&i64::from(rows)]).await?;
    let event = |row: &tokio_postgres::Row| OutboxEvent {
        id: EventId::from_uuid(row.get(1)),
        user: UserId::from_uuid(row.get(2)),
        kind: row.get(3),
        payload: row.get(4),
        created_at: row.get(5),
    };
    Ok(rows.iter().map(|row| (row.get(0), event(row))).collect())
}
