//! The topics that this front serves: one task for each room and each person with a connection here.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use natterjack_domain::{
    MessageId, RoomId, UserId,
    room::{Rejection, Room},
};
use natterjack_eventlog::{Event, FollowError, Heads, Log, ReadError, Subject, Topic};
use natterjack_wire::frame::ResetReason;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

mod actor;
mod chain;
mod command;
mod replay;
mod tail;
mod watchdog;

use command::Command;
pub use command::{Answer, Attach, Attached, ConnId, Member};
pub use tail::Recent;

use crate::{config::HubConfig, metrics, store::Store};

/// Requests that wait for a topic's task.
const COMMANDS_WAITING: usize = 64;
/// State events read from the log at once when a room is opened without Postgres.
const FOLD_PAGE: usize = 500;

/// Cheap to clone; clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    log: Log,
    store: Store,
    config: HubConfig,
    topics: Mutex<HashMap<Topic, Opening>>,
    /// Reads that hold up those who append: few at once.
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

/// A served topic, as the rest of the front sees it.
pub struct Handle {
    pub topic: Topic,
    /// Names the incarnation of the topic's stream.
    pub epoch: Arc<str>,
    head: AtomicU64,
    room: RwLock<Room>,
    state_head: watch::Sender<u64>,
    commands: mpsc::Sender<Command>,
}

impl Hub {
    pub fn new(log: Log, store: Store, config: HubConfig) -> Self {
        let deep_reads = Semaphore::new(config.deep_reads);
        let repairs = Arc::new(Semaphore::new(config.deep_reads));
        Self(Arc::new(Inner { log, store, config, topics: Mutex::default(), deep_reads, repairs }))
    }

    pub fn log(&self) -> &Log {
        &self.0.log
    }

    pub async fn room(&self, room: RoomId) -> Result<Arc<Handle>, Arc<OpenError>> {
        self.open(Topic::Room(room)).await
    }

    /// The served topic; begins to serve it when nobody asked before. Many who ask at once share one opening, and
    /// its failure. Cancel safe: an opening goes on without those who asked.
    pub async fn open(&self, topic: Topic) -> Result<Arc<Handle>, Arc<OpenError>> {
        loop {
            let handle = self.opening(topic).await?;
            if handle.is_served() {
                return Ok(handle);
            }
            // It has just ended, for want of members.
            self.forget(&handle);
        }
    }

    fn opening(&self, topic: Topic) -> Opening {
        let mut topics = self.0.topics.lock();
        if let Some(opening) = topics.get(&topic) {
            return opening.clone();
        }
        let hub = self.clone();
        let begun = tokio::spawn(async move {
            let opened = hub.begin(topic).await.map_err(Arc::new);
            if opened.is_err() {
                hub.0.topics.lock().remove(&topic);
            }
            opened
        });
        let opening = async move { begun.await.unwrap_or_else(|_| Err(Arc::new(OpenError::Aborted))) };
        let opening = opening.boxed().shared();
        topics.insert(topic, opening.clone());
        opening
    }

    fn forget(&self, handle: &Arc<Handle>) {
        let mut topics = self.0.topics.lock();
        let current = topics.get(&handle.topic).and_then(Opening::peek);
        if current.is_some_and(|opened| opened.as_ref().is_ok_and(|current| Arc::ptr_eq(current, handle))) {
            topics.remove(&handle.topic);
        }
    }

    async fn begin(&self, topic: Topic) -> Result<Arc<Handle>, OpenError> {
        let inner = &self.0;
        // Follow first, then ask for the heads: nothing can fall between.
        let live = inner.log.follow(topic).await?;
        let heads = inner.log.heads(topic).await?;
        let room = match topic {
            Topic::Room(_) if heads.state == 0 => return Err(OpenError::NoSuchRoom),
            Topic::Room(room) => self.fold_room(room, heads).await?,
            Topic::User(_) => Room::default(),
        };
        let chain = chain::Chain::new(heads);
        let (sender, commands) = mpsc::channel(COMMANDS_WAITING);
        let handle = Arc::new(Handle {
            topic,
            epoch: inner.log.epoch_of(topic),
            head: AtomicU64::new(chain.head()),
            room: RwLock::new(room),
            state_head: watch::Sender::new(heads.state),
            commands: sender,
        });
        let actor = actor::Actor {
            handle: handle.clone(),
            log: inner.log.clone(),
            live,
            chain,
            tail: tail::Tail::new(chain.head(), inner.config.tail_events, inner.config.tail_bytes),
            commands,
            members: vec![],
            pending: vec![],
            pending_before: 0,
            repair: None,
            late_head: 0,
            idle_limit: inner.config.idle,
            idle_since: Instant::now(),
            repairs: inner.repairs.clone(),
        };
        tokio::spawn(self.clone().serve(actor));
        Ok(handle)
    }

