//! Everybody who is there, on whatever front: what comes of what is heard, without the network.

use std::collections::BTreeMap;

use natterjack_domain::{
    UserId,
    presence::{Availability, Presence},
    profile::Status,
};
use natterjack_wire::frame::Seen;
use tokio::time::{Duration, Instant};

use super::{
    others::Others,
    own::{LastSeen, Own},
    watchers::Watchers,
    words::{FrontId, Said, Sent, Word},
};

/// Entries of one word: some hundred kilobytes less than NATS takes.
const ENTRIES_MAX: usize = 2_000;
/// Times of leaving that wait to be written down; beyond them some are lost.
const LAST_SEEN_MAX: usize = 10_000;

pub struct Table {
    me: FrontId,
    /// A front that is silent for so long is taken for dead.
    silence: Duration,
    own: Own,
    others: Others,
    /// Those whom others see.
    seen: BTreeMap<UserId, Said>,
    pub watchers: Watchers,
    last_seen: BTreeMap<UserId, u64>,
    /// Words that are to be sent.
    sent: Vec<Sent>,
}

/// The present moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Instant,
    /// In milliseconds since 1970.
    pub ms: u64,
}

impl Table {
    pub fn new(me: FrontId, silence: Duration, linger: Duration) -> Self {
        Self {
            me,
            silence,
            own: Own::new(linger),
            others: Others::default(),
            seen: BTreeMap::new(),
            watchers: Watchers::default(),
            last_seen: BTreeMap::new(),
            sent: vec![],
        }
    }

    pub fn say(&mut self, user: UserId, conn: u64, state: Availability, now: Now) {
        let last_seen = self.own.say(user, conn, state, now.ms);
        self.note(last_seen);
        self.look_at(user);
    }

    pub fn leave(&mut self, user: UserId, conn: u64, now: Now) {
        self.watchers.leave(conn);
        let last_seen = self.own.leave(user, conn, now.at, now.ms);
        self.note(last_seen);
        self.look_at(user);
    }

    /// The person's status is another one: whoever watches is told, here and elsewhere.
    pub fn status(&mut self, user: UserId, status: Option<Status>) {
        self.watchers.status(user, status.clone());
        self.sent.push((None, Word::Status { front: self.me, user, status }));
    }

    /// How present others see a person.
    pub fn of(&self, user: UserId) -> Seen {
        let said = self.seen.get(&user);
        let state = said.map_or(Presence::Offline, |said| said.state.seen());
        Seen { user, state, since: said.map(|said| said.since), status: None }
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Up to `limit` people who are there, after `after`, in the order of their ids.
    pub fn after(&self, after: Option<UserId>, limit: usize) -> Vec<Seen> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        self.seen.range(range).take(limit).map(|(user, _)| self.of(*user)).collect()
    }

    fn look_at(&mut self, user: UserId) {
        let all = self.own.of(user).into_iter().chain(self.others.of(user));
        // Of equals, whoever has been there longest.
        let counts = all.max_by_key(|said| (said.state, std::cmp::Reverse(said.since)));
        let seen = counts.filter(|said| said.state.seen() != Presence::Offline);
        let before = match seen {
            Some(said) => self.seen.insert(user, said),
            None => self.seen.remove(&user),
        };
        if before.map(|said| said.state) != seen.map(|said| said.state) {
            self.watchers.changed(user);
        }
    }

    fn look_at_all(&mut self, users: impl IntoIterator<Item = UserId>) {
        users.into_iter().for_each(|user| self.look_at(user));
    }

    fn note(&mut self, last_seen: impl IntoIterator<Item = LastSeen>) {
        for LastSeen { user, at_ms } in last_seen {
            if self.last_seen.len() < LAST_SEEN_MAX {
                let at = self.last_seen.entry(user).or_default();
                *at = at_ms.max(*at);
            }
        }
    }

