//! The way into one stream: each event by itself while few are under way, many of them together.
//!
//! One node that syncs before it acknowledges does so once per message, 170 µs on the machine where this was measured.
//! An atomic batch costs it 3 ms, however long, and 12 µs per message: from some twenty messages on it is cheaper, and
//! with 256 in flight the log takes seven times as many. A cluster joins what it syncs by itself; there a
//! batch gains nothing, and all events go by themselves.
//!
//! While a batch is under way, later events are held, so that events keep their order even when it is refused.

use std::{collections::VecDeque, sync::Arc};

use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishAckFuture, context::PublishError},
};
use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
};

use crate::{Log, NewEvent, metrics};

/// Events that are under way by themselves; what comes on top is held.
const ALONE_MAX: usize = 24;
/// Events are held until so few are under way by themselves.
const ALONE_RESUME: usize = ALONE_MAX / 2;
/// Fewer go by themselves sooner.
const BATCH_MIN: usize = 20;
/// nats-server takes 1,000.
const BATCH_MAX: usize = 512;

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

pub(crate) struct Lane {
    state: Mutex<State>,
    /// Few enough are under way by themselves.
    eased: Notify,
    /// Bounds what is held.
    space: Arc<Semaphore>,
    alone_max: usize,
}

#[derive(Default)]
struct State {
    alone: usize,
    held: VecDeque<Held>,
    /// A task sends what is held; until it is through, nothing overtakes.
    holding: bool,
}

struct Held {
    event: NewEvent,
    fate: oneshot::Sender<Fate>,
    _space: OwnedSemaphorePermit,
}

/// What became of an event's first attempt.
pub(crate) enum First {
    /// There is no connection.
    Unsent,
    Alone(Attempt),
    /// Dropped without a word when nobody knows: then the event is to be sent again.
    Held(oneshot::Receiver<Fate>),
}

pub(crate) enum Fate {
    /// In a batch; here.
    Stored(u64),
    Alone(Attempt),
}

/// A publish by itself, counted while it is under way.
pub(crate) struct Attempt {
    pub sent: Result<PublishAckFuture, PublishError>,
    pub ticket: Ticket,
}

pub(crate) struct Ticket(Arc<Lane>);

enum Answer {
    /// All of it is stored; this is the last one's sequence.
    Stored(u64),
    /// None of it is stored: one of the events is there already, or not on its condition. Which one, they find out by
    /// themselves.
    Refused,
    Unknown,
}

impl Lane {
    pub fn new(batches: bool, held_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            eased: Notify::new(),
            space: Arc::new(Semaphore::new(held_max)),
            alone_max: if batches { ALONE_MAX } else { usize::MAX },
        })
    }

    pub async fn enter(self: &Arc<Self>, log: &Log, event: &NewEvent) -> First {
        if let Some(ticket) = self.ticket() {
            return First::Alone(Attempt { sent: log.attempt(event).await, ticket });
        }
        // Never closed. Waits no longer than a batch takes.
        let Ok(space) = self.space.clone().acquire_owned().await else { return First::Unsent };
        let (fate, told) = oneshot::channel();
        let mut state = self.state.lock();
        state.held.push_back(Held { event: event.clone(), fate, _space: space });
        if !state.holding {
            state.holding = true;
            tokio::spawn(self.clone().release(log.clone()));
        }
        First::Held(told)
    }

    /// Leave to publish at once.
    fn ticket(self: &Arc<Self>) -> Option<Ticket> {
        let mut state = self.state.lock();
        (!state.holding && state.alone < self.alone_max).then(|| {
            state.alone += 1;
            Ticket(self.clone())
        })
    }

    /// Sends what is held, until nothing is.
    async fn release(self: Arc<Self>, log: Log) {
        loop {
            self.wait_until_eased().await;
            let batch = {
                let mut state = self.state.lock();
                let count = state.held.len().min(BATCH_MAX);
                if count == 0 {
                    state.holding = false;
                    return;
                }
                state.held.drain(..count).collect::<Vec<_>>()
            };
            if batch.len() < BATCH_MIN {
                self.send_alone(&log, batch).await;
                continue;
            }
            let answer = log.publish_together(&batch).await;
            metrics::batch(answer.label());
            match answer {
                Answer::Stored(last) => {
                    let first = (last + 1).saturating_sub(batch.len() as u64);
                    for (held, seq) in batch.into_iter().zip(first..) {
                        let _ = held.fate.send(Fate::Stored(seq));
                    }
                }
                Answer::Refused => self.send_alone(&log, batch).await,
                Answer::Unknown => drop(batch),
            }
        }
    }

    async fn wait_until_eased(&self) {
        while self.state.lock().alone > ALONE_RESUME {
            self.eased.notified().await;
        }
    }

    async fn send_alone(self: &Arc<Self>, log: &Log, events: Vec<Held>) {
        for held in events {
            self.state.lock().alone += 1;
            let ticket = Ticket(self.clone());
            let attempt = Attempt { sent: log.attempt(&held.event).await, ticket };
            // Nobody waits any more; the attempt stands.
            let _ = held.fate.send(Fate::Alone(attempt));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.alone -= 1;
        if state.holding && state.alone <= ALONE_RESUME {
            self.0.eased.notify_one();
        }
    }
}

impl Answer {
    fn label(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Log {
    async fn publish_together(&self, batch: &[Held]) -> Answer {
        let mut link = self.publish.link.clone();
        let (connected, gaps) = {
            let link = link.borrow_and_update();
            (link.connected, link.gaps)
        };
        if !connected {
            return Answer::Unknown;
        }
        let Ok(ack) = self.send_together(batch).await else { return Answer::Unknown };
        let answer = select! {
            answer = ack.into_future() => answer,
            // What was under way when the connection broke will not be acknowledged any more.
            _ = link.wait_for(|link| link.connected && link.gaps != gaps) => return Answer::Unknown,
        };
        match answer {
            Ok(ack) if ack.batch_size == Some(batch.len() as u64) => Answer::Stored(ack.sequence),
            Err(error) if is_refusal(&error) => Answer::Refused,
            Ok(_) | Err(_) => Answer::Unknown,
        }
    }

    async fn send_together(&self, batch: &[Held]) -> Result<PublishAckFuture, BatchError> {
        let id = format!("{:x}", rand::random::<u64>());
        let Some((last, rest)) = batch.split_last() else { return Err(BatchError) };
        for (index, held) in rest.iter().enumerate() {
            let headers = member(&held.event, &id, index);
            let (subject, body) = (held.event.subject.to_string(), held.event.body.clone());
            self.publish.client.publish_with_headers(subject, headers, body).await.map_err(|_| BatchError)?;
        }
        let mut headers = member(&last.event, &id, rest.len());
        headers.insert(BATCH_COMMIT, "1");
        let (subject, body) = (last.event.subject.to_string(), last.event.body.clone());
        self.jetstream.publish_with_headers(subject, headers, body).await.map_err(|_| BatchError)
    }
}

/// Not all of a batch could be handed over. nats-server forgets the rest.
struct BatchError;

fn member(event: &NewEvent, id: &str, index: usize) -> HeaderMap {
    let mut headers = event.headers();
    headers.insert(BATCH_ID, id);
    headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
    headers
}

/// Whether the log itself has answered, rather than nobody.
fn is_refusal(error: &PublishError) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<jetstream::Error>)
}
