//! State events of rooms.

use natterjack_domain::{
    AvatarId, RoomDescription, RoomName, RoomTopic, UserId, Visibility,
    room::{Changes, Event, Kind},
};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use super::EventBody;

/// What has changed of a room; what is missing has not. An empty text and a 0 take away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[ts(optional_fields)]
pub struct RoomChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "string")]
    #[schema(value_type = Option<String>)]
    pub name: Option<RoomName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "string")]
    #[schema(value_type = Option<String>)]
    pub topic: Option<RoomTopic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "string")]
    #[schema(value_type = Option<String>)]
    pub description: Option<RoomDescription>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "string")]
    #[schema(value_type = Option<String>)]
    pub avatar: Option<AvatarId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// Seconds between two messages of one member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_mode_s: Option<u32>,
    /// Only moderators and above write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Most members of this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_max: Option<u32>,
}

/// A room's name; an empty text where it has none.
pub(super) mod name {
    use super::{Deserialize, RoomName, Serialize};

    #[expect(clippy::ref_option, reason = "what serde hands over")]
    pub fn serialize<S: serde::Serializer>(name: &Option<RoomName>, to: S) -> Result<S::Ok, S::Error> {
        name.as_ref().map_or("", RoomName::as_str).serialize(to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<RoomName>, D::Error> {
        match String::deserialize(from)? {
            empty if empty.is_empty() => Ok(None),
            text => RoomName::try_from(text).map(Some).map_err(serde::de::Error::custom),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde hands over")]
pub(super) fn is_room(kind: &Kind) -> bool {
    *kind == Kind::Room
}

impl From<RoomChange> for Changes {
    fn from(change: RoomChange) -> Self {
        let RoomChange { name, topic, description, avatar, visibility, slow_mode_s, read_only, members_max } =
            change;
        Self { name, topic, description, avatar, visibility, slow_mode_s, read_only, members_max }
    }
}

impl From<Changes> for RoomChange {
    fn from(changes: Changes) -> Self {
        let Changes { name, topic, description, avatar, visibility, slow_mode_s, read_only, members_max } =
            changes;
        Self { name, topic, description, avatar, visibility, slow_mode_s, read_only, members_max }
    }
}

pub(super) fn store(event: &Event) -> (UserId, EventBody) {
    match event.clone() {
        Event::Created { by, kind, name, visibility, members } => {
            (by, EventBody::RoomCreated { name, visibility, members, kind })
        }
        Event::Changed { by, changes } => (by, EventBody::RoomChanged(changes.into())),
        Event::Archived { by } => (by, EventBody::RoomArchived),
        Event::Restored { by } => (by, EventBody::RoomRestored),
        Event::Deleted { by } => (by, EventBody::RoomDeleted),
        Event::MemberJoined { by, user, invite } => (by, EventBody::MemberJoined { user, invite }),
        Event::MemberLeft { by, user, reason } => (by, EventBody::MemberLeft { user, reason }),
        Event::RoleChanged { by, user, role } => (by, EventBody::RoleChanged { user, role }),
        Event::MemberMuted { by, user, until, reason } => {
            (by, EventBody::MemberMuted { user, until, reason })
        }
        Event::MemberUnmuted { by, user } => (by, EventBody::MemberUnmuted { user }),
        Event::MemberBanned { by, user, until, reason } => {
            (by, EventBody::MemberBanned { user, until, reason })
        }
        Event::MemberUnbanned { by, user } => (by, EventBody::MemberUnbanned { user }),
        Event::InviteCreated { by, invite, expires, uses_max } => {
            (by, EventBody::InviteCreated { invite, expires, uses_max })
        }
        Event::InviteRevoked { by, invite } => (by, EventBody::InviteRevoked { invite }),
    }
}
