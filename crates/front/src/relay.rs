//! Facts about accounts, from the outbox beside the identity tables to the log.

use std::time::Duration;

use natterjack_domain::user;
use natterjack_eventlog::{AppendError, NewEvent, Subject};
use natterjack_identity::{
    Identity,
    outbox::{OutboxEvent, PublicFact},
};
use natterjack_wire::Fact;
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::outside::Log;

/// Another front's facts are taken over when it died before it could.
const TICK: Duration = Duration::from_secs(2);

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

async fn publish(log: &Log, event: OutboxEvent) -> Result<(), AppendError> {
    let id = event.user;
    let fact = match event.fact {
        PublicFact::Registered { username } => user::Event::Registered { id, username },
        PublicFact::ProfileChanged(profile) => user::Event::ProfileChanged { id, profile },
        PublicFact::Deactivated {} => user::Event::Deactivated { id },
    };
    log.append(NewEvent::new(Subject::feed(id), event.id, &Fact::User(fact))).await?;
    Ok(())
}
