//! The feeds of the people who are connected here. A feed has no task of its own and keeps no past: most say nothing
//! for hours, and there are thousands. One task hands all live events to their feeds, which write them to their
//! members' sockets.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use bytes::BytesMut;
use natterjack_domain::{
    RoomId, UserId,
    user::{self, Marks},
};
use natterjack_eventlog::{Event, FeedId, Heads, ReadError, Signal, Subject, Topic};
use natterjack_wire::{
    Fact, ServerFrame, StoredEvent,
    frame::{Ephemeral, Membership, ResetReason},
};
use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, Semaphore, mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    OpenError, Place,
    command::{Attach, Attached, ConnId, Member, answer},
    repair::{HOLE_AFTER, Missing, REPAIR_PAGE, REPAIR_RETRY, Read},
};
use crate::{
    metrics,
    outside::{self, HashMap, Log},
    position::Reached,
    ws::{encode, outbox::Lag},
};

/// The feeds of a front.
pub(super) struct Feeds {
    log: Log,
    live: outside::Feeds,
    signals: Mutex<Option<mpsc::Receiver<(UserId, Signal)>>>,
    /// A feed lives as long as a connection holds it.
    served: Mutex<HashMap<UserId, Weak<Feed>>>,
    /// Bounds what is repaired at once on this front.
    repairs: Arc<Semaphore>,
    look_span: u64,
}

/// One person's feed.
pub struct Feed {
    user: UserId,
    id: FeedId,
    of: Arc<Feeds>,
    opened: OnceCell<Opened>,
    /// The last event that came while the feed was being opened.
    early: AtomicU64,
}

struct Opened {
    epoch: Arc<str>,
    state: Mutex<State>,
}

struct State {
    head: u64,
    members: Vec<Member>,
    /// As far as events that came since the feed was opened tell.
    marks: Marks,
    /// A gap up to here is being repaired: live events are not forwarded, the log is read.
    repairing: Option<u64>,
    /// Another feed takes the place of this one.
    abandoned: bool,
}

impl Feeds {
    /// `look_span`: of what lies farther back not everything is read to know that nothing is missing.
    pub fn new(log: Log, repairs: Arc<Semaphore>, look_span: u64) -> Arc<Self> {
        let (live, signals) = log.feeds();
        let signals = Mutex::new(Some(signals));
        Arc::new(Self { log, live, signals, served: Mutex::default(), repairs, look_span })
    }

    /// Health of the connection that carries the feeds.
    pub fn link(&self) -> watch::Receiver<natterjack_eventlog::Link> {
        self.live.link()
    }

    /// A person's feed. Many who ask at once share one opening. Cancel safe.
    pub async fn open(self: &Arc<Self>, user: UserId) -> Result<Arc<Feed>, OpenError> {
        let feed = self.feed(user);
        feed.opened.get_or_try_init(|| feed.begin()).await?;
        feed.check(Heads { state: 0, timeline: feed.early.load(Ordering::SeqCst) });
        Ok(feed)
    }

    fn feed(self: &Arc<Self>, user: UserId) -> Arc<Feed> {
        let mut feeds = self.served.lock();
        if let Some(feed) = feeds.get(&user).and_then(Weak::upgrade) {
            return feed;
        }
        let (id, of) = (self.live.name(), self.clone());
        let feed = Arc::new(Feed { user, id, of, opened: OnceCell::new(), early: AtomicU64::new(0) });
        feeds.insert(user, Arc::downgrade(&feed));
        metrics::topics_served(1.0);
        feed
    }

    fn served(&self) -> Vec<Arc<Feed>> {
        self.served.lock().values().filter_map(Weak::upgrade).collect()
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.served.lock().len()
    }

