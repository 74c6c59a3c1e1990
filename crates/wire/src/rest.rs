//! Bodies of the REST interface.

use natterjack_domain::{ClientId, MessageId, RoomId, SessionId, UserId, Visibility};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::frame::Position;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// 3–32 of `a–z 0–9 . _ -`, beginning with a letter; capitals are folded.
    pub username: String,
    #[serde(default)]
    pub email: Option<String>,
    /// 8–256 bytes.
    pub password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// User name or e-mail address.
    pub login: String,
    pub password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    pub refresh_token: String,
}

/// A session has begun or goes on. Each refresh token works once.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginResponse {
    pub user: UserId,
    pub username: String,
    pub session: SessionId,
    pub access_token: String,
    pub expires_in_secs: u64,
    pub refresh_token: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Person {
    pub id: UserId,
    pub username: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonList {
    pub items: Vec<Person>,
    /// Passed as `cursor`, gives the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    pub id: MessageId,
    pub room: RoomId,
    pub seq: u64,
    pub author: UserId,
    pub cid: ClientId,
    /// Missing when the message was recalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// RFC 3339, UTC.
    pub posted_at: String,
    /// Time of the last edit that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recalled_at: Option<String>,
}

/// A page of history, oldest message first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageList {
    pub items: Vec<Message>,
    /// Leads to the page of older messages; missing at the beginning of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}
