//! What is true: the log in each of its incarnations, how far Postgres' copy is, who hears what when, and how likely each
//! trouble is.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use natterjack_domain::{
    ClientId, EventId, MessageBody, MessageId, RoomId, RoomName, UserId, Visibility, message, room, user,
};
use natterjack_eventlog::{Event, Heads, Kind, Link, Signal, Subject, Topic};
use natterjack_wire::{Fact, StoredEvent};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use natterjack_seeds::Rng;

/// Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    users: Vec<UserId>,
    rooms: Vec<RoomId>,
    begun: Instant,
    trace: bool,
}

pub struct State {
    pub rng: Rng,
    pub odds: Odds,
    /// The last one is that which is there.
    pub incarnations: Vec<Incarnation>,
    /// Two of each front: that of rooms and that of feeds.
    pub wires: Vec<Wire>,
    /// Whether a front can read.
    pub can_read: Vec<bool>,
    /// The epoch that each front knows.
    pub epochs: Vec<Arc<str>>,
    pub copy: Copied,
    pub whole: bool,
    fault: Option<String>,
    ids: u64,
}

/// How likely each trouble is, in a thousand, and how bad. Every seed has weather of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub live_ms: u64,
    /// A message that is never heard, is heard late, is heard again.
    pub lost: u64,
    pub late: u64,
    pub again: u64,
    pub read_ms: u64,
    pub read_fails: u64,
    pub read_hangs: u64,
    /// A replica answers that lacks up to so many events.
    pub stale: u64,
    pub stale_by: u64,
    pub append_fails: u64,
    pub postgres_fails: u64,
    /// How far the copy is behind, in events.
    pub copy_behind: u64,
}

pub struct Incarnation {
    pub epoch: Arc<str>,
    pub events: Vec<Stored>,
    topics: BTreeMap<Topic, Vec<u64>>,
    rooms: BTreeMap<RoomId, room::Room>,
}

#[derive(Clone)]
pub struct Stored {
    pub event: Event,
    /// What the event was appended on condition of.
    pub expected: Option<u64>,
    pub id: EventId,
}

/// What carries live messages to a front, in their order.
pub struct Wire {
    pub link: watch::Sender<Link>,
    pub subs: BTreeMap<u64, Sub>,
    parcels: VecDeque<Parcel>,
    arrived: Arc<Notify>,
    last_at: Instant,
}

pub struct Sub {
    pub topic: Topic,
    /// The servers know of it.
    pub since: Instant,
    pub to: To,
}

#[derive(Clone)]
pub enum To {
    Live(mpsc::UnboundedSender<Signal>),
    Feeds(UserId, mpsc::Sender<(UserId, Signal)>),
}

struct Parcel {
    at: Instant,
    to: u64,
    event: Event,
}

/// The second copy of the log.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    pub incarnation: usize,
    pub seq: u64,
    pub away: bool,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.event.seq)
    }
}

impl Incarnation {
    fn new(name: usize) -> Self {
        Self {
            epoch: format!("epoch-{name}").into(),
            events: vec![],
            topics: BTreeMap::new(),
            rooms: BTreeMap::new(),
        }
    }

    pub fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn get(&self, seq: u64) -> Option<&Stored> {
        self.events.get(usize::try_from(seq).unwrap().checked_sub(1)?)
    }

    /// The events of a topic after `after`, up to `up_to`.
    pub fn after(&self, topic: Topic, after: u64, up_to: u64) -> impl DoubleEndedIterator<Item = &Stored> {
        let seqs = self.topics.get(&topic).map_or(&[][..], Vec::as_slice);
        let place = |limit: u64| seqs.partition_point(|seq| *seq <= limit);
        seqs[place(after)..place(up_to.max(after))].iter().filter_map(|seq| self.get(*seq))
    }

    pub fn heads(&self, topic: Topic, up_to: u64) -> Heads {
        let last = |state: bool| {
            let mut events = self.after(topic, 0, up_to).rev();
            let found = events.find(|stored| (stored.event.subject.kind == Kind::State) == state);
            found.map_or(0, |stored| stored.event.seq)
        };
        Heads { state: last(true), timeline: last(false) }
    }

    pub fn is_member(&self, room: RoomId, user: UserId) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.is_member(user))
    }

    fn push(&mut self, stored: Stored) {
        let Event { subject: Subject { topic, kind }, seq, known, body, .. } = &stored.event;
        if let (Topic::Room(room), Kind::State, true) = (topic, kind, known)
            && let Ok(Fact::Room(event)) = StoredEvent::decode(body).map(StoredEvent::fact)
        {
            self.rooms.entry(*room).or_default().apply(&event);
        }
        self.topics.entry(*topic).or_default().push(*seq);
        self.events.push(stored);
    }
}

