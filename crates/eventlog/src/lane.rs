//! The way into one stream: each event by itself while few are under way, many of them together.
//!
//! One node that syncs before it acknowledges does so once per message, 170 µs on the machine where this was measured.
//! An atomic batch costs it 3 to 5 ms, however long, and 12 µs per message: from some twenty messages on it is cheaper, and
//! with 256 in flight the log takes seven times as many. A cluster joins what it syncs by itself; there a batch
//! gains nothing, and all events go by themselves.
//!
//! While a batch is under way, later events are held, so that events keep their order even when it is refused.
//!
//! One event that cannot be stored has its whole batch refused. Where that is to be feared, an event goes by itself: when
//! it has a condition, or when its room had a repeat a moment ago. Who repeats in many rooms, one after the other, still has
//! a batch refused each time; nothing is lost by it.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use crate::{
    Log, NewEvent, Topic,
    batch::{Answer, Sent},
    metrics,
};

/// Events that are under way by themselves; what comes on top is held.
const ALONE_MAX: usize = 24;
/// Events are held until so few are under way by themselves.
const ALONE_RESUME: usize = ALONE_MAX / 2;
/// Fewer go by themselves sooner.
const BATCH_MIN: usize = 20;
/// nats-server takes 1,000.
const BATCH_MAX: usize = 512;
const BATCH_MAX_BYTES: usize = 4 << 20;
/// Of what may be held, an event takes one place for each so many bytes, and one at least.
const PLACE_BYTES: usize = 2_048;
/// How long a room's events go by themselves after a repeat: a refused batch costs some 60 ms, and a room where people send
/// again after a failure should not be slow for long.
const REPEAT_MEMORY: Duration = Duration::from_secs(1);
/// Rooms that are remembered for a repeat; beyond it the oldest is forgotten.
const REPEATS_MAX: usize = 64;

pub(crate) struct Lane {
    state: Mutex<State>,
    /// Few enough are under way by themselves.
    eased: Notify,
    /// Bounds what is held, in number and bytes.
    places: Arc<Semaphore>,
    places_max: usize,
    alone_max: usize,
}

#[derive(Default)]
struct State {
    alone: usize,
    held: VecDeque<Held>,
    /// A task sends what is held; until it is through, nothing overtakes.
    holding: bool,
    /// Rooms with a repeat, the latest last.
    repeats: VecDeque<(Topic, Instant)>,
}

struct Held {
    event: NewEvent,
    fate: oneshot::Sender<Fate>,
    _places: OwnedSemaphorePermit,
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

impl Lane {
    pub fn new(batches: bool, held_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            eased: Notify::new(),
            places: Arc::new(Semaphore::new(held_max)),
            places_max: held_max,
            alone_max: if batches { ALONE_MAX } else { usize::MAX },
        })
    }

    pub async fn enter(self: &Arc<Self>, log: &Log, event: &NewEvent) -> First {
        if let Some(ticket) = self.ticket() {
            return First::Alone(Attempt { sent: log.attempt(event).await, ticket });
        }
        // Never closed. Waits no longer than a batch takes.
        let Ok(places) = self.places.clone().acquire_many_owned(self.places_of(event.body.len())).await
        else {
            return First::Unsent;
        };
        let (fate, told) = oneshot::channel();
        let mut state = self.state.lock();
        state.held.push_back(Held { event: event.clone(), fate, _places: places });
        if !state.holding {
            state.holding = true;
            tokio::spawn(self.clone().release(log.clone()));
        }
        First::Held(told)
    }

    fn places_of(&self, bytes: usize) -> u32 {
        let places = bytes.div_ceil(PLACE_BYTES).clamp(1, self.places_max);
        u32::try_from(places).unwrap_or(u32::MAX)
    }

    /// The log held an event of this topic already.
    pub fn repeated(&self, topic: Topic) {
        let repeats = &mut self.state.lock().repeats;
        repeats.retain(|(other, _)| *other != topic);
        repeats.push_back((topic, Instant::now()));
        if repeats.len() > REPEATS_MAX {
            repeats.pop_front();
        }
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
        let mut stored = vec![];
        loop {
            if !self.is_eased() {
                tell(&mut stored);
                self.eased.notified().await;
                continue;
            }
            let Some(held) = self.take() else { return tell(&mut stored) };
            let (batch, apart) = self.part(held);
            if batch.len() < BATCH_MIN {
                self.send_alone(&log, batch).await;
            } else {
                let events: Vec<_> = batch.iter().map(|held| &held.event).collect();
                let sent = log.send_together(&events).await;
                // Only now, so that this batch is on its way before those who are answered have their turn.
                tell(&mut stored);
                stored = self.settle(&log, sent, batch).await;
            }
            self.send_alone(&log, apart).await;
        }
    }

    /// What goes next; nothing, and the lane is free again, when nothing is held. Whom nobody waits for any more, since
    /// its deadline has passed, was never sent and is not sent now.
    fn take(&self) -> Option<Vec<Held>> {
        let mut state = self.state.lock();
        state.held.retain(|held| !held.fate.is_closed());
        if state.held.is_empty() {
            state.holding = false;
            return None;
        }
        let mut bytes = 0;
        let fitting = state.held.iter().take(BATCH_MAX).take_while(|held| {
            let fits = bytes < BATCH_MAX_BYTES;
            bytes += held.event.body.len();
            fits
        });
        let count = fitting.count();
        Some(state.held.drain(..count).collect())
    }

    /// Waits for a batch's answer. What is refused goes by itself; what is stored is still to be told.
    async fn settle(self: &Arc<Self>, log: &Log, sent: Option<Sent>, batch: Vec<Held>) -> Vec<(Held, u64)> {
        let answer = match sent {
            Some(sent) => sent.answer(batch.len()).await,
            None => Answer::Unknown,
        };
        metrics::batch(answer.label());
        match answer {
            Answer::Stored(last) => {
                let first = (last + 1).saturating_sub(batch.len() as u64);
                return batch.into_iter().zip(first..).collect();
            }
            Answer::Refused => self.send_alone(log, batch).await,
            Answer::Unknown => drop(batch),
        }
        vec![]
    }

    /// What can go together, and what might have the others refused. All that follows such an event in its room stays
    /// behind it.
    fn part(&self, held: Vec<Held>) -> (Vec<Held>, Vec<Held>) {
        let mut apart: HashSet<Topic> = {
            let repeats = &mut self.state.lock().repeats;
            repeats.retain(|(_, at)| at.elapsed() < REPEAT_MEMORY);
            repeats.iter().map(|(topic, _)| *topic).collect()
        };
        held.into_iter().partition(|held| {
            let topic = held.event.subject.topic;
            if held.event.expected_last.is_some() {
                apart.insert(topic);
            }
            !apart.contains(&topic)
        })
    }

    fn is_eased(&self) -> bool {
        self.state.lock().alone <= ALONE_RESUME
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

fn tell(stored: &mut Vec<(Held, u64)>) {
    for (held, seq) in stored.drain(..) {
        let _ = held.fate.send(Fate::Stored(seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_places_by_its_size_and_never_more_than_there_are() {
        let lane = Lane::new(true, 40);
        for (bytes, places) in [(0, 1), (PLACE_BYTES, 1), (PLACE_BYTES + 1, 2), (131_072, 40)] {
            assert_eq!(lane.places_of(bytes), places, "{bytes}");
        }
    }
}
