//! Rooms and their members.

use natterjack_domain::{RoomId, UserId, Visibility};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Message;
use crate::frame::Position;

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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMemberRequest {
    pub user: UserId,
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
    pub name: String,
    pub visibility: Visibility,
    pub owner: UserId,
    pub member_count: u64,
    /// Whether the asker is a member.
    pub joined: bool,
    /// Messages after the asker's read mark; 0 for those who are not members.
    pub unread: u64,
    /// Sequence up to which the asker has read.
    pub read_seq: u64,
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