impl World {
    pub fn new(rng: &mut Rng, trace: bool) -> Self {
        let mut ids = 0;
        let users = (0..2 + rng.below(3)).map(|_| UserId::from_uuid(uuid(&mut ids))).collect();
        let rooms = (0..=rng.below(3)).map(|_| RoomId::from_uuid(uuid(&mut ids))).collect();
        let odds = Odds::of(rng);
        let state = State {
            rng: rng.fork(),
            odds,
            incarnations: vec![Incarnation::new(0)],
            wires: vec![],
            can_read: vec![],
            epochs: vec![],
            copy: Copied { incarnation: 0, seq: 0, away: false },
            whole: false,
            fault: None,
            ids,
        };
        let world =
            Self(Arc::new(Inner { state: Mutex::new(state), users, rooms, begun: Instant::now(), trace }));
        world.say(format_args!("{odds:?}"));
        world.found();
        world
    }

    pub fn users(&self) -> &[UserId] {
        &self.0.users
    }

    pub fn rooms(&self) -> &[RoomId] {
        &self.0.rooms
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Whether somebody reads what happens.
    pub fn is_watched(&self) -> bool {
        self.0.trace
    }

    pub fn say(&self, what: fmt::Arguments<'_>) {
        if self.0.trace {
            println!("{:>9.3} {what}", self.0.begun.elapsed().as_secs_f64());
        }
    }

    /// An invariant does not hold.
    pub fn blame(&self, what: String) {
        self.say(format_args!("WRONG: {what}"));
        self.lock().fault.get_or_insert(what);
    }

    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Makes every room, with all as members.
    fn found(&self) {
        for room in self.rooms() {
            let (by, members) = (self.users()[0], self.users().to_vec());
            let name = Some(RoomName::parse("room").unwrap());
            let event = room::Event::Created {
                by,
                kind: room::Kind::Room,
                name,
                visibility: Visibility::Public,
                members,
            };
            self.append_state(*room, event);
        }
    }

    pub fn append_state(&self, room: RoomId, event: room::Event) -> u64 {
        let mut state = self.lock();
        let id = state.event_id();
        let before = state.now().heads(Topic::Room(room), u64::MAX).state;
        let body = StoredEvent::new(id, &Fact::Room(event)).encode();
        // Now and then one that names nothing, as one would that was put into the log by hand.
        let expected = Some(before).filter(|_| !state.rng.permille(30));
        let seq = state.append(Subject::state(room), id, body, true, expected);
        drop(state);
        self.say(format_args!("log: {seq} state of {room}"));
        seq
    }

    pub fn append_message(&self, room: RoomId, by: UserId, text: &str) -> u64 {
        let mut state = self.lock();
        let cid = ClientId::from_uuid(uuid(&mut state.ids));
        let id = MessageId::derive(room, by, cid);
        let body = MessageBody::parse(text, 8_000).unwrap();
        let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
        let known = !state.rng.permille(30);
        let body = StoredEvent::new(id.into(), &fact).encode();
        let seq = state.append(Subject::timeline(room), id.into(), body, known, None);
        drop(state);
        self.say(format_args!("log: {seq} timeline of {room}"));
        seq
    }

    pub fn append_mark(&self, id: UserId, room: RoomId) -> u64 {
        let mut state = self.lock();
        let event = state.event_id();
        let seq = state.now().head();
        let body = StoredEvent::new(event, &Fact::User(user::Event::Read { id, room, seq })).encode();
        let seq = state.append(Subject::feed(id), event, body, true, None);
        drop(state);
        self.say(format_args!("log: {seq} feed of {id}"));
        seq
    }

    /// The log is another one from now on: it holds the first `kept` events of the one before.
    pub fn replace_log(&self, kept: u64) {
        let mut state = self.lock();
        let mut next = Incarnation::new(state.incarnations.len());
        for stored in state.now().events.iter().take(usize::try_from(kept).unwrap()) {
            next.push(stored.clone());
        }
        let missing: Vec<RoomId> = self
            .rooms()
            .iter()
            .copied()
            .filter(|room| !next.topics.contains_key(&Topic::Room(*room)))
            .collect();
        self.say(format_args!("log: {} takes its place, with {kept} events", next.epoch));
        state.incarnations.push(next);
        // Nobody hears the old one any more.
        state.wires.iter_mut().for_each(|wire| wire.parcels.clear());
        drop(state);
        for room in missing {
            let (by, members) = (self.users()[0], self.users().to_vec());
            let name = Some(RoomName::parse("again").unwrap());
            self.append_state(
                room,
                room::Event::Created {
                    by,
                    kind: room::Kind::Room,
                    name,
                    visibility: Visibility::Public,
                    members,
                },
            );
        }
    }

    /// From now on nothing goes wrong.
    pub fn make_whole(&self) {
        let mut state = self.lock();
        state.whole = true;
        state.odds = Odds { live_ms: 2, read_ms: 2, ..Odds::default() };
        state.copy.away = false;
        state.can_read.fill(true);
        for wire in &mut state.wires {
            wire.connect();
        }
        drop(state);
        self.say(format_args!("everything is whole"));
    }

    /// Hands over what the wire carries, for as long as it is polled.
    pub async fn carry(self, wire: usize) {
        let arrived = self.lock().wires[wire].arrived.clone();
        loop {
            let next = self.lock().wires[wire].parcels.front().map(|parcel| parcel.at);
            match next {
                None => arrived.notified().await,
                Some(at) if at > Instant::now() => tokio::select! {
                    biased;
                    () = arrived.notified() => {}
                    () = sleep_until(at) => {}
                },
                Some(_) => self.hand_over(wire),
            }
        }
    }

    fn hand_over(&self, wire: usize) {
        let mut state = self.lock();
        let wire = &mut state.wires[wire];
        let Some(Parcel { to, event, .. }) = wire.parcels.pop_front() else { return };
        let Some(sub) = wire.subs.get(&to) else { return };
        match &sub.to {
            To::Live(live) => drop(live.send(Signal::Event(event))),
            To::Feeds(user, feeds) => drop(feeds.try_send((*user, Signal::Event(event)))),
        }
    }
}

impl State {
    /// The log that is there.
    pub fn now(&self) -> &Incarnation {
        self.incarnations.last().unwrap()
    }

