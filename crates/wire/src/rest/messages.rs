//! What is said.

use natterjack_domain::{ClientId, MessageId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::frame::Position;

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
