//! From commands to events.

use std::collections::HashSet;

use super::{Changes, Event, Facts, Rejection, Room, holds};
use crate::{
    ids::{InviteId, UserId},
    permission::{Action, Kind, Role},
    values::{Reason, RoomName, Visibility},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create {
        by: UserId,
        name: RoomName,
        visibility: Visibility,
        members: Vec<UserId>,
    },
    /// Makes the room between these people, of the kind that their number asks for.
    OpenDirect {
        by: UserId,
        others: Vec<UserId>,
    },
    Change {
        by: UserId,
        changes: Changes,
    },
    Archive {
        by: UserId,
    },
    Restore {
        by: UserId,
    },
    Delete {
        by: UserId,
    },
    /// An invite leads into private rooms too.
    Join {
        user: UserId,
        invite: Option<InviteId>,
    },
    Add {
        by: UserId,
        user: UserId,
    },
    Leave {
        user: UserId,
    },
    Remove {
        by: UserId,
        user: UserId,
        reason: Option<Reason>,
    },
    /// To make somebody the owner hands over the room.
    SetRole {
        by: UserId,
        user: UserId,
        role: Role,
    },
    Mute {
        by: UserId,
        user: UserId,
        until: Option<u64>,
        reason: Option<Reason>,
    },
    Unmute {
        by: UserId,
        user: UserId,
    },
    Ban {
        by: UserId,
        user: UserId,
        until: Option<u64>,
        reason: Option<Reason>,
    },
    Unban {
        by: UserId,
        user: UserId,
    },
    CreateInvite {
        by: UserId,
        invite: InviteId,
        expires: Option<u64>,
        uses_max: Option<u32>,
    },
    RevokeInvite {
        by: UserId,
        invite: InviteId,
    },
}

/// What a room can hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub members_max: usize,
    /// People in a direct room.
    pub direct_max: usize,
    /// People who are banned, and people who are muted, also those for whom it is over.
    pub sanctions_max: usize,
    /// Invites that were neither revoked nor used up.
    pub invites_max: usize,
}

type Decision = Result<Option<Event>, Rejection>;

impl Room {
    /// What `command` changes at `now`: one event at most, so that nothing is ever half done. What is so already
    /// changes nothing and is no error, so that a repeated request is harmless.
    pub fn decide(&self, command: Command, limits: Limits, now: u64) -> Decision {
        match command {
            Command::Create { by, name, visibility, members } => {
                self.create(by, Kind::Room, Some(name), visibility, members, limits)
            }
            Command::OpenDirect { by, others } => self.open_direct(by, others, limits),
            Command::Change { by, changes } => self.change(by, changes, limits, now),
            Command::Archive { by } => {
                let facts = self.permitted(by, Action::Archive, now)?;
                Ok((!facts.archived).then_some(Event::Archived { by }))
            }
            Command::Restore { by } => {
                let facts = self.permitted(by, Action::Archive, now)?;
                Ok(facts.archived.then_some(Event::Restored { by }))
            }
            Command::Delete { by } => {
                self.permitted(by, Action::Delete, now)?;
                Ok(Some(Event::Deleted { by }))
            }
            Command::Join { user, invite } => self.decide_join(user, invite, limits, now),
            Command::Add { by, user } => {
                let facts = self.permitted(by, Action::AddMember, now)?;
                self.admit(facts, by, user, None, limits, now)
            }
            Command::Leave { user } => self.leave(user, now),
            Command::Remove { by, user, reason } => {
                self.permitted(by, Action::RemoveMember, now)?;
                if !self.is_member(user) {
                    return Ok(None);
                }
                self.assure_rank(by, user)?;
                Ok(Some(Event::MemberLeft { by, user, reason }))
            }
            Command::SetRole { by, user, role } => self.set_role(by, user, role, now),
            Command::Mute { .. } | Command::Unmute { .. } | Command::Ban { .. } | Command::Unban { .. } => {
                self.moderate(command, limits, now)
            }
            Command::CreateInvite { by, invite, expires, uses_max } => {
                self.permitted(by, Action::CreateInvite, now)?;
                if self.invites.contains_key(&invite) {
                    return Ok(None);
                }
                assure_few("invites", self.invites.len(), limits.invites_max)?;
                Ok(Some(Event::InviteCreated { by, invite, expires, uses_max }))
            }
            Command::RevokeInvite { by, invite } => {
                self.permitted(by, Action::CreateInvite, now)?;
                let is_there = self.invites.contains_key(&invite);
                Ok(is_there.then_some(Event::InviteRevoked { by, invite }))
            }
        }
    }

    fn permitted(&self, by: UserId, action: Action, now: u64) -> Result<&Facts, Rejection> {
        self.permits(by, action, now)?;
        self.facts().ok_or(Rejection::NotFound)
    }

    /// Nobody acts on one who is not below.
    fn assure_rank(&self, by: UserId, user: UserId) -> Result<(), Rejection> {
        if self.role(by) > Some(self.role(user).unwrap_or_default()) {
            Ok(())
        } else {
            Err(Rejection::OutOfRank)
        }
    }

    fn create(
        &self,
        by: UserId,
        kind: Kind,
        name: Option<RoomName>,
        visibility: Visibility,
        members: Vec<UserId>,
        limits: Limits,
    ) -> Decision {
        if self.facts.is_some() {
            return Err(Rejection::Exists);
        }
        let members = everybody(by, members);
        if members.len() > limits.members_max {
            return Err(Rejection::Full { members_max: limits.members_max });
        }
        Ok(Some(Event::Created { by, kind, name, visibility, members }))
    }

