//! Rooms, who is in them, and who was silenced or shut out: the rules are those of the domain, and the rows what has
//! changed by them.

use natterjack_domain::{
    Reason, Role, RoomId, UserId,
    room::{self, Facts, Room, Standing},
};

use super::{Counts, Fold, Keys, Mark, Notice};
use crate::entry::Entry;

#[derive(Debug, PartialEq, Eq)]
pub struct NewRoom {
    pub facts: Facts,
    pub created: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The sequence of the joining event; none where that stands in the row already.
    pub joined: Option<u64>,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SanctionKind {
    Mute,
    Ban,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanction {
    pub by: UserId,
    pub until: Option<u64>,
    pub reason: Option<Reason>,
    pub made: Mark,
}

impl SanctionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Ban => "ban",
        }
    }
}

impl Keys {
    pub(super) fn state(&mut self, room: RoomId, event: &room::Event) {
        self.states.insert(room);
        self.people.extend(event.concerns().map(|user| (room, user)));
        match event {
            // Who hands over the room is another one then, too.
            room::Event::RoleChanged { by, .. } => {
                self.people.insert((room, *by));
            }
            room::Event::Deleted { .. } => {
                self.emptied.insert(room);
            }
            _ => {}
        }
    }
}

/// Those for whom something may be another by `event`.
fn concerned(room: &Room, event: &room::Event) -> Vec<UserId> {
    let mut people = match event {
        room::Event::Created { members, .. } => members.clone(),
        room::Event::Deleted { .. } => room.members().collect(),
        room::Event::RoleChanged { by, user, .. } => vec![*by, *user],
        _ => event.concerns().into_iter().collect(),
    };
    people.sort_unstable();
    people.dedup();
    people
}

impl Fold {
    pub(super) fn room(&mut self, id: RoomId, event: &room::Event, entry: &Entry) {
        let room = self.known.states.entry(id).or_default();
        let facts = room.record().cloned();
        let people: Vec<_> =
            concerned(room, event).into_iter().map(|user| (user, room.standing(user))).collect();
        room.apply(event);
        let changes: Vec<_> =
            people.into_iter().map(|(user, was)| (user, was, room.standing(user))).collect();
        let after = room.record().cloned();
        if let Some(after) = after
            && facts.as_ref() != Some(&after)
        {
            self.facts(id, facts.is_none(), after, entry);
        }
        self.touch(id, entry, |_| {});
        for (user, was, is) in changes {
            self.membership(id, user, (was, is), entry);
            self.sanction(id, user, (was, is), event, entry);
        }
    }

    fn facts(&mut self, id: RoomId, is_new: bool, facts: Facts, entry: &Entry) {
        if facts.deleted {
            self.changes.sanctions.retain(|(room, _, _), _| *room != id);
        }
        if is_new {
            let created = Mark { seq: entry.seq, at: entry.ts.clone() };
            self.changes.created.insert(id, NewRoom { facts, created });
            self.known.rooms.insert(id, Counts::default());
        } else if let Some(new) = self.changes.created.get_mut(&id) {
            new.facts = facts;
        } else {
            self.changes.facts.insert(id, facts);
        }
    }

    fn membership(&mut self, room: RoomId, user: UserId, (was, is): (Standing, Standing), entry: &Entry) {
        if was.role == is.role {
            return;
        }
        let membership = match (was.role, is.role) {
            (None, Some(role)) => {
                self.touch(room, entry, |counts| counts.members += 1);
                Some(Membership { joined: Some(entry.seq), role })
            }
            (_, Some(role)) => {
                let joined = self.changes.members.get(&(room, user)).copied().flatten();
                Some(Membership { joined: joined.and_then(|known| known.joined), role })
            }
            (_, None) => {
                self.touch(room, entry, |counts| counts.members = counts.members.saturating_sub(1));
                None
            }
        };
        self.changes.members.insert((room, user), membership);
        self.changes.notices.push(Notice { user, room, seq: entry.seq, ts: entry.ts.clone() });
    }

    fn sanction(
        &mut self,
        room: RoomId,
        user: UserId,
        (was, is): (Standing, Standing),
        event: &room::Event,
        entry: &Entry,
    ) {
        let mut note = |kind, was: Option<_>, is: Option<_>| {
            if was == is {
                return;
            }
            let sanction = match event {
                room::Event::MemberMuted { by, until, reason, .. }
                | room::Event::MemberBanned { by, until, reason, .. } => Some(Sanction {
                    by: *by,
                    until: *until,
                    reason: reason.clone(),
                    made: Mark { seq: entry.seq, at: entry.ts.clone() },
                }),
                _ => None,
            };
            self.changes.sanctions.insert((room, kind, user), sanction);
        };
        note(SanctionKind::Mute, was.muted, is.muted);
        note(SanctionKind::Ban, was.banned, is.banned);
    }
}
