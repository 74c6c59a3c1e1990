//! What one client got: everything from where it began, each once, in the order of the log, and nothing else.

use std::collections::{BTreeMap, HashSet};

use super::{
    Fault, Report, is_transient,
    log::{Event, Log},
};
use crate::history::{Happened, Line, Received};

struct Check<'a> {
    client: &'a str,
    user: &'a str,
    log: &'a Log<'a>,
    report: &'a mut Report,
}

/// A client's view of a room.
#[derive(Default)]
struct View<'a> {
    /// Up to where the client has everything.
    last: u64,
    /// What its last request asked for.
    asked: Option<u64>,
    subscription: Option<Subscription>,
    seen: HashSet<u64>,
    /// Messages that it counted.
    messages: HashSet<&'a str>,
    standing: Standing,
}

struct Subscription {
    /// What the server sent last.
    place: u64,
    head: u64,
}

/// Whether the client wants the room's events.
#[derive(Default, PartialEq)]
enum Standing {
    #[default]
    Away,
    Follows,
    /// It left, by itself, with the event of this sequence.
    Left(u64),
    /// The server says that it is no member.
    TurnedAway,
}

/// So many events that a client missed are recovered, whichever parts of the product are away (`docs/protocol.md`).
const RECOVERED_ALWAYS: usize = 500;

pub fn check(history: &[Line], log: &Log<'_>, report: &mut Report) {
    let (Some(user), Some(first)) = (super::user_of(history), history.first()) else {
        if !history.iter().any(|line| line.happened == Happened::Quit) {
            report.find(Fault::Unexplained, || "a client never got a connection".into());
        }
        return;
    };
    let mut check = Check { client: &first.client, user, log, report };
    let mut views: BTreeMap<&str, View<'_>> = BTreeMap::new();
    for line in history {
        check.take(&line.happened, &mut views);
    }
    if !history.iter().any(|line| line.happened == Happened::Quit) {
        for (room, view) in views {
            check.end(room, &view);
        }
    }
}

impl<'a> Check<'a> {
    fn take(&mut self, happened: &'a Happened, views: &mut BTreeMap<&'a str, View<'a>>) {
        match happened {
            Happened::Close { .. } => views.values_mut().for_each(|view| view.subscription = None),
            Happened::Sub { room, after, .. } => views.entry(room).or_default().asked = *after,
            Happened::Subbed { room, epoch, head, recovered } => {
                let view = views.entry(room).or_default();
                self.subbed(room, view, epoch, *head, *recovered);
            }
            Happened::Receive(event) => self.receive(event, views.entry(&event.room).or_default()),
            Happened::Reset { room: Some(room), reason } => {
                self.report.resets += 1;
                let view = views.entry(room).or_default();
                view.subscription = None;
                if reason == "not_member" && view.standing == Standing::Follows {
                    self.turned_away(room, view);
                }
            }
            Happened::Refused { room, cid: None, code } if !is_transient(*code) => {
                self.turned_away(room, views.entry(room).or_default());
            }
            Happened::Left { room, seq } => views.entry(room).or_default().standing = Standing::Left(*seq),
            Happened::Joined { room, .. } => views.entry(room).or_default().standing = Standing::Follows,
            Happened::Open { .. }
            | Happened::Send { .. }
            | Happened::Ack { .. }
            | Happened::Refused { .. }
            | Happened::Reset { room: None, .. }
            | Happened::Quit => {}
        }
    }

    fn subbed(&mut self, room: &str, view: &mut View<'a>, epoch: &str, head: u64, recovered: Option<bool>) {
        let Self { client, log, .. } = *self;
        if log.epoch(room).is_some_and(|stored| stored != epoch) {
            self.report.find(Fault::Unexplained, || format!("{client}: {room} has the epoch {epoch}"));
        }
        if log.event(room, head).is_none() {
            self.report
                .find(Fault::Ghost, || format!("{client}: the head {head} of {room} is no event of it"));
        }
        let begin = match (recovered, view.asked) {
            (Some(true), Some(after)) => after,
            (Some(false), asked) => {
                self.report.resets += 1;
                let after = asked.unwrap_or(head);
                let missed = log.between(room, after, head + 1).len();
                if missed <= RECOVERED_ALWAYS && after > 0 {
                    let words =
                        || format!("{client}: {missed} events of {room} after {after} were not recovered");
                    self.report.find(Fault::Unexplained, words);
                }
                head
            }
            (None, Some(after)) => {
                let words = || format!("{client}: nobody said what became of {room} after {after}");
                self.report.find(Fault::Unexplained, words);
                head
            }
            (_, None) => head,
        };
        view.last = begin;
        view.subscription = Some(Subscription { place: begin, head });
        view.standing = Standing::Follows;
    }