    /// What another front says, or this one: its own words come back.
    pub fn hear(&mut self, word: Word, now: Now) {
        let touched = match word {
            Word::Alive { front, .. }
            | Word::Changed { front, .. }
            | Word::Table { front, .. }
            | Word::Gone { front }
            | Word::Status { front, .. }
                if front == self.me =>
            {
                return;
            }
            Word::Alive { front, version } => {
                self.others.alive(front, version, now.at);
                vec![]
            }
            Word::Changed { front, version, people } => self.others.changed(front, version, people, now.at),
            Word::Table { front, version, page, pages, people } => {
                self.others.page(front, version, (page, pages), people, now.at)
            }
            Word::Gone { front } => self.others.gone(front),
            Word::Ask { by } => {
                self.tell_all(by);
                vec![]
            }
            Word::Status { user, status, .. } => {
                self.watchers.status(user, status);
                vec![]
            }
        };
        self.look_at_all(touched);
        self.ask(now);
    }

    fn ask(&mut self, now: Now) {
        let by = self.me;
        let asked = self.others.ask_whom(now.at).into_iter();
        self.sent.extend(asked.map(|front| (Some(front), Word::Ask { by })));
    }

    fn tell_all(&mut self, to: FrontId) {
        let (front, version) = (self.me, self.own.version());
        let table = self.own.table();
        let mut pages: Vec<&[_]> = table.chunks(ENTRIES_MAX).collect();
        if pages.is_empty() {
            pages.push(&[]);
        }
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let words = pages.into_iter().zip(0..).map(|(page, number)| {
            let word = Word::Table { front, version, page: number, pages: count, people: page.to_vec() };
            (Some(to), word)
        });
        self.sent.extend(words);
    }

    /// To be called at every heartbeat, after everything that has come was heard.
    pub fn beat(&mut self, now: Now) {
        if let Some(before) = now.at.checked_sub(self.silence) {
            for lost in self.others.lost(before) {
                let gone_ms = u64::try_from((now.at - lost.heard).as_millis()).unwrap_or_default();
                self.look_at_all(lost.people.iter().map(|(user, _)| *user));
                // One of those who live writes down when they were last there.
                if self.others.least().is_none_or(|least| self.me < least) {
                    let left = lost.people.into_iter().filter(|(user, said)| {
                        said.state != Availability::Invisible && !self.seen.contains_key(user)
                    });
                    let at_ms = now.ms.saturating_sub(gone_ms);
                    let left: Vec<_> = left.map(|(user, _)| LastSeen { user, at_ms }).collect();
                    self.note(left);
                }
            }
        }
        self.ask(now);
        self.watchers.tell_again();
        self.sent.push((None, Word::Alive { front: self.me, version: self.own.version() }));
    }

    /// Lets those go who have been away for long enough.
    pub fn expire(&mut self, now: Now) {
        for (user, last_seen) in self.own.gone(now.at) {
            self.note(last_seen);
            self.look_at(user);
        }
    }

    /// When somebody may have been away for long enough.
    pub fn next_gone(&self) -> Option<Instant> {
        self.own.next_gone()
    }

    /// Whether the other fronts know all about the own people.
    pub fn is_told(&self) -> bool {
        self.own.is_told()
    }

    /// Has the other fronts told what they do not know yet.
    pub fn tell(&mut self) {
        while let Some((version, people)) = self.own.news(ENTRIES_MAX) {
            self.sent.push((None, Word::Changed { front: self.me, version, people }));
        }
    }

    /// The front ends.
    pub fn end(&mut self, now: Now) {
        let last_seen = self.own.all_gone(now.ms);
        self.note(last_seen);
        self.sent.push((None, Word::Gone { front: self.me }));
    }

    /// Words to be sent, in order.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Up to `limit` people who are not there any more, and when they were, in milliseconds since 1970.
    pub fn take_last_seen(&mut self, limit: usize) -> Vec<(UserId, u64)> {
        let mut taken = vec![];
        while taken.len() < limit
            && let Some(one) = self.last_seen.pop_first()
        {
            taken.push(one);
        }
        taken
    }

    /// They could not be written down.
    pub fn put_back(&mut self, last_seen: Vec<(UserId, u64)>) {
        self.note(last_seen.into_iter().map(|(user, at_ms)| LastSeen { user, at_ms }).collect::<Vec<_>>());
    }
}
