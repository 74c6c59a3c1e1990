//! What is true: the log, the rows in Postgres, and how likely each trouble is.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use natterjack_domain::{
    ClientId, EventId, MessageBody, MessageId, RoomId, RoomName, UserId, Visibility, message,
    profile::{Nickname, Profile},
    room, user,
};
use natterjack_eventlog::{Event, Link, Subject};
use natterjack_wire::{Fact, StoredEvent};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use uuid::Uuid;

use natterjack_seeds::Rng;

use super::tables::{POISON, ReadTables, Tables};
use crate::{
    entry::Entry,
    fold::{Keys, Repeats, fold},
};

/// Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Held by the transaction that has the rows of the checkpoints.
    checkpoints: Arc<tokio::sync::Mutex<()>>,
    begun: Instant,
    trace: bool,
}

pub struct State {
    pub rng: Rng,
    pub odds: Odds,
    pub epoch: Arc<str>,
    /// Grows when the stream is another one, be its epoch the same or not.
    pub incarnation: u64,
    pub events: Vec<Event>,
    pub link: watch::Sender<Link>,
    pub written: Arc<Notify>,
    pub postgres_away: bool,
    tables: Tables,
    /// What the tables were made from before the log was replaced.
    before: Option<Vec<Event>>,
    erased: Option<Event>,
    fault: Option<String>,
    ids: u64,
}

/// How likely each trouble is, in a thousand. Every seed has weather of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub read_ms: u64,
    pub read_fails: u64,
    pub read_hangs: u64,
    pub reader_ends: u64,
    /// A reader's answer is shorter than it could be; its replica stands still.
    pub short: u64,
    pub freezes: u64,
    pub postgres_ms: u64,
    pub postgres_fails: u64,
    pub postgres_hangs: u64,
    pub answer_lost: u64,
}

impl Odds {
    fn of(rng: &mut Rng) -> Self {
        let mut some = |max: u64| if rng.permille(400) { 0 } else { rng.below(max + 1) };
        Self {
            read_ms: 1 + some(40),
            read_fails: some(150),
            read_hangs: some(40),
            reader_ends: some(60),
            short: some(500),
            freezes: some(300),
            postgres_ms: 1 + some(8),
            postgres_fails: some(40),
            postgres_hangs: some(8),
            answer_lost: some(200),
        }
    }
}

