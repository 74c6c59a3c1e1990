//! A room: who is in it, and what may be done to it.

use std::collections::HashSet;

use crate::{
    ids::UserId,
    values::{RoomName, Visibility},
};

/// A room as its state events make it. The default is a room that was never created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    facts: Option<Facts>,
    members: HashSet<UserId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub name: RoomName,
    pub visibility: Visibility,
    pub owner: UserId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `members` always holds the owner, `by`.
    Created {
        by: UserId,
        name: RoomName,
        visibility: Visibility,
        members: Vec<UserId>,
    },
    /// `by` is `user` when a person joins, somebody else when a member adds one.
    MemberJoined {
        by: UserId,
        user: UserId,
    },
    MemberLeft {
        by: UserId,
        user: UserId,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create { by: UserId, name: RoomName, visibility: Visibility, members: Vec<UserId> },
    Join { user: UserId },
    Add { by: UserId, user: UserId },
    Leave { user: UserId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such room")]
    NotFound,
    #[error("the room exists already")]
    Exists,
    #[error("only members may do this")]
    NotMember,
    #[error("the room has its {members_max} members already")]
    Full { members_max: usize },
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub members_max: usize,
}

impl Room {
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    pub fn members(&self) -> impl ExactSizeIterator<Item = UserId> {
        self.members.iter().copied()
    }

    pub fn is_member(&self, user: UserId) -> bool {
        self.members.contains(&user)
    }

    /// Whether `user` may know that the room exists.
    pub fn is_visible_to(&self, user: UserId) -> bool {
        self.facts.as_ref().is_some_and(|f| f.visibility == Visibility::Public) || self.is_member(user)
    }

    /// A member may read and write. Everyone else learns of a private room only that it is not found.
    pub fn authorise(&self, user: UserId) -> Result<(), Rejection> {
        if self.is_member(user) {
            Ok(())
        } else if self.is_visible_to(user) {
            Err(Rejection::NotMember)
        } else {
            Err(Rejection::NotFound)
        }
    }

    /// What `command` changes. Joining twice and leaving twice change nothing and are no error, so that
    /// a repeated request is harmless.
    pub fn decide(&self, command: Command, limits: Limits) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Create { by, name, visibility, members } => {
                self.create(by, name, visibility, members, limits)
            }
            Command::Join { user } => {
                let facts = self.facts.as_ref().ok_or(Rejection::NotFound)?;
                if self.is_member(user) {
                    return Ok(vec![]);
                }
                if facts.visibility == Visibility::Private {
                    return Err(Rejection::NotFound);
                }
                self.admit(user, user, limits)
            }
            Command::Add { by, user } => {
                self.authorise(by)?;
                self.admit(by, user, limits)
            }
            Command::Leave { user } => match self.authorise(user) {
                Ok(()) => Ok(vec![Event::MemberLeft { by: user, user }]),
                Err(Rejection::NotMember) => Ok(vec![]),
                Err(other) => Err(other),
            },
        }
    }

    fn create(
        &self,
        by: UserId,
        name: RoomName,
        visibility: Visibility,
        members: Vec<UserId>,
        limits: Limits,
    ) -> Result<Vec<Event>, Rejection> {
        if self.facts.is_some() {
            return Err(Rejection::Exists);
        }
        let mut all = vec![by];
        let mut seen = HashSet::from([by]);
        all.extend(members.into_iter().filter(|m| seen.insert(*m)));
        if all.len() > limits.members_max {
            return Err(Rejection::Full { members_max: limits.members_max });
        }
        Ok(vec![Event::Created { by, name, visibility, members: all }])
    }

    fn admit(&self, by: UserId, user: UserId, limits: Limits) -> Result<Vec<Event>, Rejection> {
        if self.is_member(user) {
            return Ok(vec![]);
        }
        if self.members.len() >= limits.members_max {
            return Err(Rejection::Full { members_max: limits.members_max });
        }
        Ok(vec![Event::MemberJoined { by, user }])
    }

    /// Folds one event. Events of a room that was never created, and a second creation, change nothing:
    /// every reader of the log draws the same conclusion from them.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Created { by, name, visibility, members } => {
                if self.facts.is_none() {
                    self.facts = Some(Facts { name: name.clone(), visibility: *visibility, owner: *by });
                    self.members = members.iter().copied().collect();
                }
            }
            Event::MemberJoined { user, .. } => {
                if self.facts.is_some() {
                    self.members.insert(*user);
                }
            }
            Event::MemberLeft { user, .. } => {
                self.members.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { members_max: 3 };

    fn user(n: u8) -> UserId {
        UserId::from_uuid(uuid::Uuid::from_u128(n.into()))
    }

    fn created(visibility: Visibility, members: &[u8]) -> Event {
        let members = members.iter().map(|n| user(*n)).collect();
        Event::Created { by: user(1), name: RoomName::parse("r").unwrap(), visibility, members }
    }

    fn given(events: &[Event]) -> Room {
        let mut room = Room::default();
        for event in events {
            room.apply(event);
        }
        room
    }

    type Case = (&'static str, Vec<Event>, Command, Result<Vec<Event>, Rejection>);

    fn joined(by: u8, who: u8) -> Event {
        Event::MemberJoined { by: user(by), user: user(who) }
    }

    #[test]
    fn commands_against_given_events() {
        use Visibility::{Private, Public};
        let left = |n| Event::MemberLeft { by: user(n), user: user(n) };
        let join = |n| Command::Join { user: user(n) };
        let leave = |n| Command::Leave { user: user(n) };
        let add = |by, n| Command::Add { by: user(by), user: user(n) };
        let full = Rejection::Full { members_max: 3 };
        let cases: Vec<Case> = vec![
            ("join nothing", vec![], join(2), Err(Rejection::NotFound)),
            ("join public", vec![created(Public, &[1])], join(2), Ok(vec![joined(2, 2)])),
            ("join twice", vec![created(Public, &[1, 2])], join(2), Ok(vec![])),
            ("join private", vec![created(Private, &[1])], join(2), Err(Rejection::NotFound)),
            ("join full", vec![created(Public, &[1, 2, 3])], join(4), Err(full)),
            ("add", vec![created(Private, &[1])], add(1, 2), Ok(vec![joined(1, 2)])),
            ("add by stranger", vec![created(Private, &[1])], add(2, 3), Err(Rejection::NotFound)),
            ("add by visitor", vec![created(Public, &[1])], add(2, 3), Err(Rejection::NotMember)),
            ("add to full", vec![created(Private, &[1, 2, 3])], add(1, 4), Err(full)),
            ("leave", vec![created(Public, &[1, 2])], leave(2), Ok(vec![left(2)])),
            ("leave twice", vec![created(Public, &[1, 2]), left(2)], leave(2), Ok(vec![])),
            ("leave unseen", vec![created(Private, &[1])], leave(2), Err(Rejection::NotFound)),
            ("join again", vec![created(Public, &[1, 2]), left(2)], join(2), Ok(vec![joined(2, 2)])),
        ];
        for (name, events, command, expected) in cases {
            assert_eq!(given(&events).decide(command, LIMITS), expected, "{name}");
        }
    }

    #[test]
    fn creation_counts_each_member_once_and_the_owner_always() {
        let create = |members: &[u8]| Command::Create {
            by: user(1),
            name: RoomName::parse("r").unwrap(),
            visibility: Visibility::Private,
            members: members.iter().map(|n| user(*n)).collect(),
        };
        let room = Room::default();
        assert_eq!(room.decide(create(&[2, 2, 1]), LIMITS), Ok(vec![created(Visibility::Private, &[1, 2])]));
        assert_eq!(room.decide(create(&[2, 3, 4]), LIMITS), Err(Rejection::Full { members_max: 3 }));
        let exists = given(&[created(Visibility::Public, &[1])]);
        assert_eq!(exists.decide(create(&[]), LIMITS), Err(Rejection::Exists));
    }

    #[test]
    fn a_second_creation_and_events_before_the_first_change_nothing() {
        let mut room = given(&[joined(2, 2)]);
        assert_eq!(room, Room::default());
        room.apply(&created(Visibility::Public, &[1]));
        let before = room.clone();
        room.apply(&created(Visibility::Private, &[1, 2]));
        assert_eq!(room, before);
    }

    proptest! {
        #[test]
        fn no_sequence_of_commands_overfills_a_room_or_lets_strangers_into_a_private_one(
            private in any::<bool>(),
            steps in proptest::collection::vec((0u8..3, 1u8..7, 1u8..7), 0..60),
        ) {
            let visibility = if private { Visibility::Private } else { Visibility::Public };
            let mut room = given(&[created(visibility, &[1])]);
            for (kind, a, b) in steps {
                let was_member = room.is_member(user(a));
                let command = match kind {
                    0 => Command::Join { user: user(a) },
                    1 => Command::Add { by: user(a), user: user(b) },
                    _ => Command::Leave { user: user(a) },
                };
                for event in room.decide(command, LIMITS).unwrap_or_default() {
                    if let Event::MemberJoined { by, .. } = &event {
                        prop_assert!(!private || (was_member && *by == user(a)));
                    }
                    room.apply(&event);
                }
                prop_assert!(room.members().len() <= LIMITS.members_max);
            }
        }
    }
}
