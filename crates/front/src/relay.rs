//! Facts about accounts, from the outbox beside the identity tables to the log.

use std::time::Duration;

use natterjack_domain::user;
use natterjack_eventlog::{AppendError, NewEvent, Subject};
use natterjack_identity::{
    Identity,
    outbox::{OutboxEvent, USER_REGISTERED},
};
use natterjack_wire::Fact;
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::outside::Log;

/// Another front's facts are taken over when it died before it could.
const TICK: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("the fact cannot be appended")]
    Append(#[from] AppendError),
    #[error("the outbox holds a fact of the unknown kind {0}")]
    Unknown(String),
}

/// Runs until `stop`.
pub async fn run(log: Log, identity: Identity, stop: CancellationToken) {
    loop {
        match identity.relay(|event| publish(&log, event)).await {
            Ok(0) => {}
            // There may be more.
            Ok(_) => continue,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "facts about accounts wait in the outbox");
            }
        }
        select! {
            () = stop.cancelled() => return,
            () = identity.outbox_written() => {}
            () = sleep(TICK) => {}
        }
    }
}

async fn publish(log: &Log, event: OutboxEvent) -> Result<(), PublishError> {
    let username = match event.kind.as_str() {
        USER_REGISTERED => event.payload.get("username").and_then(|name| name.as_str()),
        _ => None,
    };
    let username = username.ok_or(PublishError::Unknown(event.kind.clone()))?.to_owned();
    let fact = Fact::User(user::Event::Registered { id: event.user, username });
    log.append(NewEvent::new(Subject::feed(event.user), event.id, &fact)).await?;
    Ok(())
}
