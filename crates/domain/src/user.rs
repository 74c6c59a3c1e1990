//! A person's own facts: registered, and read up to where.

use std::collections::HashMap;

use crate::ids::{RoomId, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Registered {
        id: UserId,
        username: String,
    },
    /// The person has read `room` up to and with the event `seq` of the room's stream.
    Read {
        id: UserId,
        room: RoomId,
        seq: u64,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    read: HashMap<RoomId, u64>,
}

impl User {
    /// Marks `room` as read up to `seq`. A mark only moves forward; one that would not changes nothing.
    pub fn read(&self, id: UserId, room: RoomId, seq: u64) -> Option<Event> {
        let moves = self.read.get(&room).is_none_or(|known| *known < seq);
        moves.then_some(Event::Read { id, room, seq })
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Registered { .. } => {}
            Event::Read { room, seq, .. } => {
                let known = self.read.entry(*room).or_default();
                *known = (*known).max(*seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_mark_only_moves_forward() {
        let (id, room) = (UserId::random(), RoomId::random());
        let mut user = User::default();
        for (seq, moves) in [(5, true), (5, false), (4, false), (9, true)] {
            let event = user.read(id, room, seq);
            assert_eq!(event, moves.then_some(Event::Read { id, room, seq }));
            if let Some(event) = event {
                user.apply(&event);
            }
        }
        user.apply(&Event::Read { id, room, seq: 2 });
        assert_eq!(user.read(id, room, 9), None);
    }
}
