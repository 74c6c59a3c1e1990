//! The chain of a topic's events: which event is next, and whether one is missing.
//!
//! A room has two subjects, `state` and `timeline`, and the log tells of each event its predecessor *on the
//! same subject*. Both chains together give the room's one order, because the log republishes in the
//! order of its sequence: an event is next when it continues its own chain and lies after everything seen.

use natterjack_eventlog::{Heads, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    heads: Heads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The topic's next event.
    Next,
    /// Was seen before.
    Seen,
    /// At least one event before it is missing.
    Broken,
}

impl Chain {
    pub fn new(heads: Heads) -> Self {
        Self { heads }
    }

    /// The topic's last sequence; 0 before the first event.
    pub fn head(&self) -> u64 {
        self.heads.state.max(self.heads.timeline)
    }

    pub fn head_of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::State => self.heads.state,
            Kind::Timeline | Kind::Feed => self.heads.timeline,
        }
    }

    /// How an event that arrives stands to what was seen.
    pub fn check(&self, kind: Kind, seq: u64, last: Option<u64>) -> Link {
        if seq <= self.head_of(kind) {
            Link::Seen
        } else if last == Some(self.head_of(kind)) && seq > self.head() {
            Link::Next
        } else {
            Link::Broken
        }
    }

    /// Whether the log's heads are beyond what was seen.
    pub fn is_behind(&self, log: Heads) -> bool {
        self.is_behind_in(Kind::State, log) || self.is_behind_in(Kind::Timeline, log)
    }

    pub fn is_behind_in(&self, kind: Kind, log: Heads) -> bool {
        Self { heads: log }.head_of(kind) > self.head_of(kind)
    }

    /// The kind of which nothing is known for longer: events of the other one have come since.
    pub fn shorter(&self) -> Kind {
        if self.heads.state < self.heads.timeline { Kind::State } else { Kind::Timeline }
    }

    /// Takes an event in; gives the topic's head before it.
    pub fn advance(&mut self, kind: Kind, seq: u64) -> u64 {
        let before = self.head();
        match kind {
            Kind::State => self.heads.state = self.heads.state.max(seq),
            Kind::Timeline | Kind::Feed => self.heads.timeline = self.heads.timeline.max(seq),
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_chains_make_one_order() {
        let mut chain = Chain::new(Heads { state: 3, timeline: 7 });
        let cases = [
            (Kind::Timeline, 7, 5, Link::Seen),
            (Kind::Timeline, 9, 7, Link::Next),
            (Kind::Timeline, 9, 8, Link::Broken),
            (Kind::State, 8, 3, Link::Next),
            (Kind::State, 8, 4, Link::Broken),
            // Continues its own chain, but later events of the other kind are through already.
            (Kind::State, 5, 3, Link::Broken),
        ];
        for (kind, seq, last, expected) in cases {
            assert_eq!(chain.check(kind, seq, Some(last)), expected, "{kind:?} {seq} after {last}");
        }
        assert_eq!(chain.check(Kind::State, 8, None), Link::Broken);
        assert_eq!(chain.advance(Kind::State, 8), 7);
        assert_eq!(chain.head(), 8);
        assert!(!chain.is_behind(Heads { state: 8, timeline: 7 }));
        assert!(chain.is_behind(Heads { state: 8, timeline: 9 }));
    }
}
