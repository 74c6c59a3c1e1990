//! What the log holds, as the one truth about rooms.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::{Dump, Fault, Report, Stored};

pub struct Log<'a> {
    pub rooms: BTreeMap<&'a str, Room>,
    epochs: &'a [String],
    /// The last sequence of each stream.
    pub heads: BTreeMap<u16, u64>,
}

#[derive(Default)]
pub struct Room {
    pub stream: u16,
    /// In their order.
    pub events: Vec<Event>,
    /// For each person the sequences at which they came and went, by turns.
    moves: HashMap<String, Vec<u64>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub seq: u64,
    pub kind: String,
    /// The message that it is about.
    pub mid: Option<String>,
    pub cid: Option<String>,
    pub by: Option<String>,
    pub body: Option<String>,
    /// Whom it lets in or out.
    pub user: Option<String>,
    /// The message was posted before: this does not count.
    pub is_repeat: bool,
}

impl<'a> Log<'a> {
    pub fn read(dump: &'a Dump, report: &mut Report) -> Self {
        let mut log = Self { rooms: BTreeMap::new(), epochs: &dump.epochs, heads: BTreeMap::new() };
        let (mut posted, mut ids) = (HashSet::new(), HashMap::new());
        for stored in &dump.log {
            let head = log.heads.entry(stored.stream).or_default();
            if stored.seq != *head + 1 {
                let (stream, seq) = (stored.stream, stored.seq);
                report.find(Fault::Lost, || format!("stream {stream} has a hole: {seq} follows {head}"));
            }
            *head = stored.seq;
            let Some(name) = room(&stored.subject) else { continue };
            let room = log.rooms.entry(name).or_default();
            room.stream = stored.stream;
            let mut event = Event::read(stored);
            if event.kind == "message.posted" {
                event.is_repeat = !posted.insert((name, event.mid.clone()));
                let sent = (name, event.by.clone(), event.cid.clone());
                let first: &mut Option<String> = ids.entry(sent).or_insert_with(|| event.mid.clone());
                if *first != event.mid {
                    report.find(Fault::Doubled, || format!("{name} holds {event:?}, which is {first:?} too"));
                }
                report.repeats += u64::from(event.is_repeat);
            }
            room.push(event, stored);
        }
        log
    }

    pub fn epoch(&self, room: &str) -> Option<&str> {
        let stream = self.rooms.get(room)?.stream;
        self.epochs.get(usize::from(stream)).map(String::as_str)
    }

    pub fn event(&self, room: &str, seq: u64) -> Option<&Event> {
        let events = &self.rooms.get(room)?.events;
        events.binary_search_by_key(&seq, |event| event.seq).ok().map(|index| &events[index])
    }

    /// The events of a room after `after` and before `before`.
    pub fn between(&self, room: &str, after: u64, before: u64) -> &[Event] {
        let Some(room) = self.rooms.get(room) else { return &[] };
        let begin = room.events.partition_point(|event| event.seq <= after);
        let end = room.events.partition_point(|event| event.seq < before);
        room.events.get(begin..end).unwrap_or_default()
    }

    /// Whether `user` may be told of what happened at `seq`, by a subscription that was answered at `head`: a member
    /// is told of everything, also of what was said before; who is none, of nothing new.
    pub fn may_hear(&self, room: &str, user: &str, seq: u64, head: u64) -> bool {
        let Some(moves) = self.rooms.get(room).and_then(|room| room.moves.get(user)) else { return false };
        // One's own leaving is the last that one hears.
        let moves_before = moves.partition_point(|at| *at < seq);
        let comes_again = moves.get(moves_before..).unwrap_or_default();
        let in_the_room = moves_before % 2 == 1;
        let joins_here = moves_before % 2 == 0 && comes_again.first().is_some_and(|at| *at <= head.max(seq));
        in_the_room || joins_here
    }

    /// Whether a person who left at `seq` had come again by `head`.
    pub fn is_back(&self, room: &str, user: &str, seq: u64, head: u64) -> bool {
        let moves = self.rooms.get(room).and_then(|room| room.moves.get(user));
        moves.and_then(|moves| moves.iter().find(|at| **at > seq)).is_some_and(|again| *again <= head)
    }

    /// Whether a person was a member all the time from joining on.
    pub fn never_left(&self, room: &str, user: &str) -> bool {
        self.rooms.get(room).and_then(|room| room.moves.get(user)).is_some_and(|moves| moves.len() == 1)
    }

    /// Where a person left who is no member at the end of the log: 0 for who never was.
    pub fn left(&self, room: &str, user: &str) -> Option<u64> {
        let moves = self.rooms.get(room).and_then(|room| room.moves.get(user));
        moves.map_or(Some(0), |moves| moves.last().copied().filter(|_| moves.len() % 2 == 0))
    }
}

impl Room {
    fn push(&mut self, event: Event, stored: &Stored) {
        match event.kind.as_str() {
            "room.created" => {
                let body: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
                for member in body["members"].as_array().into_iter().flatten() {
                    self.moved(member.as_str(), true, event.seq);
                }
            }
            "room.member_joined" => self.moved(event.user.as_deref(), true, event.seq),
            "room.member_left" => self.moved(event.user.as_deref(), false, event.seq),
            _ => {}
        }
        self.events.push(event);
    }

    fn moved(&mut self, user: Option<&str>, comes: bool, seq: u64) {
        let Some(user) = user else { return };
        let moves = self.moves.entry(user.to_owned()).or_default();
        // Who is there already does not come again.
        if comes == moves.len().is_multiple_of(2) {
            moves.push(seq);
        }
    }
}

impl Event {
    fn read(stored: &Stored) -> Self {
        let body: Value = serde_json::from_slice(&stored.body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let kind = text("type").unwrap_or_default();
        Self {
            seq: stored.seq,
            mid: if kind == "message.posted" { text("id") } else { text("mid") },
            kind,
            cid: text("cid"),
            by: text("by"),
            body: text("body"),
            user: text("user"),
            is_repeat: false,
        }
    }
}

/// The room of a subject `room.<pp>.<room>.<kind>`.
fn room(subject: &str) -> Option<&str> {
    let mut tokens = subject.split('.');
    (tokens.next() == Some("room")).then(|| tokens.nth(1)).flatten()
}
