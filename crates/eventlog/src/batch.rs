//! An atomic batch (nats-server ADR-50): all of it is stored, in order, or nothing.

use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishAckFuture, context::PublishError},
};
use tokio::{select, sync::watch};

use crate::{Link, Log, NewEvent};

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// What the log says to a batch.
pub(crate) enum Answer {
    /// All of it is stored; this is the last one's sequence.
    Stored(u64),
    /// None of it is stored: one of the events is there already, or not on its condition. Which one, they find out by
    /// themselves.
    Refused,
    Unknown,
}

impl Answer {
    pub fn label(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Log {
    /// Hands a batch over to the connection; nothing where that fails, and nats-server forgets what it has of it.
    pub(crate) async fn send_together(&self, batch: &[&NewEvent]) -> Option<Sent> {
        let link = self.publish.link.clone();
        let gaps = Some(*link.borrow()).filter(|link| link.connected)?.gaps;
        let id = format!("{:x}", rand::random::<u64>());
        let (last, rest) = batch.split_last()?;
        for (index, event) in rest.iter().enumerate() {
            let headers = member(event, &id, index);
            let (subject, body) = (event.subject.to_string(), event.body.clone());
            self.publish.client.publish_with_headers(subject, headers, body).await.ok()?;
        }
        let mut headers = member(last, &id, rest.len());
        headers.insert(BATCH_COMMIT, "1");
        let (subject, body) = (last.subject.to_string(), last.body.clone());
        let ack = self.jetstream.publish_with_headers(subject, headers, body).await.ok()?;
        Some(Sent { ack, link, gaps })
    }
}

fn member(event: &NewEvent, id: &str, index: usize) -> HeaderMap {
    let mut headers = event.headers();
    headers.insert(BATCH_ID, id);
    headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
    headers
}

/// A batch whose answer is to come.
pub(crate) struct Sent {
    ack: PublishAckFuture,
    link: watch::Receiver<Link>,
    /// Of the connection that it went over.
    gaps: u64,
}

impl Sent {
    pub async fn answer(mut self, count: usize) -> Answer {
        let answer = select! {
            answer = self.ack.into_future() => answer,
            // What was under way when the connection broke will not be acknowledged any more.
            _ = self.link.wait_for(|link| link.connected && link.gaps != self.gaps) => return Answer::Unknown,
        };
        match answer {
            Ok(ack) if ack.batch_size == Some(count as u64) => Answer::Stored(ack.sequence),
            Err(error) if is_refusal(&error) => Answer::Refused,
            Ok(_) | Err(_) => Answer::Unknown,
        }
    }
}

/// Whether the log itself has answered, rather than nobody.
fn is_refusal(error: &PublishError) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<jetstream::Error>)
}
