//! Rooms and their members.

use natterjack_domain::{InviteId, Role, RoomId, UserId, Visibility, room::Kind, user::NotifyLevel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FirstUnread, Message, Person};
use crate::{event::StoredEvent, frame::Position};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoomRequest {
    /// 1–80 characters.
    pub name: String,
    pub visibility: Visibility,
    /// People to add besides oneself.
    #[serde(default)]
    pub members: Vec<UserId>,
}

/// Whom to talk with: one makes a direct room, more a group of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenDirectRequest {
    pub users: Vec<UserId>,
}

/// What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRoomRequest {
    /// 1–80 characters.
    pub name: Option<String>,
    /// One line of at most 250 characters; an empty one takes it away.
    pub topic: Option<String>,
    /// At most 2,000 characters; an empty one takes it away.
    pub description: Option<String>,
    /// At most 100 letters, digits, dots, hyphens and underscores; an empty one takes it away.
    pub avatar: Option<String>,
    pub visibility: Option<Visibility>,
    /// Seconds between two messages of one member below a moderator; 0 for no limit.
    pub slow_mode_s: Option<u32>,
    /// Only moderators and above write.
    pub read_only: Option<bool>,
    /// No fewer than are in it; 0 for as many as any room may have.
    pub members_max: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMemberRequest {
    pub user: UserId,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRoleRequest {
    /// `owner` hands over the room: who gives it away is an admin then.
    pub role: Role,
}

/// Until when and why somebody is muted or banned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SanctionRequest {
    /// Milliseconds since 1970; for good when missing.
    pub until: Option<u64>,
    /// One line of 1–500 characters.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    #[serde(flatten)]
    pub person: Person,
    pub role: Role,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    pub items: Vec<Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// That somebody is muted or banned, or was until a time that has passed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Sanction {
    #[serde(flatten)]
    pub person: Person,
    /// Milliseconds since 1970; for good when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub by: UserId,
    /// RFC 3339, UTC.
    pub at: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SanctionList {
    pub items: Vec<Sanction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInviteRequest {
    /// Milliseconds since 1970; never when missing.
    pub expires: Option<u64>,
    /// So many may join by it; any number when missing.
    pub uses_max: Option<u32>,
}

/// The token is shown this once: neither the log nor any table holds it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InviteCreated {
    pub token: String,
    pub invite: InviteId,
    pub position: Position,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    pub id: InviteId,
    pub by: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
    pub uses: u32,
    /// Whether somebody can join by it now.
    pub valid: bool,
}

/// All invites that were neither revoked nor used up: their number is bounded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InviteList {
    pub items: Vec<Invite>,
}

/// What an invite leads to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitePreview {
    pub room: RoomId,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    pub member_count: u64,
    pub invited_by: UserId,
    /// Whether the asker is a member already.
    pub joined: bool,
}

/// A change of a room, as the log has it: who (`e.by`) did what (`e.type`) to whom (`e.user`), why (`e.reason`) and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    pub seq: u64,
    /// RFC 3339, UTC.
    pub ts: String,
    pub e: StoredEvent,
}

/// What was done to a room, the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    pub items: Vec<Notice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// A change to a room was stored; `position` is where, to be passed as `at_least` to reads that must see it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomChanged {
    pub room: RoomId,
    pub position: Position,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoomSummary {
    pub id: RoomId,
    pub kind: Kind,
    /// Empty in direct rooms, which bear the names of the others.
    pub name: String,
    /// In direct rooms: the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
    pub visibility: Visibility,
    pub owner: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Seconds between two messages of one member below a moderator; 0 for no limit.
    pub slow_mode_s: u64,
    pub read_only: bool,
    /// 0 for as many as any room may have.
    pub members_max: u64,
    pub archived: bool,
    /// What the asker is in it; missing for those who are not members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    pub member_count: u64,
    /// Whether the asker is a member.
    pub joined: bool,
    /// Messages after the asker's read mark; 0 for those who are not members.
    pub unread: u64,
    /// Those of them that name the asker, or call everybody.
    pub mentions: u64,
    /// Sequence up to which the asker has read.
    pub read_seq: u64,
    /// Of the unread messages, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_unread: Option<FirstUnread>,
    /// What the asker is told of.
    pub notify: NotifyLevel,
    /// In a room of two: up to where the other one has read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_read_seq: Option<u64>,
    /// In a room of two: up to where it has reached the other one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_delivered_seq: Option<u64>,
    /// Sequence of the room's last event.
    pub head: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
    /// The position that this summary reflects: follow the room from here.
    pub as_of: Position,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomList {
    pub items: Vec<RoomSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
