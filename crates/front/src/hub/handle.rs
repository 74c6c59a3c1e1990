//! A served topic, as the rest of the front sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use natterjack_domain::{
    Action, MessageId, Role, RoomId, UserId,
    room::{Kind as RoomKind, Rejection, Room},
};
use natterjack_eventlog::{Event, Heads, Kind, Topic};
use natterjack_identity::Clock;
use natterjack_wire::frame::ResetReason;
use parking_lot::RwLock;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    Place, actor,
    command::{Attach, Attached, Command, ConnId},
    pace::Pace,
    tail::{Reach, Recent},
};
use crate::outside::Log;

/// Who asks whether a room is whole waits so long for it to look.
const REFRESHED_WITHIN: Duration = Duration::from_secs(2);

/// A served topic, as the rest of the front sees it.
pub struct Handle {
    pub room_id: RoomId,
    pub topic: Topic,
    /// Names the incarnation of the topic's stream.
    pub epoch: Arc<str>,
    pub(super) head: AtomicU64,
    pub(super) room: RwLock<Room>,
    pub(super) state_head: watch::Sender<u64>,
    pub(super) commands: mpsc::Sender<Command>,
    /// Held by who reads older events for the tail, so that one read serves all. What it holds: after this sequence, and
    /// any before it, more events follow than the tail takes.
    pub(super) beyond_tail: tokio::sync::Mutex<Option<u64>>,
    pub(super) log: Log,
    /// What holds until some time is judged by it.
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    /// Milliseconds since 1970.
    pub(super) served_since: u64,
    /// Nothing was missed up to when this connection of the log was made; see [`Log::connection`].
    pub(super) whole_since: AtomicU64,
}

/// Who is no member any more by an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    One(UserId),
    /// The room was deleted.
    Everybody,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    CutOff(#[from] CutOff),
    /// The room is in slow mode.
    #[error("the next message may be sent in {} ms", .0.as_millis())]
    TooSoon(Duration),
}

/// What other fronts do to a room is not heard here: nobody can say who is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this front is cut off from the log")]
pub struct CutOff;

impl Handle {
    /// Whether the topic's task still runs: what a handle whose task has ended knows grows old.
    pub fn is_served(&self) -> bool {
        !self.commands.is_closed()
    }

