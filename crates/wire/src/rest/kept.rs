//! What people keep for themselves.

use natterjack_domain::{
    MessageId, RoomId, ScheduleId, UserId,
    message::Mentions,
    user::{DoNotDisturb, NotifyLevel},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Message;
use crate::{draft::Mentioned, frame::Position};

/// A change to what the asker keeps was stored; `position` is where in the stream of the asker's feed. Its `seq` is passed
/// as `at_least` to reads that must see it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedChanged {
    pub position: Position,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnreadRequest {
    /// What follows this sequence is unread again.
    pub seq: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AllRead {
    /// Rooms in which something was unread.
    pub rooms: u64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationsRequest {
    pub level: NotifyLevel,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Notifications {
    pub level: NotifyLevel,
    pub as_of: Position,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Quiet {
    #[serde(flatten)]
    pub dnd: DoNotDisturb,
    pub as_of: Position,
}

/// What was begun and not sent yet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UnsentDraft {
    pub room: RoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<MessageId>,
    pub body: String,
    pub saved_at: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DraftList {
    pub items: Vec<UnsentDraft>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SavedMessage {
    /// As it is now.
    pub message: Message,
    pub saved_at: String,
}

/// The message that was saved last comes first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SavedList {
    pub items: Vec<SavedMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// Milliseconds since 1970: not past, and at most a year ahead.
    pub at: u64,
    pub body: String,
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    #[serde(default)]
    pub thread: Option<MessageId>,
    #[serde(default)]
    pub mentions: Option<Mentioned>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    pub id: ScheduleId,
    pub room: RoomId,
    pub at: u64,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Mentions::is_empty")]
    #[schema(value_type = Option<Mentions>)]
    pub mentions: Mentions,
    pub stage: ScheduleStage,
    /// Why it could not be sent: an error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleStage {
    Pending,
    /// Its time has come, and it is being sent.
    Begun,
    Failed,
}

/// By time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    pub items: Vec<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleChanged {
    pub id: ScheduleId,
    pub position: Position,
}

/// Who has read a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SeenBy {
    pub user: UserId,
    /// Up to where this person has read the room.
    pub seq: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SeenList {
    pub items: Vec<SeenBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// A thread that the asker follows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FollowedThread {
    /// The message that began it.
    pub root: Message,
    /// Replies after the asker's read mark in the thread.
    pub unread: u64,
    /// Sequence up to which the asker has read the thread.
    pub read_seq: u64,
}

/// The thread that was replied to last comes first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FollowedList {
    pub items: Vec<FollowedThread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// The first message after the asker's read mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirstUnread {
    pub seq: u64,
    pub mid: MessageId,
}
