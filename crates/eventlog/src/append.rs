//! Appending: an event counts only once the log has acknowledged it.

use std::{mem, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
    },
};
use bytes::Bytes;
use natterjack_domain::EventId;
use natterjack_wire::{Fact, StoredEvent};
use tokio::{
    select,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    Damage, Log,
    event::VERSION_HEADER,
    lane::{Attempt, Fate, First, Lane},
    metrics,
    subject::Subject,
};

/// An event to be appended.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub subject: Subject,
    /// Also the log's dedupe id: within the dedupe window a repeat is acknowledged and not stored.
    pub id: EventId,
    pub body: Bytes,
    /// The last sequence that the subject must have; 0 for none. Used for decisions on folded state.
    pub expected_last: Option<u64>,
}

impl NewEvent {
    pub fn new(subject: Subject, id: EventId, fact: &Fact) -> Self {
        Self { subject, id, body: StoredEvent::new(id, fact).encode(), expected_last: None }
    }

    #[must_use]
    pub fn expecting(self, last: u64) -> Self {
        Self { expected_last: Some(last), ..self }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, self.id.to_string());
        headers.insert(VERSION_HEADER, "1");
        if let Some(last) = self.expected_last {
            headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
        }
        headers
    }
}

/// What the log answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: u64,
    /// The log held the event already; `seq` is where.
    pub duplicate: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another event came first; nothing was stored.
    #[error("the subject has changed")]
    Conflict,
    /// The log answers, and refuses; nothing was stored. A full disk, for example.
    #[error("the log refuses the event: {0}")]
    Refused(String),
    /// What is stored may be found by nobody; nothing is.
    #[error("nothing is appended to a damaged log")]
    Damaged(#[from] Damage),
    /// No acknowledgement within the deadline. The event may yet be found stored; a retry with the same id
    /// is safe.
    #[error("the log cannot be reached")]
    Unavailable(#[source] Option<PublishError>),
}

/// An append whose first attempt is on its way, or held until its turn comes. Dropping it does not take back what is on its
/// way; what is held may never be sent.
pub struct Pending {
    log: Log,
    event: NewEvent,
    started: Instant,
    first: First,
}

/// Between attempts. A cluster may take nine seconds to choose a leader, and nobody should wait much longer than that.
const RETRY_DELAY: Duration = Duration::from_millis(50);
const RETRY_DELAY_MAX: Duration = Duration::from_millis(250);

impl Log {
    /// Sends the event and returns without waiting for the acknowledgement, so that a caller's events keep
    /// their order while several are in flight. Where many are, they go together: [`crate::lane`]. Waits only where too
    /// many are in flight already.
    pub async fn begin(&self, event: NewEvent) -> Pending {
        let started = Instant::now();
        let connected = self.publish.link.borrow().connected;
        let first = if connected && !self.soundness.is_damaged() {
            self.lane(&event).enter(self, &event).await
        } else {
            First::Unsent
        };
        Pending { log: self.clone(), event, started, first }
    }

    /// Appends one event and waits for its acknowledgement.
    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        self.begin(event).await.finish().await
    }

    fn lane(&self, event: &NewEvent) -> &Arc<Lane> {
        &self.lanes[usize::from(self.stream_of(event.subject.topic))]
    }

    /// Publishes the event by itself.
    pub(crate) async fn attempt(&self, event: &NewEvent) -> Result<PublishAckFuture, PublishError> {
        self.jetstream
            .publish_with_headers(event.subject.to_string(), event.headers(), event.body.clone())
            .await
    }
}

impl Pending {
    /// Waits for the acknowledgement; tries again, with the same id, until the deadline.
    pub async fn finish(mut self) -> Result<Appended, AppendError> {
        let deadline = self.started + self.log.config.append_deadline;
        let result = match timeout_at(deadline, self.attempts()).await {
            Ok(result) => result,
            Err(_) => Err(AppendError::Unavailable(None)),
        };
        let label = match &result {
            Ok(Appended { duplicate: false, .. }) => "stored",
            Ok(Appended { duplicate: true, .. }) => "duplicate",
            Err(AppendError::Conflict) => "conflict",
            Err(AppendError::Refused(_) | AppendError::Damaged(_)) => "refused",
            Err(AppendError::Unavailable(_)) => "unavailable",
        };
        self.log.soundness.appended(&result);
        metrics::appended(label, self.started.elapsed().as_secs_f64());
        result
    }

    async fn attempts(&mut self) -> Result<Appended, AppendError> {
        let mut delay = RETRY_DELAY;
        loop {
            let mut link = self.log.publish.link.clone();
            let gaps = link.borrow_and_update().gaps;
            let (sent, ticket) = match mem::replace(&mut self.first, First::Unsent) {
                First::Alone(Attempt { sent, ticket }) => (sent, Some(ticket)),
                First::Held(fate) => match fate.await {
                    Ok(Fate::Stored(seq)) => return Ok(Appended { seq, duplicate: false }),
                    Ok(Fate::Alone(attempt)) => {
                        self.first = First::Alone(attempt);
                        continue;
                    }
                    Err(_) => continue,
                },
                First::Unsent => {
                    self.log.publish.connected().await;
                    if let Some(damage) = self.log.damage(self.log.stream_of(self.event.subject.topic)) {
                        return Err(damage.into());
                    }
                    (self.log.attempt(&self.event).await, None)
                }
            };
            let error = match sent {
                Ok(ack) => select! {
                    ack = ack.into_future() => match ack {
                        Ok(ack) => {
                            if ack.duplicate {
                                self.log.lane(&self.event).repeated(self.event.subject.topic);
                            }
                            return Ok(Appended { seq: ack.sequence, duplicate: ack.duplicate });
                        }
                        Err(error) => error,
                    },
                    // What was under way when the connection broke will not be acknowledged any more.
                    _ = link.wait_for(|link| link.connected && link.gaps != gaps) => continue,
                },
                Err(error) => error,
            };
            drop(ticket);
            if let Some(last_word) = verdict(&error) {
                return Err(last_word);
            }
            tracing::debug!(%error, subject = %self.event.subject, "append is tried again");
            sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }
}

/// Whether an error is the log's last word. async-nats shows some codes only in the error's source.
fn verdict(error: &PublishError) -> Option<AppendError> {
    if error.kind() == PublishErrorKind::WrongLastSequence {
        return Some(AppendError::Conflict);
    }
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        return Some(AppendError::Refused(error.to_string()));
    }
    let answer = std::error::Error::source(error)?.downcast_ref::<jetstream::Error>()?;
    match answer.error_code() {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => Some(AppendError::Conflict),
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES => Some(AppendError::Refused(answer.to_string())),
        _ => None,
    }
}
