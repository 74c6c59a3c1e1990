//! Rooms and who is in them.

use natterjack_domain::{RoomId, RoomName, UserId, Visibility, room};

use super::{Counts, Fold, Mark, Notice};
use crate::entry::Entry;

#[derive(Debug, PartialEq, Eq)]
pub struct NewRoom {
    pub name: Option<RoomName>,
    pub visibility: Visibility,
    pub owner: UserId,
    pub created: Mark,
}

impl Fold {
    pub(super) fn room(&mut self, room: RoomId, event: room::Event, entry: &Entry) {
        let exists = self.known.rooms.contains_key(&room);
        match event {
            room::Event::Created { by, name, visibility, members, .. } if !exists => {
                let created = Mark { seq: entry.seq, at: entry.ts.clone() };
                self.changes.created.insert(room, NewRoom { name, visibility, owner: by, created });
                self.known.rooms.insert(room, Counts::default());
                self.touch(room, entry, |_| {});
                for user in members {
                    self.joined(room, user, entry);
                }
            }
            room::Event::MemberJoined { user, .. } => {
                self.touch(room, entry, |_| {});
                if exists {
                    self.joined(room, user, entry);
                }
            }
            room::Event::MemberLeft { user, .. } => {
                self.touch(room, entry, |_| {});
                if exists && self.known.members.remove(&(room, user)) {
                    self.touch(room, entry, |counts| counts.members = counts.members.saturating_sub(1));
                    self.member(room, user, None, entry);
                }
            }
            _ => self.touch(room, entry, |_| {}),
        }
    }

    fn joined(&mut self, room: RoomId, user: UserId, entry: &Entry) {
        if self.known.members.insert((room, user)) {
            self.touch(room, entry, |counts| counts.members += 1);
            self.member(room, user, Some(entry.seq), entry);
        }
    }

    fn member(&mut self, room: RoomId, user: UserId, joined: Option<u64>, entry: &Entry) {
        self.changes.members.insert((room, user), joined);
        self.changes.notices.push(Notice { user, room, seq: entry.seq, ts: entry.ts.clone() });
    }
}
