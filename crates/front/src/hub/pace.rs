//! Slow mode: the time between two messages of one member, in rooms that ask for it. Other rooms pay nothing for it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};

use natterjack_domain::{MessageId, UserId};
use natterjack_eventlog::{Event, Kind};
use parking_lot::Mutex;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// So many members are remembered before those are forgotten who may speak again.
const REMEMBERED: usize = 1_024;

/// Who has spoken last when, as far as this front has heard or let them.
#[derive(Debug, Default)]
pub struct Pace {
    every_s: AtomicU32,
    last: Mutex<HashMap<UserId, Spoken>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Milliseconds since 1970.
    pub at: u64,
    pub mid: MessageId,
}

/// As much of an event as is asked here.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: MessageId,
    by: UserId,
}

impl Pace {
    pub fn set(&self, every_s: u32) {
        if self.every_s.swap(every_s, Ordering::Relaxed) != every_s && every_s == 0 {
            self.last.lock().clear();
        }
    }

    /// Milliseconds between two messages; 0 where there need be none.
    pub fn every_ms(&self) -> u64 {
        u64::from(self.every_s.load(Ordering::Relaxed)) * 1_000
    }

    pub fn knows(&self, user: UserId) -> bool {
        self.last.lock().contains_key(&user)
    }

    /// Notes a message that the log has.
    pub fn hear(&self, event: &Event) {
        if self.every_ms() == 0 || event.subject.kind != Kind::Timeline || !event.known {
            return;
        }
        if let Ok(said) = serde_json::from_slice::<Said<'_>>(&event.body)
            && said.kind == "message.posted"
            && let Some(at) = stored_at(&event.ts)
        {
            self.note(said.by, Spoken { at, mid: said.id });
        }
    }

    pub fn note(&self, user: UserId, spoken: Spoken) {
        let every = self.every_ms();
        let mut last = self.last.lock();
        if last.len() >= REMEMBERED {
            last.retain(|_, before| before.at + every > spoken.at);
        }
        let known = last.entry(user).or_insert(spoken);
        if known.at < spoken.at {
            *known = spoken;
        }
    }

    /// Lets `user` speak at `now`, or says how many milliseconds are left. A repeat is the same message.
    pub fn speak(&self, user: UserId, mid: MessageId, now: u64) -> Result<(), u64> {
        let every = self.every_ms();
        let before = self.last.lock().get(&user).copied();
        match before {
            Some(before) if before.mid != mid && before.at + every > now => Err(before.at + every - now),
            _ => {
                self.note(user, Spoken { at: now, mid });
                Ok(())
            }
        }
    }
}

/// The log's own words for a time, in milliseconds since 1970.
pub fn stored_at(ts: &str) -> Option<u64> {
    let stored = OffsetDateTime::parse(ts, &Rfc3339).ok()?;
    u64::try_from(stored.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_speaks_again_when_the_time_has_passed_and_may_repeat_at_any_time() {
        let (pace, user, other) = (Pace::default(), UserId::random(), UserId::random());
        let (one, two) = (MessageId::random(), MessageId::random());
        pace.set(10);
        assert_eq!(pace.speak(user, one, 1_000), Ok(()));
        assert_eq!(pace.speak(user, two, 4_000), Err(7_000));
        assert_eq!(pace.speak(user, one, 4_000), Ok(()));
        assert_eq!(pace.speak(other, two, 4_000), Ok(()));
        pace.note(user, Spoken { at: 2_000, mid: one });
        assert_eq!(pace.speak(user, two, 13_999), Err(1));
        assert_eq!(pace.speak(user, two, 14_000), Ok(()));
        pace.set(0);
        assert!(!pace.knows(user));
    }

    #[test]
    fn those_who_may_speak_again_are_forgotten() {
        let pace = Pace::default();
        pace.set(1);
        for n in 0..5_000 {
            pace.note(UserId::random(), Spoken { at: n * 10, mid: MessageId::random() });
        }
        assert!(pace.last.lock().len() <= REMEMBERED);
    }
}
