//! Those who are connected to this front.

use std::collections::{BTreeSet, HashMap, VecDeque};

use natterjack_domain::{UserId, presence::Availability};
use tokio::time::{Duration, Instant};

use super::words::{Entry, Said};
use crate::hub::ConnId;

pub struct Own {
    people: HashMap<UserId, Person>,
    /// Those whose last connection has ended, and when they are taken for gone; in that order.
    leaving: VecDeque<(Instant, UserId)>,
    /// Those of whom the other fronts have not been told yet.
    untold: BTreeSet<UserId>,
    version: u64,
    linger: Duration,
}

struct Person {
    /// Nearly always one.
    devices: Vec<(ConnId, Availability)>,
    said: Said,
    /// When the last connection ended.
    left: Option<Left>,
}

#[derive(Clone, Copy)]
struct Left {
    gone_at: Instant,
    at_ms: u64,
}

/// Somebody whom others saw is not there any more.
#[derive(Debug, PartialEq, Eq)]
pub struct LastSeen {
    pub user: UserId,
    pub at_ms: u64,
}

impl Own {
    pub fn new(linger: Duration) -> Self {
        Self { people: HashMap::new(), leaving: VecDeque::new(), untold: BTreeSet::new(), version: 0, linger }
    }

    pub fn of(&self, user: UserId) -> Option<Said> {
        self.people.get(&user).map(|person| person.said)
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn table(&self) -> Vec<Entry> {
        self.people.iter().map(|(user, person)| Entry { user: *user, said: Some(person.said) }).collect()
    }

    /// What a device says, which may be new. Answers whether others see a person go by it.
    pub fn say(&mut self, user: UserId, conn: ConnId, state: Availability, now_ms: u64) -> Option<LastSeen> {
        let fresh =
            || Person { devices: Vec::with_capacity(1), said: Said { state, since: now_ms }, left: None };
        let untold = &mut self.untold;
        let person = self.people.entry(user).or_insert_with(|| {
            untold.insert(user);
            fresh()
        });
        person.left = None;
        match person.devices.iter_mut().find(|(of, _)| *of == conn) {
            Some((_, said)) => *said = state,
            None => person.devices.push((conn, state)),
        }
        self.settle(user, now_ms)
    }

    /// A device is gone; with the last one, a while later, the person.
    pub fn leave(&mut self, user: UserId, conn: ConnId, now: Instant, now_ms: u64) -> Option<LastSeen> {
        let person = self.people.get_mut(&user)?;
        person.devices.retain(|(of, _)| *of != conn);
        if person.devices.is_empty() {
            let gone_at = now + self.linger;
            person.left = Some(Left { gone_at, at_ms: now_ms });
            self.leaving.push_back((gone_at, user));
            return None;
        }
        self.settle(user, now_ms)
    }

    /// What a person's devices come to now.
    fn settle(&mut self, user: UserId, now_ms: u64) -> Option<LastSeen> {
        let person = self.people.get_mut(&user)?;
        let state = Availability::of_all(person.devices.iter().map(|(_, state)| *state))?;
        let before = person.said.state;
        if state == before {
            return None;
        }
        person.said = Said { state, since: now_ms };
        self.untold.insert(user);
        let hides = state == Availability::Invisible;
        hides.then_some(LastSeen { user, at_ms: now_ms })
    }

    /// Those who have been away for long enough.
    pub fn gone(&mut self, now: Instant) -> Vec<(UserId, Option<LastSeen>)> {
        let mut gone = vec![];
        while let Some((at, user)) = self.leaving.front().copied()
            && at <= now
        {
            self.leaving.pop_front();
            // They may have come back, and have left again.
            let left = self.people.get(&user).and_then(|person| person.left);
            if let Some(left) = left.filter(|left| left.gone_at <= now) {
                gone.push((user, self.remove(user, left.at_ms)));
            }
        }
        gone
    }

    /// The front ends, and everybody with it.
    pub fn all_gone(&mut self, now_ms: u64) -> Vec<LastSeen> {
        let all: Vec<_> = self.people.keys().copied().collect();
        let at = |person: &Person| person.left.map_or(now_ms, |left| left.at_ms);
        let all: Vec<_> = all.into_iter().map(|user| (user, at(&self.people[&user]))).collect();
        all.into_iter().filter_map(|(user, at_ms)| self.remove(user, at_ms)).collect()
    }

    fn remove(&mut self, user: UserId, at_ms: u64) -> Option<LastSeen> {
        let person = self.people.remove(&user)?;
        self.untold.insert(user);
        (person.said.state != Availability::Invisible).then_some(LastSeen { user, at_ms })
    }

    pub fn next_gone(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    pub fn is_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// What the others have not been told yet, at most `limit` entries of it, and the version that they make.
    pub fn news(&mut self, limit: usize) -> Option<(u64, Vec<Entry>)> {
        let mut people = vec![];
        while people.len() < limit
            && let Some(user) = self.untold.pop_first()
        {
            people.push(Entry { user, said: self.of(user) });
        }
        if people.is_empty() {
            return None;
        }
        self.version += 1;
        Some((self.version, people))
    }
}

#[cfg(test)]
mod tests {
    use super::{Availability::*, *};

    const LINGER: Duration = Duration::from_secs(5);

    fn news(own: &mut Own) -> Vec<(UserId, Option<Availability>)> {
        let news = own.news(100).map(|(_, people)| people).unwrap_or_default();
        news.into_iter().map(|entry| (entry.user, entry.said.map(|said| said.state))).collect()
    }

    #[test]
    fn only_what_is_another_for_others_is_news() {
        let (mut own, ada, now) = (Own::new(LINGER), UserId::random(), Instant::now());
        own.say(ada, 1, Online, 10);
        assert_eq!((news(&mut own), own.version()), (vec![(ada, Some(Online))], 1));
        own.say(ada, 2, Away, 20);
        own.say(ada, 1, Online, 30);
        assert_eq!((own.news(100), own.of(ada).unwrap().since), (None, 10));
        own.leave(ada, 1, now, 40);
        assert_eq!((news(&mut own), own.version()), (vec![(ada, Some(Away))], 2));
        assert_eq!(own.say(ada, 2, Invisible, 50), Some(LastSeen { user: ada, at_ms: 50 }));
        assert_eq!(own.say(ada, 2, Invisible, 60), None);
    }

    #[test]
    fn who_reloads_a_page_has_not_gone() {
        let (mut own, ada, now) = (Own::new(LINGER), UserId::random(), Instant::now());
        own.say(ada, 1, Busy, 10);
        news(&mut own);
        own.leave(ada, 1, now, 20);
        assert_eq!(own.gone(now + LINGER / 2), []);
        own.say(ada, 2, Busy, 30);
        assert_eq!((own.gone(now + 2 * LINGER), own.news(9)), (vec![], None));
        own.leave(ada, 2, now + 2 * LINGER, 40);
        // The first time of leaving is no reason to go.
        assert_eq!((own.gone(now + 2 * LINGER), own.next_gone()), (vec![], Some(now + 3 * LINGER)));
        let seen = Some(LastSeen { user: ada, at_ms: 40 });
        assert_eq!((own.gone(now + 3 * LINGER), own.of(ada)), (vec![(ada, seen)], None));
        assert_eq!(news(&mut own), [(ada, None)]);
    }

    #[test]
    fn who_was_not_seen_is_not_seen_last() {
        let (mut own, ada, now) = (Own::new(LINGER), UserId::random(), Instant::now());
        own.say(ada, 1, Invisible, 10);
        own.leave(ada, 1, now, 20);
        assert_eq!(own.gone(now + LINGER), [(ada, None)]);
        own.say(ada, 2, Online, 30);
        assert_eq!(own.all_gone(40), [LastSeen { user: ada, at_ms: 40 }]);
    }
}