    /// How much of the log the replica has that answers now.
    pub fn seen(&mut self) -> u64 {
        let Odds { stale, stale_by, .. } = self.odds;
        let lacks = if self.rng.permille(stale) { self.rng.below(stale_by + 1) } else { 0 };
        self.now().head().saturating_sub(lacks)
    }

    fn event_id(&mut self) -> EventId {
        EventId::from_uuid(uuid(&mut self.ids))
    }

    pub fn append(
        &mut self,
        subject: Subject,
        id: EventId,
        body: Bytes,
        known: bool,
        expected: Option<u64>,
    ) -> u64 {
        let log = self.incarnations.last_mut().unwrap();
        let heads = log.heads(subject.topic, u64::MAX);
        let last = if subject.kind == Kind::State { heads.state } else { heads.timeline };
        let seq = log.head() + 1;
        let ts = "2026-11-21T12:00:00Z".to_owned();
        let event = Event { subject, seq, last: Some(last), ts, known, body };
        log.push(Stored { event: event.clone(), expected, id });
        for wire in &mut self.wires {
            wire.publish(&event, self.odds, &mut self.rng);
        }
        seq
    }
}

impl Wire {
    pub fn new() -> Self {
        Self {
            link: watch::Sender::new(Link { connected: true, gaps: 1 }),
            subs: BTreeMap::new(),
            parcels: VecDeque::new(),
            arrived: Arc::default(),
            last_at: Instant::now(),
        }
    }

    fn publish(&mut self, event: &Event, odds: Odds, rng: &mut Rng) {
        if !self.link.borrow().connected {
            return;
        }
        let now = Instant::now();
        let to: Vec<u64> = self
            .subs
            .iter()
            .filter(|(_, sub)| sub.topic == event.subject.topic && sub.since <= now)
            .map(|(id, _)| *id)
            .collect();
        for to in to {
            let delay = rng.micros(odds.live_ms * 1_000);
            if !rng.permille(odds.lost) {
                self.last_at = self.last_at.max(now + delay);
                self.put(Parcel { at: self.last_at, to, event: event.clone() });
            } else if rng.permille(odds.late) {
                self.put(Parcel { at: now + delay + rng.millis(1, 800), to, event: event.clone() });
            }
            if rng.permille(odds.again) {
                self.put(Parcel { at: self.last_at + rng.millis(0, 300), to, event: event.clone() });
            }
        }
    }

    fn put(&mut self, parcel: Parcel) {
        let place = self.parcels.partition_point(|before| before.at <= parcel.at);
        self.parcels.insert(place, parcel);
        self.arrived.notify_one();
    }

    /// What is on its way is lost.
    pub fn cut(&mut self) {
        self.parcels.clear();
        self.last_at = Instant::now();
        self.link.send_modify(|link| link.connected = false);
    }

    /// The client could not keep up: what waits is lost, which it says.
    pub fn overrun(&mut self) {
        self.parcels.clear();
        if self.link.borrow().connected {
            self.link.send_modify(|link| link.gaps += 1);
        }
    }

    pub fn connect(&mut self) {
        self.connect_within(Duration::ZERO);
    }

    /// `known`: until all servers know of the subscriptions.
    pub fn connect_within(&mut self, known: Duration) {
        for sub in self.subs.values_mut() {
            sub.since = sub.since.max(Instant::now() + known);
        }
        self.link.send_if_modified(|link| {
            let again = !link.connected;
            if again {
                *link = Link { connected: true, gaps: link.gaps + 1 };
            }
            again
        });
    }
}

impl Odds {
    fn of(rng: &mut Rng) -> Self {
        let mut some = |max: u64| if rng.permille(400) { 0 } else { rng.below(max + 1) };
        Self {
            live_ms: 1 + some(30),
            lost: some(250),
            late: some(1_000),
            again: some(200),
            read_ms: 1 + some(60),
            read_fails: some(250),
            read_hangs: some(80),
            stale: some(500),
            stale_by: some(12),
            append_fails: some(300),
            postgres_fails: some(300),
            copy_behind: some(60),
        }
    }
}

fn uuid(ids: &mut u64) -> Uuid {
    *ids += 1;
    Uuid::from_u128((0x7000_0000_0000_u128 << 80) | (0x8_u128 << 60) | u128::from(*ids))
}
