//! The topics that this front serves: a task for each room with a connection here, and the feeds of all who are
//! connected.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use natterjack_domain::{MessageId, RoomId, UserId, room::Room};
use natterjack_eventlog::{Event, FollowError, Heads, ReadError, Subject, Topic};
use natterjack_identity::Clock;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

mod actor;
mod chain;
mod command;
mod fanout;
mod feed;
mod followed;
mod handle;
mod pace;
mod repair;
mod replay;
mod tail;
mod watchdog;

pub use command::{Answer, Attach, Attached, ConnId, Member};
pub use fanout::Fanout;
pub use followed::{Followed, Place};
pub use handle::{CutOff, Handle, Refusal, now_ms};
pub use tail::Tail;

use self::{
    feed::Feeds,
    pace::{Pace, Spoken, stored_at},
};
use crate::{
    config::HubConfig,
    outside::{HashMap, Log},
    store::Store,
};

/// Requests that wait for a topic's task.
const COMMANDS_WAITING: usize = 64;
/// So many state events of a room are read from the log one by one; for more, Postgres is asked.
const STATE_EVENTS_FEW: usize = 128;
/// How long, and how often, a replica is waited for that does not have all of a room yet.
const REPLICA_WAIT: Duration = Duration::from_millis(50);
const REPLICA_WAITS: usize = 20;
/// State events that are searched in the log at once.
const FOLD_PAGE: usize = 500;

/// Cheap to clone; clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    log: Log,
    store: Store,
    config: HubConfig,
    clock: Clock,
    rooms: Mutex<HashMap<RoomId, Opening>>,
    feeds: Arc<Feeds>,
    /// Reads that hold up those who append: few at once; see [`Hub::deep_read`].
    deep_reads: Semaphore,
    /// The same for gaps of served topics, which wait for nobody's resume.
    repairs: Arc<Semaphore>,
}

/// A topic that is being opened, or was.
type Opening = Shared<BoxFuture<'static, Result<Arc<Handle>, Arc<OpenError>>>>;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no such room")]
    NoSuchRoom,
    #[error("the log cannot be followed")]
    Follow(#[from] FollowError),
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    #[error("opening was cut off")]
    Aborted,
}

impl Hub {
    pub fn new(log: Log, store: Store, config: HubConfig, clock: Clock) -> Self {
        let deep_reads = Semaphore::new(config.deep_reads);
        let repairs = Arc::new(Semaphore::new(config.deep_reads));
        let feeds = Feeds::new(log.clone(), repairs.clone(), config.deep_read_span);
        Self(Arc::new(Inner {
            log,
            store,
            config,
            clock,
            rooms: Mutex::default(),
            feeds,
            deep_reads,
            repairs,
        }))
    }