    /// The topic's last sequence that this front has seen.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub fn place(&self) -> Place {
        Place { topic: self.topic, epoch: self.epoch.clone(), head: self.head() }
    }

    pub(super) fn set_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
    }

    /// The room as folded here, and the state sequence that the fold reflects.
    pub fn room(&self) -> (Room, u64) {
        let room = self.room.read();
        (room.clone(), *self.state_head.borrow())
    }

    /// The same without a copy.
    pub fn read<T>(&self, look: impl FnOnce(&Room) -> T) -> T {
        look(&self.room.read())
    }

    pub fn is_member(&self, user: UserId) -> bool {
        self.room.read().is_member(user)
    }

    /// Whether it is a room of two.
    pub fn is_direct(&self) -> bool {
        self.room.read().facts().is_some_and(|facts| facts.kind == RoomKind::Direct)
    }

    pub fn member_count(&self) -> usize {
        self.room.read().members().len()
    }

    /// Whether `user` may read here.
    pub fn authorise(&self, user: UserId) -> Result<(), Rejection> {
        self.room.read().authorise(user)
    }

    /// Whether `user` may do this here and now.
    pub fn permits(&self, user: UserId, action: Action) -> Result<(), Rejection> {
        let now = now_ms(&self.clock);
        self.room.read().permits(user, action, now)
    }

    /// The same by what the log holds now, where the fold would refuse: who was let in over another front a moment
    /// ago is in. Costs a look at the log for each refusal. Who may by a fold that may have missed something is refused
    /// too.
    pub async fn permit(&self, user: UserId, action: Action) -> Result<(), Refusal> {
        self.assure().await?;
        if self.permits(user, action).is_ok() {
            return Ok(());
        }
        self.refresh().await;
        Ok(self.permits(user, action)?)
    }

    /// Lets a member read.
    pub async fn admit(&self, user: UserId) -> Result<(), Refusal> {
        self.permit(user, Action::Read).await
    }

    /// Who of `users` is no member, by what the log holds now.
    pub async fn stranger_among(&self, users: &[UserId]) -> Option<UserId> {
        let stranger = || {
            let room = self.room.read();
            users.iter().copied().find(|user| !room.is_member(*user))
        };
        stranger()?;
        self.refresh().await;
        stranger()
    }

    /// Fails where the fold may be another than the log's, for longer than a moment: where the front hears nothing, or
    /// could not read yet what it had missed.
    pub async fn assure(&self) -> Result<(), CutOff> {
        if self.is_whole() {
            return Ok(());
        }
        if self.log.is_heard_soon().await && !self.is_whole() {
            let _ = timeout(REFRESHED_WITHIN, self.refresh()).await;
        }
        if self.is_whole() { Ok(()) } else { Err(CutOff) }
    }

    fn is_whole(&self) -> bool {
        self.log.is_heard() && self.has_been_connected() && self.is_served()
    }

    /// Whether live events still come over the connection over which nothing was missed.
    pub(super) fn has_been_connected(&self) -> bool {
        self.whole_since.load(Ordering::Acquire) == self.log.connection()
    }

    /// Folds a state event; says who is out by it.
    pub(super) fn fold(&self, event: &Event) -> Option<Out> {
        if event.subject.kind != Kind::State {
            return None;
        }
        let folded = actor::room_event(event);
        let mut room = self.room.write();
        let out = folded.and_then(|folded| {
            let concerned = folded.concerns().filter(|user| room.is_member(*user));
            let was_there = room.facts().is_some();
            room.apply(&folded);
            match concerned {
                _ if was_there && room.facts().is_none() => Some(Out::Everybody),
                Some(user) if !room.is_member(user) => Some(Out::One(user)),
                _ => None,
            }
        });
        self.pace.set(room.facts().map_or(0, |facts| facts.slow_mode_s));
        self.state_head.send_if_modified(|head| {
            let moves = *head < event.seq;
            *head = (*head).max(event.seq);
            moves
        });
        out
    }

    /// Takes over from the fold how long members have to wait.
    pub(super) fn keep_pace(&self) {
        self.pace.set(self.room.read().facts().map_or(0, |facts| facts.slow_mode_s));
    }

    /// Whether somebody is exempt from slow mode.
    pub(super) fn may_hurry(&self, user: UserId) -> bool {
        self.room.read().role(user) >= Some(Role::Moderator)
    }

    /// Everything up to when this connection was made is folded.
    pub(super) fn note_whole_since(&self, connection: u64) {
        self.whole_since.fetch_max(connection, Ordering::AcqRel);
    }

    /// Waits until the fold reflects the state sequence `seq`, for `limit` at most.
    pub async fn folded(&self, seq: u64, limit: Duration) {
        let mut head = self.state_head.subscribe();
        let _ = timeout(limit, head.wait_for(|head| *head >= seq)).await;
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

    /// How far back the tail goes; `None` when the topic's task has ended.
    pub(super) async fn tail_reach(&self) -> Option<Reach> {
        let (sender, reach) = oneshot::channel();
        self.commands.send(Command::Reach(sender)).await.ok()?;
        reach.await.ok()
    }

    /// Whether the tail reaches back to `after` with these events; `None` when the topic's task has ended.
    pub(super) async fn extend_tail_back(&self, after: u64, older: Vec<(u64, Bytes)>) -> Option<bool> {
        let (sender, extended) = oneshot::channel();
        self.commands.send(Command::ExtendBack { after, older, extended: sender }).await.ok()?;
        extended.await.ok()
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
    pub(super) fn check(&self, heads: Heads, connection: u64) {
        let _ = self.commands.try_send(Command::Check { heads, connection });
    }

    pub(super) async fn abandon(&self, reason: ResetReason) {
        let _ = self.commands.send(Command::Abandon(reason)).await;
    }
}

/// Milliseconds since 1970.
pub fn now_ms(clock: &Clock) -> u64 {
    u64::try_from(clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
