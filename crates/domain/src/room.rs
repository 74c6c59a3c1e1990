//! A room: who is in it, what they are in it, and what may be done to it.
//!
//! [`Room::apply`] folds state events, in [`decide`] commands become events, [`Room::permits`] says who may do what.
//! Times are milliseconds since 1970, given by who asks: folding knows no clock.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::decide::{Command, Limits};
pub use crate::permission::Kind;
use crate::{
    ids::{InviteId, UserId},
    permission::{Action, Role},
    values::{AvatarId, Reason, RoomDescription, RoomName, RoomTopic, Visibility},
};

/// A room as its state events make it. The default is a room that was never created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    facts: Option<Facts>,
    /// What each member is. The owner is who `facts` says, whatever stands here.
    members: HashMap<UserId, Role>,
    /// Until when; for good without a time. Who has left stays muted.
    mutes: HashMap<UserId, Option<u64>>,
    /// The same. Nobody who is banned is a member.
    bans: HashMap<UserId, Option<u64>>,
    /// Those that were neither revoked nor used up.
    invites: HashMap<InviteId, Invite>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    /// Direct rooms have none.
    pub name: Option<RoomName>,
    pub visibility: Visibility,
    /// In direct rooms who made it, and no more than another.
    pub owner: UserId,
    pub topic: Option<RoomTopic>,
    pub description: Option<RoomDescription>,
    pub avatar: Option<AvatarId>,
    /// Seconds between two messages of one member; 0 when there need be none.
    pub slow_mode_s: u32,
    /// Only moderators and above write.
    pub read_only: bool,
    /// So many at most, if that is fewer than in any room; 0 for no limit of its own.
    pub members_max: u32,
    pub archived: bool,
    /// There is no such room any more.
    pub deleted: bool,
}

/// What holds for one person in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub role: Option<Role>,
    /// Until when, whether that is over or not; for good without a time.
    pub muted: Option<Option<u64>>,
    pub banned: Option<Option<u64>>,
}

/// A way in for whoever knows its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invite {
    pub by: UserId,
    pub expires: Option<u64>,
    pub uses_max: Option<u32>,
    pub uses: u32,
}

/// What a change changes; what is missing stays. An empty text and a 0 take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub name: Option<RoomName>,
    pub topic: Option<RoomTopic>,
    pub description: Option<RoomDescription>,
    pub avatar: Option<AvatarId>,
    pub visibility: Option<Visibility>,
    pub slow_mode_s: Option<u32>,
    pub read_only: Option<bool>,
    pub members_max: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `members` always holds the owner, `by`.
    Created {
        by: UserId,
        kind: Kind,
        name: Option<RoomName>,
        visibility: Visibility,
        members: Vec<UserId>,
    },
    Changed {
        by: UserId,
        changes: Changes,
    },
    Archived {
        by: UserId,
    },
    Restored {
        by: UserId,
    },
    Deleted {
        by: UserId,
    },
    /// `by` is `user` when a person joins, somebody else when a member adds one.
    MemberJoined {
        by: UserId,
        user: UserId,
        invite: Option<InviteId>,
    },
    /// `by` is `user` when a person leaves, somebody else when one is removed.
    MemberLeft {
        by: UserId,
        user: UserId,
        reason: Option<Reason>,
    },
    /// To make somebody the owner is to hand over the room: who was it is an admin then.
    RoleChanged {
        by: UserId,
        user: UserId,
        role: Role,
    },
    MemberMuted {
        by: UserId,
        user: UserId,
        until: Option<u64>,
        reason: Option<Reason>,
    },
    MemberUnmuted {
        by: UserId,
        user: UserId,
    },
    /// Takes out who is a member.
    MemberBanned {
        by: UserId,
        user: UserId,
        until: Option<u64>,
        reason: Option<Reason>,
    },
    MemberUnbanned {
        by: UserId,
        user: UserId,
    },
    InviteCreated {
        by: UserId,
        invite: InviteId,
        expires: Option<u64>,
        uses_max: Option<u32>,
    },
    InviteRevoked {
        by: UserId,
        invite: InviteId,
    },
}