    pub fn log(&self) -> &Log {
        &self.0.log
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Whether live events of rooms and of feeds are heard at this moment.
    pub fn is_connected(&self) -> bool {
        self.0.log.link().borrow().connected && self.0.feeds.link().borrow().connected
    }

    /// How many rooms and feeds there are.
    #[cfg(test)]
    pub fn served_topics(&self) -> (usize, usize) {
        (self.0.rooms.lock().len(), self.0.feeds.count())
    }

    /// Completes as soon as feeds can be heard.
    pub async fn connected(&self) {
        // The connection ends after the hub.
        let _ = self.0.feeds.link().wait_for(|link| link.connected).await;
    }

    /// Hands live events to the feeds until `stop`.
    pub async fn feed(self, stop: CancellationToken) {
        self.0.feeds.run(stop, |change| self.look_up(change.room, change.seq)).await;
    }

    pub async fn open(&self, topic: Topic) -> Result<Followed, Arc<OpenError>> {
        Ok(match topic {
            Topic::Room(room) => Followed::Room(self.room(room).await?),
            Topic::User(user) => Followed::Feed(self.0.feeds.open(user).await?),
        })
    }

    /// The served room; begins to serve it when nobody asked before. Many who ask at once share one opening, and
    /// its failure. Cancel safe: an opening goes on without those who asked.
    pub async fn room(&self, room: RoomId) -> Result<Arc<Handle>, Arc<OpenError>> {
        loop {
            let handle = self.opening(room).await?;
            if handle.is_served() {
                return Ok(handle);
            }
            // It has just ended, for want of members.
            self.forget(&handle);
        }
    }

    fn opening(&self, room: RoomId) -> Opening {
        let mut rooms = self.0.rooms.lock();
        if let Some(opening) = rooms.get(&room) {
            return opening.clone();
        }
        let hub = self.clone();
        let begun = tokio::spawn(async move {
            let mut opened = hub.begin(room).await;
            for _ in 0..REPLICA_WAITS {
                if !matches!(opened, Err(OpenError::Read(ReadError::Incomplete))) {
                    break;
                }
                sleep(REPLICA_WAIT).await;
                opened = hub.begin(room).await;
            }
            let opened = opened.map_err(Arc::new);
            if opened.is_err() {
                hub.0.rooms.lock().remove(&room);
            }
            opened
        });
        let opening = async move { begun.await.unwrap_or_else(|_| Err(Arc::new(OpenError::Aborted))) };
        let opening = opening.boxed().shared();
        rooms.insert(room, opening.clone());
        opening
    }

    /// Holds a member to the slow mode of a room that has one. What was said before this front served the room is looked up
    /// once; where Postgres is away, it is let go.
    pub async fn pace(&self, handle: &Handle, user: UserId, mid: MessageId) -> Result<(), Refusal> {
        let every = handle.pace.every_ms();
        if every == 0 || handle.may_hurry(user) {
            return Ok(());
        }
        if handle.served_since + every > now_ms(&self.0.clock)
            && !handle.pace.knows(user)
            && let Ok(Some((mid, posted_at))) = self.0.store.last_post(handle.room_id, user).await
            && let Some(at) = stored_at(&posted_at)
        {
            handle.pace.note(user, Spoken { at, mid });
        }
        let spoken = handle.pace.speak(user, mid, now_ms(&self.0.clock));
        spoken.map_err(|left_ms| Refusal::TooSoon(Duration::from_millis(left_ms)))
    }

    fn forget(&self, handle: &Arc<Handle>) {
        let mut rooms = self.0.rooms.lock();
        let current = rooms.get(&handle.room_id).and_then(opened);
        if current.is_some_and(|current| Arc::ptr_eq(&current, handle)) {
            rooms.remove(&handle.room_id);
        }
    }

    async fn begin(&self, id: RoomId) -> Result<Arc<Handle>, OpenError> {
        let (inner, topic) = (&self.0, Topic::Room(id));
        // First: where the log is replaced meanwhile, the room is another incarnation's, and the watchdog sees it.
        let epoch = inner.log.epoch_of(topic);
        let connection = inner.log.connection();
        // Follow first, then ask for the heads: nothing can fall between.
        let live = inner.log.follow(topic).await?;
        let heads = inner.log.heads(topic).await?;
        if heads.state == 0 {
            // A room that was just made may not have come to the replica that answers.
            let is_young = inner.log.leader_has(Subject::state(id)).await?;
            return Err(if is_young { ReadError::Incomplete.into() } else { OpenError::NoSuchRoom });
        }
        let room = self.fold_room(id, heads).await?;
        let chain = chain::Chain::new(heads);
        let (sender, commands) = mpsc::channel(COMMANDS_WAITING);
        let handle = Arc::new(Handle {
            room_id: id,
            topic,
            epoch,
            head: AtomicU64::new(chain.head()),
            room: RwLock::new(room),
            state_head: watch::Sender::new(heads.state),
            commands: sender,
            beyond_tail: tokio::sync::Mutex::default(),
            log: inner.log.clone(),
            clock: inner.clock.clone(),
            pace: Pace::default(),
            served_since: now_ms(&inner.clock),
            whole_since: AtomicU64::new(connection),
        });
        handle.keep_pace();
        let actor = actor::Actor {
            hub: self.clone(),
            handle: handle.clone(),
            live,
            chain,
            tail: Tail::new(
                chain.head(),
                inner.config.tail_events,
                inner.config.tail_bytes,
                inner.config.tail_age,
            ),
            commands,
            fanout: Fanout::default(),
            repair: None,
            late_head: 0,
            idle_since: Instant::now(),
            is_over: false,
        };
        tokio::spawn(Box::new(actor).serve());
        Ok(handle)
    }

    /// The room as its state events up to the head make it. Few of them are read back from the log, each naming the one
    /// before it; of many, Postgres tells all but the newest.
    async fn fold_room(&self, id: RoomId, heads: Heads) -> Result<Room, ReadError> {
        let (log, subject) = (&self.0.log, Subject::state(id));
        let (mut newest, mut before) = log.back_from(subject, heads.state, 0, STATE_EVENTS_FEW).await?;
        let (mut room, mut at) = (Room::default(), 0);
        if before > 0 {
            if let Some((as_of, events)) = self.0.store.room_state(id, &log.epoch_of(subject.topic)).await {
                fold(&mut room, events.iter().filter(|event| event.seq <= heads.state));
                at = as_of;
            }
            let (more, left) = log.back_from(subject, before, at, usize::MAX).await?;
            newest.extend(more);
            before = left;
        }
        if before > at {
            // An event does not say what was before it: the log has to be searched.
            while at < before {
                let page = self.deep_read(log.tail_of(subject, at, FOLD_PAGE)).await?;
                let page: Vec<_> = page.iter().filter(|event| event.seq <= before).collect();
                fold(&mut room, page.iter().copied());
                // The one before is known to have been there: where it is not, neither may be others.
                at = page.last().map(|event| event.seq).ok_or(ReadError::Incomplete)?;
            }
        }
        fold(&mut room, newest.iter().rev().filter(|event| event.seq > at));
        Ok(room)
    }
}

/// The room, once it is open. An opening is over only for who asks it, and those who waited for it may have gone.
fn opened(opening: &Opening) -> Option<Arc<Handle>> {
    opening.clone().now_or_never()?.ok()
}

fn fold<'a>(room: &mut Room, events: impl Iterator<Item = &'a Event>) {
    events.filter_map(actor::room_event).for_each(|event| room.apply(&event));
}
