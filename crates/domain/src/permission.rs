//! Who may do what in a room: one table, by the role of who asks and the kind of the room.
//!
//! `docs/permissions.md` is made from it; a test holds the two equal. [`crate::room::Room::permits`] asks it, together
//! with what holds for one person or one room at a time: muted, read-only, archived.

use serde::{Deserialize, Serialize};

/// What a room is for. Never changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
#[cfg_attr(feature = "schema", ts(rename = "RoomKind"), schema(as = RoomKind))]
pub enum Kind {
    /// People come and go; they have roles.
    #[default]
    Room,
    /// Of two people: there is one for each pair.
    Direct,
    /// Of a few people: there is one for each set of them.
    GroupDirect,
}

/// What a member is in a room of the kind [`Kind::Room`], the lowest first. In the other kinds everybody is a member and
/// nobody has a rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum Role {
    #[default]
    Member,
    Moderator,
    Admin,
    /// There is always one.
    Owner,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Room, Self::Direct, Self::GroupDirect];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Direct => "direct",
            Self::GroupDirect => "group_direct",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it is between the people that it was made for, who stay as they are.
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::GroupDirect)
    }
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Moderator, Self::Member];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Member => "member",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What an action asks for.
#[expect(clippy::struct_excessive_bools, reason = "the columns of a table")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The lowest role that may do it in a room.
    pub role: Role,
    /// Whether everybody may in direct rooms, or nobody.
    pub direct: bool,
    /// Whether one who is muted may.
    pub muted: bool,
    /// Whether those below a moderator may in a read-only room.
    pub read_only: bool,
    /// Whether it can be done in an archived room.
    pub archived: bool,
}

macro_rules! word {
    (yes) => {
        true
    };
    (no) => {
        false
    };
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident $text:literal $role:ident $direct:ident $muted:ident $read_only:ident $archived:ident;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $action),* }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$action),*];

            /// What it is, in the words of the documentation.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$action => $text),* }
            }

            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$action => Rule {
                        role: Role::$role,
                        direct: word!($direct),
                        muted: word!($muted),
                        read_only: word!($read_only),
                        archived: word!($archived),
                    }),*
                }
            }
        }
    };
}

// Action, what it is, and: the lowest role; in direct rooms; while muted; in read-only rooms; in archived rooms.
actions! {
    Read "read, follow, search, mark as read" Member yes yes yes yes;
    Post "send, write, forward into, send later" Member yes no no no;
    /// One's own messages, as all of these.
    Edit "edit one's own message" Member yes no no no;
    Recall "recall one's own message" Member yes yes yes no;
    React "react" Member yes no yes no;
    Pin "pin and unpin messages" Moderator yes no yes no;
    MentionAll "mention everybody at once" Moderator yes no no no;
    DeleteMessage "delete the messages of others" Moderator no yes yes no;
    AddMember "add people" Member no no yes no;
    CreateInvite "make, list and revoke invites" Moderator no yes yes no;
    RemoveMember "remove people" Moderator no yes yes no;
    Mute "mute and unmute" Moderator no yes yes no;
    Ban "ban and unban" Moderator no yes yes no;
    SetRole "give and take roles" Admin no yes yes no;
    HandOver "hand over the room" Owner no yes yes no;
    Change "change name, topic, description, avatar, visibility, capacity, slow mode, read-only" Admin no yes yes no;
    /// And to restore it.
    Archive "archive and restore" Admin no yes yes yes;
    Delete "delete the room" Owner no yes yes yes;
    Audit "read the audit log" Moderator no yes yes yes;
    Leave "leave" Member no yes yes no;
}

impl Action {
    /// Whether those of `role` may do it in a room of `kind`, as long as nothing else stands against it.
    pub fn is_for(self, role: Role, kind: Kind) -> bool {
        let asked = self.rule();
        if kind.is_direct() { asked.direct } else { role >= asked.role }
    }
}