    fn open_direct(&self, by: UserId, others: Vec<UserId>, limits: Limits) -> Decision {
        let people = everybody(by, others.clone()).len();
        if people < 2 || people > limits.direct_max {
            return Err(Rejection::DirectSize { max: limits.direct_max });
        }
        let kind = if people == 2 { Kind::Direct } else { Kind::GroupDirect };
        self.create(by, kind, None, Visibility::Private, others, limits)
    }

    fn change(&self, by: UserId, changes: Changes, limits: Limits, now: u64) -> Decision {
        let facts = self.permitted(by, Action::Change, now)?;
        // Those who are in it stay.
        let members_max = changes.members_max.filter(|max| *max > 0).map(|max| max as usize);
        if members_max.is_some_and(|max| max > limits.members_max || max < self.members.len()) {
            let members_max = limits.members_max;
            return Err(Rejection::Capacity { members: self.members.len(), members_max });
        }
        let mut after = facts.clone();
        after.change(&changes);
        Ok((after != *facts).then_some(Event::Changed { by, changes }))
    }

    fn decide_join(&self, user: UserId, invite: Option<InviteId>, limits: Limits, now: u64) -> Decision {
        let facts = self.facts().ok_or(Rejection::NotFound)?;
        if self.is_member(user) {
            return Ok(None);
        }
        match invite {
            Some(id) if !self.invite(id).is_some_and(|invite| invite.is_good(now)) => {
                return Err(Rejection::InviteInvalid);
            }
            None if facts.visibility == Visibility::Private => return Err(Rejection::NotFound),
            _ => {}
        }
        if facts.archived {
            return Err(Rejection::Archived);
        }
        self.admit(facts, user, user, invite, limits, now)
    }

    fn admit(
        &self,
        facts: &Facts,
        by: UserId,
        user: UserId,
        invite: Option<InviteId>,
        limits: Limits,
        now: u64,
    ) -> Decision {
        if self.is_member(user) {
            return Ok(None);
        }
        if let Some(until) = self.ban(user, now) {
            return Err(Rejection::Banned { until });
        }
        let own = if facts.members_max == 0 { usize::MAX } else { facts.members_max as usize };
        let members_max = own.min(limits.members_max);
        if self.members.len() >= members_max {
            return Err(Rejection::Full { members_max });
        }
        Ok(Some(Event::MemberJoined { by, user, invite }))
    }

    fn leave(&self, user: UserId, now: u64) -> Decision {
        match self.permits(user, Action::Leave, now) {
            // Who has left already.
            Err(Rejection::NotMember) => Ok(None),
            Err(other) => Err(other),
            Ok(()) if self.role(user) == Some(Role::Owner) => Err(Rejection::LastOwner),
            Ok(()) => Ok(Some(Event::MemberLeft { by: user, user, reason: None })),
        }
    }

    fn set_role(&self, by: UserId, user: UserId, role: Role, now: u64) -> Decision {
        let hands_over = role == Role::Owner;
        // One may always step down.
        let steps_down = by == user && self.role(by).is_some_and(|own| role < own && own < Role::Owner);
        let action = match (hands_over, steps_down) {
            (true, _) => Action::HandOver,
            (false, true) => Action::Leave,
            (false, false) => Action::SetRole,
        };
        self.permitted(by, action, now)?;
        let Some(current) = self.role(user) else { return Err(Rejection::NoSuchMember) };
        if current == role {
            return Ok(None);
        }
        if !steps_down {
            self.assure_rank(by, user)?;
            if !hands_over && self.role(by) <= Some(role) {
                return Err(Rejection::OutOfRank);
            }
        }
        Ok(Some(Event::RoleChanged { by, user, role }))
    }

    fn moderate(&self, command: Command, limits: Limits, now: u64) -> Decision {
        let max = limits.sanctions_max;
        match command {
            Command::Mute { by, user, until, reason } => {
                self.permitted(by, Action::Mute, now)?;
                if !self.is_member(user) {
                    return Err(Rejection::NoSuchMember);
                }
                self.assure_rank(by, user)?;
                if !holds(until, now) || self.mutes.get(&user) == Some(&until) {
                    return Ok(None);
                }
                if !self.mutes.contains_key(&user) {
                    assure_few("mutes", self.mutes.len(), max)?;
                }
                Ok(Some(Event::MemberMuted { by, user, until, reason }))
            }
            Command::Unmute { by, user } => {
                self.permitted(by, Action::Mute, now)?;
                self.assure_rank(by, user)?;
                Ok(self.mutes.contains_key(&user).then_some(Event::MemberUnmuted { by, user }))
            }
            Command::Ban { by, user, until, reason } => {
                self.permitted(by, Action::Ban, now)?;
                self.assure_rank(by, user)?;
                if !holds(until, now) || self.bans.get(&user) == Some(&until) {
                    return Ok(None);
                }
                if !self.bans.contains_key(&user) {
                    assure_few("bans", self.bans.len(), max)?;
                }
                Ok(Some(Event::MemberBanned { by, user, until, reason }))
            }
            Command::Unban { by, user } => {
                self.permitted(by, Action::Ban, now)?;
                Ok(self.bans.contains_key(&user).then_some(Event::MemberUnbanned { by, user }))
            }
            _ => Ok(None),
        }
    }
}

/// The owner first, and everybody once.
fn everybody(by: UserId, others: Vec<UserId>) -> Vec<UserId> {
    let mut seen = HashSet::from([by]);
    let mut all = vec![by];
    all.extend(others.into_iter().filter(|other| seen.insert(*other)));
    all
}

fn assure_few(what: &'static str, count: usize, max: usize) -> Result<(), Rejection> {
    if count < max { Ok(()) } else { Err(Rejection::TooMany { what, max }) }
}
