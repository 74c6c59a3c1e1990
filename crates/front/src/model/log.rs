//! The log as a front has it: `natterjack_eventlog::Log` with the same words, over the world.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use natterjack_domain::UserId;
use natterjack_eventlog::{
    AppendError, Appended, Config, Event, FeedId, FollowError, Heads, Kind, Link, NewEvent, NotAnEvent,
    OpenError, ReadError, Signal, SignalError, StreamError, Subject, Topic, Trouble,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::world::{Stored, Sub, To, World};

/// As `NATTERJACK_LOG_READ_TIMEOUT_MS`.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// As `natterjack_eventlog::hearing`.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// As `natterjack_eventlog::feeds`.
const COMES_BACK: Duration = Duration::from_secs(1);
const SIGNALS_WAITING: usize = 1_024;

/// Cheap to clone.
#[derive(Clone)]
pub struct Log {
    world: World,
    front: usize,
}

pub struct Live {
    signals: mpsc::UnboundedReceiver<Signal>,
    world: World,
    wire: usize,
    id: u64,
}

pub struct Feeds {
    world: World,
    wire: usize,
    next: AtomicU64,
    signals: mpsc::Sender<(UserId, Signal)>,
}

pub struct Pending {
    world: World,
    event: NewEvent,
}

#[expect(clippy::unused_self, clippy::unused_async, reason = "as the log's")]
impl Log {
    pub fn new(world: &World, front: usize) -> Self {
        Self { world: world.clone(), front }
    }

    fn rooms_wire(&self) -> usize {
        2 * self.front
    }

    pub async fn open(_: &Config) -> Result<Self, OpenError> {
        unreachable!("a model's front is not run as a process")
    }

    pub fn streams(&self) -> u16 {
        1
    }

    pub fn stream_of(&self, _: Topic) -> u16 {
        0
    }

    pub fn epoch_of(&self, _: Topic) -> Arc<str> {
        self.world.lock().epochs[self.front].clone()
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.world.lock().wires[self.rooms_wire()].link.subscribe()
    }

    pub fn is_writable(&self) -> bool {
        true
    }

    pub fn trouble(&self) -> Option<Trouble> {
        None
    }

    /// Every lost connection and every lost message counts as another one.
    pub fn connection(&self) -> u64 {
        self.link().borrow().gaps
    }

    pub async fn hear(&self) {
        std::future::pending::<()>().await;
    }

    pub fn is_heard(&self) -> bool {
        self.link().borrow().connected
    }

    pub async fn is_heard_soon(&self) -> bool {
        let begun = Instant::now();
        // Who waits at a `watch` is woken in an order that no seed decides.
        while !self.is_heard() && begun.elapsed() < HEARD_WITHIN {
            sleep(Duration::from_millis(20)).await;
        }
        self.is_heard()
    }

    /// This log has no holes.
    pub async fn is_whole(&self, _: u16, after: u64, up_to: u64) -> Result<bool, ReadError> {
        if after >= up_to {
            return Ok(true);
        }
        self.ask(|| format!("whether it is whole from {after} to {up_to}"), |_| true).await
    }

    pub fn has_hole(&self, _: u16, _: u64, _: u64) -> bool {
        false
    }

    pub fn note_hole(&self, _: u16, _: u64) {}

    pub async fn again(&self, _: u16, seq: u64) -> Result<Option<Result<Event, NotAnEvent>>, ReadError> {
        let answer = |world: &World| world.lock().now().get(seq).map(|stored| Ok(stored_event(stored)));
        self.ask(|| format!("{seq} by its number"), answer).await
    }

    pub fn has_been_at(&self, _: u16, _: &str, _: u64) {}

    pub async fn leader_has(&self, subject: Subject) -> Result<bool, ReadError> {
        let answer = |world: &World| {
            let heads = world.lock().now().heads(subject.topic, u64::MAX);
            (if subject.kind == Kind::State { heads.state } else { heads.timeline }) > 0
        };
        self.ask(|| format!("whether there is {subject}"), answer).await
    }

    pub async fn recheck(&self) -> Result<bool, StreamError> {
        let found = self.ask(|| "the epoch".to_owned(), |world| world.lock().now().epoch.clone()).await;
        let found = found.map_err(|_| StreamError::Missing { name: "CHAT-0".into() })?;
        let known = &mut self.world.lock().epochs[self.front];
        let changed = *known != found;
        *known = found;
        Ok(changed)
    }

    pub async fn follow(&self, topic: Topic) -> Result<Live, FollowError> {
        let (to, signals) = mpsc::unbounded_channel();
        let live = {
            let (mut state, wire) = (self.world.lock(), self.rooms_wire());
            if !state.wires[wire].link.borrow().connected {
                return Err(FollowError::Unavailable);
            }
            let (since, id) = (Instant::now() + state.rng.micros(1_000), state.rng.number());
            state.wires[wire].subs.insert(id, Sub { topic, since, to: To::Live(to) });
            Live { signals, world: self.world.clone(), wire, id }
        };
        Ok(live)
    }

    pub fn feeds(&self) -> (Feeds, mpsc::Receiver<(UserId, Signal)>) {
        let (signals, live) = mpsc::channel(SIGNALS_WAITING);
        let wire = self.rooms_wire() + 1;
        (Feeds { world: self.world.clone(), wire, next: AtomicU64::new(1), signals }, live)
    }

    /// A question to the log: it takes its time, fails, or is never answered.
    async fn ask<T: fmt::Debug>(
        &self,
        what: impl FnOnce() -> String,
        answer: impl FnOnce(&World) -> T,
    ) -> Result<T, ReadError> {
        let answered = self.answer(answer).await;
        if self.world.is_watched() {
            self.world.say(format_args!("front {} asks for {}: {answered:?}", self.front, what()));
        }
        answered
    }

    async fn answer<T>(&self, answer: impl FnOnce(&World) -> T) -> Result<T, ReadError> {
        let (there, back, hangs, fails) = {
            let mut state = self.world.lock();
            if !state.can_read[self.front] {
                return Err(ReadError::Unavailable);
            }
            let odds = state.odds;
            let rng = &mut state.rng;
            let (there, back) = (rng.micros(odds.read_ms * 500), rng.micros(odds.read_ms * 500));
            (there, back, rng.permille(odds.read_hangs), rng.permille(odds.read_fails))
        };
        sleep(there).await;
        let lost = hangs || !self.world.lock().can_read[self.front];
        if lost {
            sleep(READ_TIMEOUT).await;
            return Err(ReadError::Timeout);
        }
        let incarnation = self.world.lock().incarnations.len();
        let answer = answer(&self.world);
        sleep(back).await;
        if fails || incarnation != self.world.lock().incarnations.len() {
            Err(ReadError::Incomplete)
        } else {
            Ok(answer)
        }
    }

    pub async fn last_seq(&self, _: u16) -> Result<u64, ReadError> {
        self.ask(|| "its end".into(), |world| world.lock().seen()).await
    }

    pub async fn heads(&self, topic: Topic) -> Result<Heads, ReadError> {
        Ok(self.heads_of(0, &[topic]).await?.pop().unwrap_or_default())
    }

    pub async fn heads_of(&self, _: u16, topics: &[Topic]) -> Result<Vec<Heads>, ReadError> {
        if !self.link().borrow().connected {
            return Err(ReadError::Unavailable);
        }
        let answer = |world: &World| {
            let mut state = world.lock();
            let up_to = state.seen();
            topics.iter().map(|topic| state.now().heads(*topic, up_to)).collect()
        };
        self.ask(|| format!("heads of {topics:?}"), answer).await
    }

    pub async fn tail(&self, topic: Topic, after: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        self.filtered(topic, after, max, |_| true).await
    }

    pub async fn tail_of(&self, subject: Subject, after: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        self.filtered(subject.topic, after, max, |stored| stored.event.subject == subject).await
    }

    async fn filtered(
        &self,
        topic: Topic,
        after: u64,
        max: usize,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<Vec<Event>, ReadError> {
        let answer = |world: &World| {
            let mut state = world.lock();
            let up_to = state.seen();
            let events = state.now().after(topic, after, up_to).filter(|stored| wanted(stored));
            events.take(max).map(stored_event).collect()
        };
        self.ask(|| format!("{topic} after {after}"), answer).await
    }

    pub async fn one_by_one(
        &self,
        topic: Topic,
        after: u64,
        head: u64,
        max: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let (mut events, mut at, begun) = (vec![], after, Instant::now());
        while at < head && events.len() < max && begun.elapsed() < READ_TIMEOUT {
            let answer = |world: &World| {
                let mut state = world.lock();
                let up_to = state.seen();
                state.now().after(topic, at, up_to).next().map(stored_event)
            };
            let Some(event) = self.ask(|| format!("the next of {topic} after {at}"), answer).await? else {
                break;
            };
            at = event.seq;
            events.push(event);
        }
        Ok(events)
    }

    pub async fn back_from(
        &self,
        subject: Subject,
        head: u64,
        down_to: u64,
        max: usize,
    ) -> Result<(Vec<Event>, u64), ReadError> {
        let (mut events, mut at) = (vec![], head);
        while at > down_to && events.len() < max {
            let answer = |world: &World| {
                let mut state = world.lock();
                let up_to = state.seen();
                state.now().get(at).filter(|_| at <= up_to).cloned()
            };
            let Some(found) = self.ask(|| format!("{at}"), answer).await? else { break };
            match found.expected {
                Some(before) if before < at && found.event.subject == subject => {
                    events.push(stored_event(&found));
                    at = before;
                }
                _ => break,
            }
        }
        Ok((events, at))
    }

    pub async fn begin(&self, event: NewEvent) -> Pending {
        Pending { world: self.world.clone(), event }
    }

    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        self.begin(event).await.finish().await
    }

    pub async fn signal(&self, _: Topic, _: Bytes) -> Result<(), SignalError> {
        Ok(())
    }

    pub async fn broadcast(&self, _: String, _: Bytes) -> Result<(), SignalError> {
        Ok(())
    }

    pub async fn listen(
        &self,
        _: &str,
    ) -> Result<impl Stream<Item = (String, Bytes)> + Unpin + use<>, FollowError> {
        Ok(stream::pending())
    }
}

/// Only live events bear what was before them.
fn stored_event(stored: &Stored) -> Event {
    Event { last: None, ..stored.event.clone() }
}

impl Pending {
    /// Tries again until it is acknowledged, or gives up; the event may be there all the same.
    pub async fn finish(self) -> Result<Appended, AppendError> {
        loop {
            let (takes, stored, heard) = {
                let mut state = self.world.lock();
                let fails = state.odds.append_fails;
                let rng = &mut state.rng;
                (rng.micros(8_000), !rng.permille(fails / 2), !rng.permille(fails / 2))
            };
            sleep(takes).await;
            let appended = if stored { Some(self.store()?) } else { None };
            if let (Some(appended), true) = (appended, heard) {
                return Ok(appended);
            }
            if self.world.lock().rng.permille(200) {
                return Err(AppendError::Unavailable(None));
            }
        }
    }

    fn store(&self) -> Result<Appended, AppendError> {
        let NewEvent { subject, id, body, expected_last } = self.event.clone();
        let mut state = self.world.lock();
        let known = state.now().events.iter().find(|stored| stored.id == id);
        if let Some(stored) = known {
            return Ok(Appended { seq: stored.event.seq, duplicate: true });
        }
        let heads = state.now().heads(subject.topic, u64::MAX);
        let last = if subject.kind == Kind::State { heads.state } else { heads.timeline };
        if expected_last.is_some_and(|expected| expected != last) {
            return Err(AppendError::Conflict);
        }
        let seq = state.append(subject, id, body, true, expected_last);
        drop(state);
        self.world.say(format_args!("log: {seq} sent to {subject}"));
        Ok(Appended { seq, duplicate: false })
    }
}

impl Stream for Live {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.signals.poll_recv(context)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.world.lock().wires[self.wire].subs.remove(&self.id);
    }
}

impl Feeds {
    pub fn name(&self) -> FeedId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.world.lock().wires[self.wire].link.subscribe()
    }

    pub async fn follow(&self, id: FeedId, user: UserId) -> Result<(), FollowError> {
        let (link, begun) = (self.link(), Instant::now());
        // Who waits at a `watch` is woken in an order that no seed decides.
        while !link.borrow().connected {
            if begun.elapsed() > COMES_BACK {
                return Err(FollowError::Unavailable);
            }
            sleep(Duration::from_millis(5)).await;
        }
        let gaps = link.borrow().gaps;
        let takes = {
            let mut state = self.world.lock();
            let takes = state.rng.micros(2_000);
            let (since, topic) = (Instant::now() + takes, Topic::User(user));
            let to = To::Feeds(user, self.signals.clone());
            state.wires[self.wire].subs.insert(id, Sub { topic, since, to });
            takes
        };
        sleep(takes).await;
        let unbroken = { *link.borrow() } == Link { connected: true, gaps };
        if unbroken { Ok(()) } else { Err(FollowError::Unavailable) }
    }

    pub fn leave(&self, id: FeedId) {
        self.world.lock().wires[self.wire].subs.remove(&id);
    }
}