    async fn serve(self, actor: actor::Actor) {
        let handle = actor.handle.clone();
        metrics::topics_served(1.0);
        actor.run().await;
        metrics::topics_served(-1.0);
        self.forget(&handle);
    }

    /// The room as its state events up to the head make it: from Postgres as far as it is, the rest from
    /// the log.
    async fn fold_room(&self, id: RoomId, heads: Heads) -> Result<Room, ReadError> {
        let mut room = Room::default();
        let mut at = 0;
        if let Some((as_of, events)) =
            self.0.store.room_state(id, &self.0.log.epoch_of(Topic::Room(id))).await
        {
            for event in events.iter().filter(|event| event.seq <= heads.state) {
                if let Some(event) = actor::room_event(event) {
                    room.apply(&event);
                }
            }
            at = as_of;
        }
        let _permit = self.0.deep_reads.acquire().await.map_err(|_| ReadError::Unavailable)?;
        while at < heads.state {
            let page = self.0.log.tail_of(Subject::state(id), at, FOLD_PAGE).await?;
            at = page.last().map(|event| event.seq).ok_or(ReadError::Incomplete)?;
            for event in page.iter().filter(|event| event.seq <= heads.state) {
                if let Some(event) = actor::room_event(event) {
                    room.apply(&event);
                }
            }
        }
        Ok(room)
    }
}

impl Handle {
    /// Whether the topic's task still runs: what a handle whose task has ended knows grows old.
    pub fn is_served(&self) -> bool {
        !self.commands.is_closed()
    }

    /// The topic's last sequence that this front has seen.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    fn set_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
    }

    /// The room as folded here, and the state sequence that the fold reflects.
    pub fn room(&self) -> (Room, u64) {
        let room = self.room.read();
        (room.clone(), *self.state_head.borrow())
    }

    /// Whether `user` may read and write here. One's own feed is nobody else's topic.
    pub fn authorise(&self, user: UserId) -> Result<(), Rejection> {
        match self.topic {
            Topic::Room(_) => self.room.read().authorise(user),
            Topic::User(owner) if owner == user => Ok(()),
            Topic::User(_) => Err(Rejection::NotFound),
        }
    }

    /// The same by what the log holds now, where the fold would refuse: who was let in over another front a moment
    /// ago is in. Costs a look at the log for each refusal.
    pub async fn admit(&self, user: UserId) -> Result<(), Rejection> {
        if self.authorise(user).is_ok() {
            return Ok(());
        }
        self.refresh().await;
        self.authorise(user)
    }

    /// Folds a state event; gives the person who left by it.
    fn fold(&self, event: &Event) -> Option<UserId> {
        if event.subject.kind != natterjack_eventlog::Kind::State {
            return None;
        }
        let folded = actor::room_event(event);
        let mut room = self.room.write();
        if let Some(folded) = &folded {
            room.apply(folded);
        }
        self.state_head.send_if_modified(|head| {
            let moves = *head < event.seq;
            *head = (*head).max(event.seq);
            moves
        });
        folded.as_ref().and_then(actor::leaver)
    }

    /// Waits until the fold reflects the state sequence `seq`, for `limit` at most.
    pub async fn folded(&self, seq: u64, limit: Duration) {
        let mut head = self.state_head.subscribe();
        let _ = tokio::time::timeout(limit, head.wait_for(|head| *head >= seq)).await;
    }

    /// Reads from the log what may have been missed.
    pub async fn refresh(&self) {
        let (done, refreshed) = oneshot::channel();
        if self.commands.send(Command::Refresh(done)).await.is_ok() {
            let _ = refreshed.await;
        }
    }

    /// What the tail knows of a message; `None` when the topic's task has ended.
    pub async fn recent(&self, mid: MessageId) -> Option<Recent> {
        let (found, answer) = oneshot::channel();
        self.commands.send(Command::Find { mid, found }).await.ok()?;
        answer.await.ok()
    }

    /// Gives `None` when the topic's task has ended: open it again.
    pub async fn attach(&self, attach: Attach, attached: oneshot::Receiver<Attached>) -> Option<Attached> {
        self.commands.send(Command::Attach(Box::new(attach))).await.ok()?;
        attached.await.ok()
    }

    pub async fn detach(&self, conn: ConnId) {
        // A task that has ended has no members.
        let _ = self.commands.send(Command::Detach { conn }).await;
    }

    /// Never waits: what cannot be told now is told at the next round.
    fn check(&self, heads: Heads) {
        let _ = self.commands.try_send(Command::Check(heads));
    }

    async fn abandon(&self, reason: ResetReason) {
        let _ = self.commands.send(Command::Abandon(reason)).await;
    }
}
