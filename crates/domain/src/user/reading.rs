//! How far a person has read: a mark for each room, which reading moves forward and marking as unread sets back.

use std::collections::HashMap;

use super::Event;
use crate::ids::{RoomId, UserId};

/// What a run of events does to a read mark: it brings the mark between two bounds. So a run can be folded before the
/// mark is known, and two runs make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub least: u64,
    pub most: u64,
}

impl Default for Shift {
    fn default() -> Self {
        Self { least: 0, most: u64::MAX }
    }
}

impl Shift {
    pub fn read(&mut self, seq: u64) {
        self.least = self.least.max(seq);
        self.most = self.most.max(seq);
    }

    pub fn mark_unread(&mut self, seq: u64) {
        self.least = self.least.min(seq);
        self.most = self.most.min(seq);
    }

    /// Where the run leaves a mark that stood at `mark`.
    pub fn of(self, mark: u64) -> u64 {
        mark.clamp(self.least, self.most)
    }
}

/// What is known of a person's read marks by who has heard only some of the feed's last events: each mark is at least
/// where it stands here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(HashMap<RoomId, u64>);

impl Marks {
    /// Marks `room` as read up to `seq`. A mark that is known to be there already is not moved.
    pub fn read(&self, id: UserId, room: RoomId, seq: u64) -> Option<Event> {
        let moves = self.0.get(&room).is_none_or(|known| *known < seq);
        moves.then_some(Event::Read { id, room, seq })
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Read { room, seq, .. } => {
                let known = self.0.entry(*room).or_default();
                *known = (*known).max(*seq);
            }
            Event::MarkedUnread { room, seq, .. } => {
                if let Some(known) = self.0.get_mut(room) {
                    *known = (*known).min(*seq);
                }
            }
            Event::Registered { .. }
            | Event::ProfileChanged { .. }
            | Event::Deactivated { .. }
            | Event::ThreadRead { .. }
            | Event::ThreadFollowed { .. }
            | Event::Delivered { .. }
            | Event::DraftSaved { .. }
            | Event::MessageSaved { .. }
            | Event::NotifyChanged { .. }
            | Event::DndChanged { .. }
            | Event::Schedule { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reading_moves_a_mark_forward_and_marking_as_unread_sets_it_back() {
        let (id, room) = (UserId::random(), RoomId::random());
        let mut marks = Marks::default();
        for (seq, moves) in [(5, true), (5, false), (4, false), (9, true)] {
            let event = marks.read(id, room, seq);
            assert_eq!(event, moves.then_some(Event::Read { id, room, seq }));
            if let Some(event) = event {
                marks.apply(&event);
            }
        }
        marks.apply(&Event::Read { id, room, seq: 2 });
        assert_eq!(marks.read(id, room, 9), None);
        marks.apply(&Event::MarkedUnread { id, room, seq: 12 });
        assert_eq!(marks.read(id, room, 9), None);
        marks.apply(&Event::MarkedUnread { id, room, seq: 3 });
        assert_eq!(marks.read(id, room, 3), None);
        assert_eq!(marks.read(id, room, 4), Some(Event::Read { id, room, seq: 4 }));
    }

    #[test]
    fn who_heard_only_that_a_room_was_marked_unread_lets_every_read_through() {
        let (id, room) = (UserId::random(), RoomId::random());
        let mut marks = Marks::default();
        marks.apply(&Event::MarkedUnread { id, room, seq: 7 });
        assert!(marks.read(id, room, 1).is_some());
    }

    /// The mark after these events, each of which is a read or a marking as unread.
    fn fold(mark: u64, events: &[(bool, u64)]) -> u64 {
        events.iter().fold(mark, |mark, (read, seq)| if *read { mark.max(*seq) } else { mark.min(*seq) })
    }

    proptest! {
        #[test]
        fn runs_of_events_do_what_their_events_do_one_by_one(
            mark in 0u64..20,
            events in prop::collection::vec((any::<bool>(), 0u64..20), 0..30),
            cut in any::<prop::sample::Index>(),
        ) {
            let shift = |events: &[(bool, u64)]| {
                let mut shift = Shift::default();
                for (read, seq) in events {
                    if *read { shift.read(*seq) } else { shift.mark_unread(*seq) }
                }
                shift
            };
            let (before, after) = events.split_at(cut.index(events.len() + 1));
            let expected = fold(mark, &events);
            prop_assert_eq!(shift(&events).of(mark), expected);
            prop_assert_eq!(shift(after).of(shift(before).of(mark)), expected);
        }

        #[test]
        fn what_is_known_is_never_beyond_the_mark(
            mark in 0u64..20,
            events in prop::collection::vec((any::<bool>(), 0u64..20), 0..30),
            seq in 0u64..20,
        ) {
            let (id, room) = (UserId::random(), RoomId::random());
            let mut marks = Marks::default();
            for (read, seq) in &events {
                let seq = *seq;
                let event = if *read { Event::Read { id, room, seq } } else { Event::MarkedUnread { id, room, seq } };
                marks.apply(&event);
            }
            let mark = fold(mark, &events);
            prop_assert!(mark >= seq || marks.read(id, room, seq).is_some(), "a read that counts was dropped");
        }
    }
}
