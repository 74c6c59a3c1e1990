//! What is said.

use natterjack_domain::{
    ClientId, MessageId, RoomId, UserId,
    attachment::Attachment,
    message::{Forwarded, Mentions},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    draft::{JsonObject, Mentioned},
    frame::Position,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    pub id: MessageId,
    pub room: RoomId,
    pub seq: u64,
    pub author: UserId,
    pub cid: ClientId,
    /// Missing when the message was recalled or deleted; empty when it says something without words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The message that began the thread in which this is a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Mentions::is_empty")]
    #[schema(value_type = Option<Mentions>)]
    pub mentions: Mentions,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub meta: Option<JsonObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<Attachment>>)]
    pub attachments: Vec<Attachment>,
    /// RFC 3339, UTC.
    pub posted_at: String,
    /// Time of the last edit that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
    /// Sequence of that edit: the message's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_seq: Option<u64>,
    /// When its author took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recalled_at: Option<String>,
    /// A moderator removed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
    /// In the order in which each was used first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<Reaction>>)]
    pub reactions: Vec<Reaction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
    /// The thread that it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies: Option<ThreadSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    pub by: UserId,
    pub at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    pub emoji: String,
    pub count: u64,
    /// The first ten of them.
    pub users: Vec<UserId>,
    /// Whether the asker is one of them.
    pub me: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pinned {
    pub by: UserId,
    pub at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThreadSummary {
    /// Replies ever posted, recalled ones too.
    pub count: u64,
    pub last_seq: u64,
    pub last_at: String,
    /// The first five people who replied.
    pub participants: Vec<UserId>,
}

/// A page of history, oldest message first. Replies in threads are left out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageList {
    pub items: Vec<Message>,
    /// What was done to the room between the oldest of these messages and the page before, in its order; at most 500, the
    /// newest.
    #[serde(default)]
    pub notices: Vec<super::Notice>,
    /// Leads to the page of older messages; missing at the beginning of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Leads to the page of newer messages; missing where the page holds the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer: Option<String>,
    pub as_of: Position,
}

/// A thread: the message that began it, and a page of its replies, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Thread {
    pub root: Message,
    pub items: Vec<Message>,
    /// Leads to the page of older replies; missing at the beginning of the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// The messages of a room that began threads, the one that was replied to last first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ThreadList {
    pub items: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// The pinned messages of a room, the one that was pinned last first: at most 100.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PinList {
    pub items: Vec<Message>,
    pub as_of: Position,
}

/// What a message said, from `seq` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    pub seq: u64,
    pub at: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "Mentions::is_empty")]
    #[schema(value_type = Option<Mentions>)]
    pub mentions: Mentions,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub meta: Option<JsonObject>,
}

/// What a message said, the newest version first; one version when it was never edited, none when it is gone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    pub items: Vec<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// A message was stored; `position` is where.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageSent {
    pub id: MessageId,
    pub room: RoomId,
    pub cid: ClientId,
    pub position: Position,
}

/// What a message is to say from now on. Mentions and meta that it does not repeat are gone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    pub body: String,
    #[serde(default)]
    pub mentions: Option<Mentioned>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub meta: Option<JsonObject>,
}

/// A change of a message was stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageChanged {
    pub id: MessageId,
    pub room: RoomId,
    /// Where; missing where nothing had to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}