impl Event {
    /// The one person whom it is about.
    pub fn concerns(&self) -> Option<UserId> {
        match self {
            Self::MemberJoined { user, .. }
            | Self::MemberLeft { user, .. }
            | Self::RoleChanged { user, .. }
            | Self::MemberMuted { user, .. }
            | Self::MemberUnmuted { user, .. }
            | Self::MemberBanned { user, .. }
            | Self::MemberUnbanned { user, .. } => Some(*user),
            Self::Created { .. }
            | Self::Changed { .. }
            | Self::Archived { .. }
            | Self::Restored { .. }
            | Self::Deleted { .. }
            | Self::InviteCreated { .. }
            | Self::InviteRevoked { .. } => None,
        }
    }
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
    #[error("this takes the role {}", role.as_str())]
    NotPermitted { role: Role },
    #[error("not in a direct room")]
    NotInDirect,
    #[error("the person's rank is not below yours")]
    OutOfRank,
    #[error("the person is no member")]
    NoSuchMember,
    #[error("you are muted{}", until_text(*until))]
    Muted { until: Option<u64> },
    #[error("the person is banned{}", until_text(*until))]
    Banned { until: Option<u64> },
    #[error("only moderators and above write here")]
    ReadOnly,
    #[error("the room is archived")]
    Archived,
    #[error("hand over the room or delete it")]
    LastOwner,
    #[error("the invite is not valid any more")]
    InviteInvalid,
    #[error("the room has its {max} {what} already")]
    TooMany { what: &'static str, max: usize },
    #[error("a direct room is between 2 and {max} people")]
    DirectSize { max: usize },
    #[error("the room has {members} members, and a room at most {members_max}")]
    Capacity { members: usize, members_max: usize },
}

fn until_text(until: Option<u64>) -> String {
    until.map(|ms| format!(" until {ms} ms since 1970")).unwrap_or_default()
}

/// Whether what ends at `until` holds at `now`.
fn holds(until: Option<u64>, now: u64) -> bool {
    until.is_none_or(|until| now < until)
}

impl Invite {
    /// Whether it lets somebody in at `now`.
    pub fn is_good(&self, now: u64) -> bool {
        holds(self.expires, now) && self.uses_max.is_none_or(|max| self.uses < max)
    }
}

impl Room {
    /// A room of which only these people are known: enough to fold events that concern them.
    pub fn partial(facts: Facts, people: impl IntoIterator<Item = (UserId, Standing)>) -> Self {
        let mut room = Self { facts: Some(facts), ..Self::default() };
        for (user, Standing { role, muted, banned }) in people {
            room.members.extend(role.map(|role| (user, role)));
            room.mutes.extend(muted.map(|until| (user, until)));
            room.bans.extend(banned.map(|until| (user, until)));
        }
        room
    }

    pub fn standing(&self, user: UserId) -> Standing {
        Standing {
            role: self.role(user),
            muted: self.mutes.get(&user).copied(),
            banned: self.bans.get(&user).copied(),
        }
    }

    /// What it is or was, if it was ever created.
    pub fn record(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// What it is; nothing when it was never created, or deleted.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref().filter(|facts| !facts.deleted)
    }

    pub fn members(&self) -> impl ExactSizeIterator<Item = UserId> {
        self.members.keys().copied()
    }

    pub fn is_member(&self, user: UserId) -> bool {
        self.members.contains_key(&user)
    }

    /// What a member is; nothing for everybody else.
    pub fn role(&self, user: UserId) -> Option<Role> {
        let role = self.members.get(&user)?;
        let owns = |facts: &Facts| facts.owner == user && !facts.kind.is_direct();
        Some(if self.facts().is_some_and(owns) { Role::Owner } else { *role })
    }

    /// Until when somebody is banned at `now`.
    pub fn ban(&self, user: UserId, now: u64) -> Option<Option<u64>> {
        self.bans.get(&user).copied().filter(|until| holds(*until, now))
    }

    /// The same for one who is muted. An owner cannot be silenced.
    pub fn mute(&self, user: UserId, now: u64) -> Option<Option<u64>> {
        let mute = self.mutes.get(&user).copied().filter(|until| holds(*until, now))?;
        (self.role(user) != Some(Role::Owner)).then_some(mute)
    }

    pub fn invites(&self) -> impl Iterator<Item = (InviteId, &Invite)> {
        self.invites.iter().map(|(id, invite)| (*id, invite))
    }

    pub fn invite(&self, invite: InviteId) -> Option<&Invite> {
        self.invites.get(&invite)
    }

    /// Whether `user` may know that the room exists.
    pub fn is_visible_to(&self, user: UserId) -> bool {
        self.facts().is_some_and(|f| f.visibility == Visibility::Public) || self.is_member(user)
    }

    /// A member may read. Everyone else learns of a private room only that it is not found.
    pub fn authorise(&self, user: UserId) -> Result<(), Rejection> {
        self.member(user).map(|_| ())
    }

    /// Whether `user` may do this at `now`.
    pub fn permits(&self, user: UserId, action: Action, now: u64) -> Result<(), Rejection> {
        let (facts, role) = self.member(user)?;
        let asked = action.rule();
        if !action.is_for(role, facts.kind) {
            return Err(if facts.kind.is_direct() {
                Rejection::NotInDirect
            } else {
                Rejection::NotPermitted { role: asked.role }
            });
        }
        if facts.archived && !asked.archived {
            return Err(Rejection::Archived);
        }
        if facts.read_only && !asked.read_only && role < Role::Moderator {
            return Err(Rejection::ReadOnly);
        }
        match self.mute(user, now) {
            Some(until) if !asked.muted => Err(Rejection::Muted { until }),
            _ => Ok(()),
        }
    }