impl World {
    pub fn new(rng: &mut Rng, trace: bool) -> Self {
        let odds = Odds::of(rng);
        let state = State {
            rng: rng.fork(),
            odds,
            epoch: "epoch-0".into(),
            incarnation: 0,
            events: vec![],
            link: watch::Sender::new(Link { connected: true, gaps: 1 }),
            written: Arc::default(),
            postgres_away: false,
            tables: Tables::default(),
            before: None,
            erased: None,
            fault: None,
            ids: 100,
        };
        let checkpoints = Arc::default();
        let world =
            Self(Arc::new(Inner { state: Mutex::new(state), checkpoints, begun: Instant::now(), trace }));
        world.say(format_args!("{odds:?}"));
        world
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn checkpoints(&self) -> Arc<tokio::sync::Mutex<()>> {
        self.0.checkpoints.clone()
    }

    pub fn tables(&self) -> Tables {
        self.lock().tables.clone()
    }

    pub fn say(&self, what: fmt::Arguments<'_>) {
        if self.0.trace {
            println!("{:>9.3} {what}", self.0.begun.elapsed().as_secs_f64());
        }
    }

    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// A transaction takes effect; what must never be seen is looked for.
    pub fn commit(&self, rows: Tables) {
        let mut state = self.lock();
        let wrong = state.wrong_with(&rows);
        let at = rows.kept.as_ref().map(|kept| kept.1).zip(rows.folded.as_ref().map(|folded| folded.1));
        state.tables = rows;
        if let Some(wrong) = &wrong {
            state.fault.get_or_insert(wrong.clone());
        }
        drop(state);
        self.say(format_args!(
            "committed: {at:?} {}",
            wrong.map_or(String::new(), |wrong| format!("WRONG: {wrong}"))
        ));
    }

    pub fn say_something(&self, rng: &mut Rng) {
        let mut state = self.lock();
        let count = if rng.permille(100) { 1 + rng.below(25) } else { 1 };
        for _ in 0..count {
            state.append(rng);
        }
        let head = state.events.len();
        drop(state);
        self.say(format_args!("the log is at {head}"));
    }

    pub fn break_something(&self, rng: &mut Rng) {
        let lasts = if rng.permille(200) { rng.millis(500, 5_000) } else { rng.millis(0, 300) };
        let world = self.clone();
        match rng.below(100) {
            0..40 => {
                self.say(format_args!("the log is away for {lasts:?}"));
                self.lock().link.send_modify(|link| link.connected = false);
                tokio::spawn(async move {
                    sleep(lasts).await;
                    world.connect();
                });
            }
            40..75 => {
                self.say(format_args!("Postgres is away for {lasts:?}"));
                self.lock().postgres_away = true;
                tokio::spawn(async move {
                    sleep(lasts).await;
                    world.lock().postgres_away = false;
                });
            }
            // An operator waits for nobody's transaction here.
            what => {
                let Ok(_held) = self.0.checkpoints.try_lock() else { return };
                let mut state = self.lock();
                if what < 90 {
                    let Some((_, seq)) = &mut state.tables.kept else { return };
                    *seq = rng.below(*seq + 1);
                    self.say(format_args!("the log's checkpoint is set back to {seq}"));
                } else {
                    let Some((_, seq)) = &mut state.tables.folded else { return };
                    *seq = 0;
                    state.tables.read = ReadTables::default();
                    self.say(format_args!("the read tables are emptied"));
                }
            }
        }
    }

    fn connect(&self) {
        self.lock().link.send_if_modified(|link| {
            let again = !link.connected;
            if again {
                *link = Link { connected: true, gaps: link.gaps + 1 };
            }
            again
        });
    }

    /// From now on nothing breaks.
    pub fn make_whole(&self) {
        self.connect();
        let mut state = self.lock();
        state.odds = Odds { read_ms: 2, postgres_ms: 1, ..Odds::default() };
        state.postgres_away = false;
        drop(state);
        self.say(format_args!("everything is whole"));
    }

    /// Now and then something that no projector may mend by itself.
    pub fn needs_operator(&self, rng: &mut Rng) -> Option<&'static str> {
        let mut state = self.lock();
        let applied = state.tables.kept.clone().filter(|kept| kept.1 > 0)?.1;
        match rng.below(8) {
            0 => {
                for _ in 0..3 {
                    state.append(rng);
                }
                let hole = state.events.len() - 2;
                state.erased = Some(state.events.remove(hole));
                Some("the log has a hole")
            }
            1 => {
                state.before = Some(std::mem::take(&mut state.events));
                state.epoch = "epoch-1".into();
                state.incarnation += 1;
                // Whether or not it is as long already.
                for _ in 0..rng.below(2 * applied) {
                    state.append(rng);
                }
                Some("the log is another one")
            }
            2 => {
                state.before = Some(state.events.clone());
                state.incarnation += 1;
                let kept = usize::try_from(rng.below(applied)).unwrap();
                state.events.truncate(kept);
                Some("the log is an older copy")
            }
            _ => None,
        }
    }

    /// Nothing was made of what is wrong.
    pub fn untouched(&self, before: &Tables) -> Result<(), String> {
        let state = self.lock();
        let log = state.before.as_ref().unwrap_or(&state.events);
        for entry in state.tables.events.values() {
            let stored = log.iter().find(|event| event.seq == entry.seq);
            if stored.map(|event| Entry::from(event.clone())).as_ref() != Some(&**entry) {
                return Err(format!("{} was applied though the log was wrong", entry.seq));
            }
        }
        let epoch = |tables: &Tables| tables.kept.as_ref().map(|kept| kept.0.clone());
        let hole = state.erased.as_ref().map_or(u64::MAX, |event| event.seq);
        let past = state.tables.kept.as_ref().is_none_or(|kept| kept.1 >= hole);
        let fine = epoch(&state.tables) == epoch(before) && !past;
        if fine { Ok(()) } else { Err(format!("the tables went on: {:?}", state.tables.kept)) }
    }

    /// The operator finds what was missing, or begins anew.
    pub fn operate(&self) {
        let mut state = self.lock();
        if let Some(erased) = state.erased.take() {
            let place = state.events.partition_point(|event| event.seq < erased.seq);
            state.events.insert(place, erased);
        } else {
            state.before = None;
            state.tables = Tables::default();
        }
        // Its readers have been told that it is not there.
        state.incarnation += 1;
        drop(state);
        self.say(format_args!("the operator has done what was needed"));
    }

    /// What the tables lack of the log.
    pub fn misses(&self) -> Option<String> {
        let state = self.lock();
        let head = state.events.len() as u64;
        let at = Some((state.epoch.to_string(), head));
        if head > 0 && (state.tables.kept != at || state.tables.folded != at) {
            return Some(format!(
                "applied to {:?} and {:?} of {head}",
                state.tables.kept, state.tables.folded
            ));
        }
        if state.tables.events.len() != state.events.len() {
            return Some("the second copy has another length".into());
        }
        (state.tables.read != state.expected())
            .then(|| "the read tables are not what the log makes of them".into())
    }
}