    fn turned_away(&mut self, room: &str, view: &mut View<'_>) {
        view.standing = Standing::TurnedAway;
        if self.log.never_left(room, self.user) {
            let client = self.client;
            let words = || format!("{client} was turned away from {room}, although a member");
            self.report.find(Fault::Unexplained, words);
        }
    }

    fn receive(&mut self, event: &'a Received, view: &mut View<'a>) {
        let (client, room, seq) = (self.client, &event.room, event.seq);
        let Some(subscription) = &mut view.subscription else {
            let words = || format!("{client}: {seq} of {room} came when nothing was followed");
            return self.report.find(Fault::Unexplained, words);
        };
        let stored = self.log.event(room, seq);
        if !stored.is_some_and(|stored| is_same(stored, event)) {
            self.report
                .find(Fault::Ghost, || format!("{client}: {event:?} is not what the log has: {stored:?}"));
        }
        if !self.log.may_hear(room, self.user, seq, subscription.head) {
            self.report.find(Fault::Unexplained, || {
                format!("{client}: {seq} of {room} came to one who is no member")
            });
        }
        if seq <= subscription.place || (seq <= view.last && !event.dropped) {
            let (fault, last) =
                (if view.seen.contains(&seq) { Fault::Doubled } else { Fault::Reordered }, view.last);
            return self.report.find(fault, || format!("{client}: {seq} of {room} came after {last}"));
        }
        subscription.place = seq;
        let head = subscription.head;
        view.seen.insert(seq);
        if event.prev > view.last {
            let (prev, last) = (event.prev, view.last);
            let words = || format!("{client}: {seq} of {room} follows {prev}, but {last} was the last");
            return self.report.find(Fault::Gap, words);
        }
        if seq > view.last {
            self.missed(room, self.log.between(room, view.last, seq));
            view.last = seq;
            self.count(event, view);
        }
        let leaves =
            stored.is_some_and(|e| e.kind == "room.member_left" && e.user.as_deref() == Some(self.user));
        if leaves && !self.log.is_back(room, self.user, seq, head) {
            view.subscription = None;
            if view.standing == Standing::Follows {
                view.standing = Standing::Left(seq);
            }
        }
    }

    fn count(&mut self, event: &'a Received, view: &mut View<'a>) {
        let (client, room, seq) = (self.client, &event.room, event.seq);
        let Some(mid) = event.mid.as_deref().filter(|_| event.kind.as_deref() == Some("message.posted"))
        else {
            if event.dropped {
                self.report.find(Fault::Lost, || format!("{client} dropped {seq} of {room}"));
            }
            return;
        };
        match (event.dropped, view.messages.contains(mid)) {
            (false, false) => {
                view.messages.insert(mid);
                self.report.delivered += 1;
            }
            (false, true) => {
                self.report
                    .find(Fault::Doubled, || format!("{client} counted {mid} again, at {seq} of {room}"));
            }
            (true, false) => self.report.find(Fault::Lost, || format!("{client} dropped {seq} of {room}")),
            (true, true) => {}
        }
    }

    fn missed(&mut self, room: &str, events: &[Event]) {
        let client = self.client;
        for event in events {
            let (seq, kind) = (event.seq, &event.kind);
            self.report.find(Fault::Lost, || format!("{client} never got {seq} of {room} ({kind})"));
        }
    }

    /// What holds once the run is over and all is quiet.
    fn end(&mut self, room: &str, view: &View<'_>) {
        let (client, user, log) = (self.client, self.user, self.log);
        let left = log.left(room, user);
        match view.standing {
            // Whoever left without knowing it was told so.
            Standing::Follows => {
                let end = left.map_or(u64::MAX, |seq| seq + 1);
                self.missed(room, log.between(room, view.last, end));
            }
            Standing::TurnedAway if left.is_none() && !log.never_left(room, user) => {
                let words = || format!("{client} was turned away from {room}, although a member");
                self.report.find(Fault::Unexplained, words);
            }
            Standing::TurnedAway | Standing::Left(_) | Standing::Away => {}
        }
    }
}

fn is_same(stored: &Event, came: &Received) -> bool {
    came.kind.as_deref() == Some(&stored.kind)
        && (&came.mid, &came.cid, &came.by, &came.body)
            == (&stored.mid, &stored.cid, &stored.by, &stored.body)
}