    fn member(&self, user: UserId) -> Result<(&Facts, Role), Rejection> {
        match (self.facts(), self.role(user)) {
            (Some(facts), Some(role)) => Ok((facts, role)),
            (Some(facts), None) if facts.visibility == Visibility::Public => Err(Rejection::NotMember),
            _ => Err(Rejection::NotFound),
        }
    }

    /// Folds one event. What makes no sense changes nothing, so that every reader of the log draws the same conclusion
    /// from it: events of a room that was never created or is deleted or direct, a second creation, the joining of one who
    /// is in it or is banned for good, a role for one who is not, the owner's removal by others, a room handed over by
    /// another than its owner.
    pub fn apply(&mut self, event: &Event) {
        if let (None, Event::Created { by, kind, name, visibility, members }) = (&self.facts, event) {
            self.facts = Some(Facts::new(*by, *kind, name.clone(), *visibility));
            self.members = members.iter().map(|member| (*member, Role::Member)).collect();
        }
        let stands = |facts: &&mut Facts| !facts.deleted && !facts.kind.is_direct();
        let Some(facts) = self.facts.as_mut().filter(stands) else { return };
        match event {
            Event::Created { .. } => {}
            Event::Changed { changes, .. } => facts.change(changes),
            Event::Archived { .. } => facts.archived = true,
            Event::Restored { .. } => facts.archived = false,
            Event::Deleted { .. } => {
                facts.deleted = true;
                let facts = self.facts.take();
                *self = Self { facts, ..Self::default() };
            }
            Event::MemberJoined { user, invite, .. } => self.join(*user, *invite),
            Event::MemberLeft { by, user, .. } => {
                if by == user || *user != facts.owner {
                    self.members.remove(user);
                }
            }
            Event::RoleChanged { by, user, role } => self.give(*by, *user, *role),
            Event::MemberMuted { user, until, .. } => {
                self.mutes.insert(*user, *until);
            }
            Event::MemberUnmuted { user, .. } => {
                self.mutes.remove(user);
            }
            Event::MemberBanned { user, until, .. } => {
                if *user != facts.owner {
                    self.members.remove(user);
                    self.bans.insert(*user, *until);
                }
            }
            Event::MemberUnbanned { user, .. } => {
                self.bans.remove(user);
            }
            Event::InviteCreated { by, invite, expires, uses_max } => {
                let new = Invite { by: *by, expires: *expires, uses_max: *uses_max, uses: 0 };
                self.invites.entry(*invite).or_insert(new);
            }
            Event::InviteRevoked { invite, .. } => {
                self.invites.remove(invite);
            }
        }
    }

    /// Whoever let in one who is banned until some time found that time to be over: it lifts the ban.
    fn join(&mut self, user: UserId, invite: Option<InviteId>) {
        if self.is_member(user) || self.bans.get(&user).is_some_and(Option::is_none) {
            return;
        }
        self.bans.remove(&user);
        self.members.insert(user, Role::Member);
        let Some(id) = invite else { return };
        if let Some(invite) = self.invites.get_mut(&id) {
            invite.uses += 1;
            if invite.uses_max.is_some_and(|max| invite.uses >= max) {
                self.invites.remove(&id);
            }
        }
    }

    fn give(&mut self, by: UserId, user: UserId, role: Role) {
        let Some(facts) = &mut self.facts else { return };
        if !self.members.contains_key(&user) || user == facts.owner {
            return;
        }
        if role < Role::Owner {
            self.members.insert(user, role);
        } else if by == facts.owner {
            facts.owner = user;
            if let Some(former) = self.members.get_mut(&by) {
                *former = Role::Admin;
            }
        }
    }
}

impl Facts {
    fn new(owner: UserId, kind: Kind, name: Option<RoomName>, visibility: Visibility) -> Self {
        Self {
            kind,
            name,
            visibility,
            owner,
            topic: None,
            description: None,
            avatar: None,
            slow_mode_s: 0,
            read_only: false,
            members_max: 0,
            archived: false,
            deleted: false,
        }
    }

    fn change(&mut self, changes: &Changes) {
        let Changes { name, topic, description, avatar, visibility, slow_mode_s, read_only, members_max } =
            changes.clone();
        self.name = name.or(self.name.take());
        if let Some(topic) = topic {
            self.topic = Some(topic).filter(|topic| !topic.as_str().is_empty());
        }
        if let Some(description) = description {
            self.description = Some(description).filter(|description| !description.as_str().is_empty());
        }
        if let Some(avatar) = avatar {
            self.avatar = Some(avatar).filter(|avatar| !avatar.as_str().is_empty());
        }
        self.visibility = visibility.unwrap_or(self.visibility);
        self.slow_mode_s = slow_mode_s.unwrap_or(self.slow_mode_s);
        self.read_only = read_only.unwrap_or(self.read_only);
        self.members_max = members_max.unwrap_or(self.members_max);
    }
}