impl State {
    /// What a committed transaction must never leave.
    fn wrong_with(&self, rows: &Tables) -> Option<String> {
        let seq =
            |checkpoint: &Option<(String, u64)>| checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.1);
        for (before, now) in [(&self.tables.kept, &rows.kept), (&self.tables.folded, &rows.folded)] {
            if seq(now) < seq(before) {
                return Some(format!("a checkpoint goes back from {} to {}", seq(before), seq(now)));
            }
        }
        let last = rows.events.keys().next_back().copied().unwrap_or_default();
        if rows.events.len() as u64 != last || seq(&rows.kept) > last {
            return Some(format!("the second copy has a hole before {last}, or ends before its checkpoint"));
        }
        let log = self.before.as_ref().unwrap_or(&self.events);
        let differs = |entry: &&Arc<Entry>| {
            let stored = log.iter().find(|event| event.seq == entry.seq);
            stored.is_none_or(|event| event.body != entry.body || Some(event.subject) != entry.subject)
        };
        let wrong = rows.events.values().rev().take(15).find(differs)?;
        Some(format!("{} is not what the log holds", wrong.seq))
    }

    /// The read tables, made by one event after the other.
    fn expected(&self) -> ReadTables {
        let mut read = ReadTables::default();
        for event in &self.events {
            let entry = Entry::from(event.clone());
            let folded = |read: &ReadTables, entry: &Entry| {
                let batch = std::slice::from_ref(entry);
                fold(batch, read.known(&Keys::of(batch, Repeats::LookedFor)))
            };
            let mut next = read.clone();
            if next.apply(&folded(&read, &entry)).is_ok() {
                read = next;
            } else {
                let refused = Entry { fact: Err("Postgres refuses it (SQLSTATE )".into()), ..entry };
                let parked = folded(&read, &refused);
                read.apply(&parked).unwrap();
            }
        }
        read
    }

    fn append(&mut self, rng: &mut Rng) {
        let room = RoomId::from_uuid(Uuid::from_u128(1 + u128::from(rng.below(2))));
        let by = UserId::from_uuid(Uuid::from_u128(10 + u128::from(rng.below(3))));
        self.ids += 1;
        let id = EventId::from_uuid(Uuid::from_u128(self.ids.into()));
        // Seldom one that was used before.
        let nth = if rng.permille(150) { 100 + rng.below(self.ids - 100) } else { self.ids };
        let cid = ClientId::from_uuid(Uuid::from_u128(nth.into()));
        let mid = MessageId::derive(room, by, cid);
        let words = if rng.permille(40) { POISON } else { "x" };
        let body = MessageBody::parse(words, 8_000).unwrap();
        let (subject, fact) = match rng.below(100) {
            0..8 => {
                let name = Some(RoomName::parse("room").unwrap());
                let event = room::Event::Created {
                    by,
                    kind: room::Kind::Room,
                    name,
                    visibility: Visibility::Public,
                    members: vec![by],
                };
                (Subject::state(room), Fact::Room(event))
            }
            8..16 => {
                (Subject::state(room), Fact::Room(room::Event::MemberJoined { by, user: by, invite: None }))
            }
            16..24 => {
                (Subject::state(room), Fact::Room(room::Event::MemberLeft { by, user: by, reason: None }))
            }
            24..26 => {
                let nickname = Nickname::parse(["ann", "bob"][rng.index(2)]).ok();
                let profile = Profile { nickname, ..Profile::default() };
                (Subject::feed(by), Fact::User(user::Event::ProfileChanged { id: by, profile }))
            }
            26..27 => (Subject::feed(by), Fact::User(user::Event::Deactivated { id: by })),
            27..31 => (Subject::feed(by), Fact::User(user::Event::Read { id: by, room, seq: rng.below(50) })),
            31..34 => {
                let seq = rng.below(50);
                (Subject::feed(by), Fact::User(user::Event::MarkedUnread { id: by, room, seq }))
            }
            34..44 => {
                let event = message::Event::Edited {
                    id: mid,
                    by,
                    body,
                    mentions: message::Mentions::default(),
                    meta: None,
                };
                (Subject::timeline(room), Fact::Message(event))
            }
            44..50 => (Subject::timeline(room), Fact::Message(message::Event::Recalled { id: mid, by })),
            _ => {
                let posted = message::Posted::plain(mid, by, cid, body);
                (Subject::timeline(room), Fact::Message(message::Event::Posted(posted)))
            }
        };
        let stored = StoredEvent::new(id, &fact).encode();
        let body = if rng.permille(30) { Bytes::from_static(b"{") } else { stored };
        let (seq, ts, known) =
            (self.events.len() as u64 + 1, "2026-11-21T12:00:00Z".to_owned(), !rng.permille(30));
        self.events.push(Event { subject, seq, last: None, ts, known, body });
        self.written.notify_waiters();
    }
}