    /// Hands live events to their feeds until `stop`.
    /// `concerned` is told of each change to a room that a person here is told of.
    pub async fn run(&self, stop: CancellationToken, concerned: impl Fn(Membership)) {
        let Some(mut signals) = self.signals.lock().take() else { return };
        let work = async {
            while let Some((user, signal)) = signals.recv().await {
                let feed = self.served.lock().get(&user).and_then(Weak::upgrade);
                if let Some(change) = feed.and_then(|feed| feed.receive(signal)) {
                    concerned(change);
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Compares all feeds with the log: a lost last event shows nowhere else.
    pub async fn compare_heads(&self) {
        let mut by_stream: HashMap<u16, Vec<Arc<Feed>>> = HashMap::default();
        for feed in self.served() {
            by_stream.entry(self.log.stream_of(Topic::User(feed.user))).or_default().push(feed);
        }
        for (stream, feeds) in by_stream {
            for some in feeds.chunks(natterjack_eventlog::HEADS_MAX_SUBJECTS / 2) {
                let topics: Vec<Topic> = some.iter().map(|feed| Topic::User(feed.user)).collect();
                match self.log.heads_of(stream, &topics).await {
                    Ok(heads) => some.iter().zip(heads).for_each(|(feed, heads)| feed.check(heads)),
                    Err(error) => tracing::debug!(%error, "heads of feeds cannot be compared"),
                }
            }
        }
    }

    /// Where the log is another one, nothing that is known of a feed holds.
    pub fn abandon_replaced(&self) {
        for feed in self.served() {
            if feed
                .opened
                .get()
                .is_some_and(|opened| opened.epoch != self.log.epoch_of(Topic::User(feed.user)))
            {
                self.forget(&feed);
                feed.reset(ResetReason::EpochChanged);
            }
        }
    }

    fn forget(&self, feed: &Feed) {
        let mut feeds = self.served.lock();
        if feeds.get(&feed.user).is_some_and(|current| std::ptr::eq(current.as_ptr(), feed)) {
            feeds.remove(&feed.user);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.of.forget(self);
        self.of.live.leave(self.id);
        metrics::topics_served(-1.0);
    }
}

impl Feed {
    async fn begin(&self) -> Result<Opened, OpenError> {
        let (log, topic) = (&self.of.log, Topic::User(self.user));
        // As for a room.
        let epoch = log.epoch_of(topic);
        // Follow first, then ask for the head: nothing can fall between.
        self.of.live.follow(self.id, self.user).await?;
        let head = log.heads(topic).await?.timeline;
        let state = Mutex::new(State {
            head,
            members: vec![],
            marks: Marks::default(),
            repairing: None,
            abandoned: false,
        });
        Ok(Opened { epoch, state })
    }

    fn opened(&self) -> &Opened {
        self.opened.get().expect("only opened feeds are given out")
    }

    pub fn place(&self) -> Place {
        let Opened { epoch, state } = self.opened();
        Place { topic: Topic::User(self.user), epoch: epoch.clone(), head: state.lock().head }
    }

    /// Makes a connection a member, from the feed's head on; who is further back has to read the store first. `None`
    /// when another feed takes the place of this one.
    pub fn attach(&self, attach: Attach) -> Option<Attached> {
        let Opened { epoch, state } = self.opened();
        let mut state = state.lock();
        if state.abandoned {
            return None;
        }
        if attach.after.is_some_and(|after| after < state.head) {
            return Some(Attached::Behind(Box::new(attach)));
        }
        let mut out = BytesMut::new();
        for frame in answer(&attach, Topic::User(self.user), epoch, state.head).iter().chain(&attach.replayed)
        {
            out.extend_from_slice(frame);
        }
        if !out.is_empty() {
            attach.member.outbox.push(&out.freeze());
        }
        state.members.retain(|member| member.conn != attach.member.conn);
        // Nearly always the only one.
        state.members.reserve_exact(1);
        state.members.push(attach.member);
        Some(Attached::Live)
    }

    /// The event that marks a room as read, unless it is known to be read already.
    pub fn read(&self, room: RoomId, seq: u64) -> Option<user::Event> {
        self.opened().state.lock().marks.read(self.user, room, seq)
    }

    pub fn detach(&self, conn: ConnId) {
        self.opened().state.lock().members.retain(|member| member.conn != conn);
    }

    /// Gives the change to a room that the person is told of, if it is one.
    fn receive(self: &Arc<Self>, signal: Signal) -> Option<Membership> {
        if let Signal::Event(event) = &signal {
            // Whoever opens the feed looks here afterwards.
            self.early.fetch_max(event.seq, Ordering::SeqCst);
        }
        let opened = self.opened.get()?;
        match signal {
            Signal::Event(event) => {
                let mut state = opened.state.lock();
                if event.subject != Subject::feed(self.user) || event.seq <= state.head {
                    return None;
                }
                if let Some(up_to) = &mut state.repairing {
                    *up_to = event.seq.max(*up_to);
                } else if event.last == Some(state.head) {
                    self.forward(&mut state, &event);
                } else {
                    metrics::gap("chain");
                    let named = event.last.filter(|last| *last > state.head);
                    self.repair(&mut state, Missing { up_to: event.seq, named });
                }
            }
            Signal::Ephemeral(body) => {
                let ephemeral = serde_json::from_slice::<Ephemeral>(&body).ok()?;
                let change = ephemeral.membership.clone();
                let frame = encode::frame(&ServerFrame::Eph(ephemeral));
                for member in &opened.state.lock().members {
                    member.outbox.push_ephemeral(&frame);
                }
                return change;
            }
            Signal::Unreadable(reason) => {
                tracing::warn!(%reason, user = %self.user, "skipping a message that is no event");
            }
        }
        None
    }

    /// Writes the next event to the members. One whose outbox is full is let go: its session comes back for the rest.
    fn forward(&self, state: &mut State, event: &Event) {
        let (topic, before) = (Topic::User(self.user), state.head);
        let frame = encode::event(topic, event, before);
        state.head = event.seq;
        if event.known
            && let Ok(Fact::User(said)) = StoredEvent::decode(&event.body).map(StoredEvent::fact)
        {
            state.marks.apply(&said);
        }
        metrics::delivered(state.members.len());
        let epoch = &self.opened().epoch;
        let lag = || Lag { topic, epoch: Some(epoch.clone()), reached: Reached::named(before), reset: None };
        state.members.retain(|member| member.outbox.push_events(&frame, lag));
    }

    fn check(self: &Arc<Self>, log: Heads) {
        let Some(opened) = self.opened.get() else { return };
        let mut state = opened.state.lock();
        if log.timeline > state.head && state.repairing.is_none() {
            metrics::gap("heads");
            self.repair(&mut state, Missing::up_to(log.timeline));
        }
    }

    /// Has what is missing read from the log, at least up to `up_to`, and forwarded in order; until then, nothing is.
    fn repair(self: &Arc<Self>, state: &mut State, mut missing: Missing) {
        state.repairing = Some(missing.up_to);
        let (of, feed) = (self.of.clone(), Arc::downgrade(self));
        tokio::spawn(async move {
            let mut unanswered_since = None;
            // No longer than somebody wants the feed.
            while let Some(feed) = feed.upgrade() {
                match feed.read_missing(&of.repairs, &mut missing).await {
                    Ok(Read::All) => return,
                    // A replica that answers may be a little behind the one that published.
                    Ok(read) => {
                        let since = *unanswered_since.get_or_insert_with(Instant::now);
                        let stream = of.log.stream_of(Topic::User(feed.user));
                        let has_hole = of.log.has_hole(stream, feed.head(), missing.up_to);
                        if has_hole
                            || (since.elapsed() > HOLE_AFTER && missing.is_lost(read, &of.log, stream).await)
                        {
                            return feed.give_up(missing);
                        }
                    }
                    Err(error) => {
                        unanswered_since = None;
                        tracing::warn!(%error, user = %feed.user, "a gap of a feed waits to be repaired");
                    }
                }
                drop(feed);
                sleep(REPAIR_RETRY).await;
            }
        });
    }

    async fn read_missing(&self, repairs: &Semaphore, missing: &mut Missing) -> Result<Read, ReadError> {
        let opened = self.opened();
        loop {
            let _permit = repairs.acquire().await.map_err(|_| ReadError::Unavailable)?;
            let head = opened.state.lock().head;
            let log = &self.of.log;
            let is_near = missing.up_to.saturating_sub(head) <= self.of.look_span;
            if is_near && !log.is_whole(log.stream_of(Topic::User(self.user)), head, missing.up_to).await? {
                return Ok(Read::Less);
            }
            let page = self.of.log.tail(Topic::User(self.user), head, REPAIR_PAGE).await?;
            if missing.is_left_out_of(&page) {
                return Ok(Read::Less);
            }
            missing.found(&page);
            let mut state = opened.state.lock();
            for event in &page {
                self.forward(&mut state, event);
            }
            if state.repairing.is_none_or(|up_to| state.head >= up_to) {
                state.repairing = None;
                return Ok(Read::All);
            }
            if page.is_empty() {
                return Ok(Read::Later);
            }
        }
    }

    fn head(&self) -> u64 {
        self.opened().state.lock().head
    }

    /// The log has lost an event: nobody is told what comes after it as if nothing were missing.
    fn give_up(&self, missing: Missing) {
        metrics::gap("hole");
        tracing::error!(user = %self.user, up_to = missing.up_to, "the log has a hole: the feed starts anew");
        self.of.forget(self);
        self.reset(ResetReason::GapTooLarge);
    }

    /// Has the members start anew. A feed has no request for that: their sessions attach to the one that takes its place,
    /// and tell them then.
    fn reset(&self, reason: ResetReason) {
        let mut state = self.opened().state.lock();
        state.abandoned = true;
        for member in state.members.drain(..) {
            member.outbox.mark_lagging(Lag::anew(Topic::User(self.user), reason));
        }
    }
}
