//! What somebody wants to be said: the same in a frame and over REST.

use natterjack_domain::{AttachmentId, MessageId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;
use utoipa::ToSchema;

/// Any JSON object; what it may hold is looked at later.
pub type JsonObject = Map<String, Value>;

/// A message before the server has looked at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// May be missing where the message bears attachments or `meta`; has to be where it is `forwarded`.
    #[serde(default)]
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The message that begins the thread in which this is a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Mentioned>,
    /// Structured content: an object of at most 4,096 bytes and 8 levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub meta: Option<JsonObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Original>,
    /// Files that were uploaded before, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentId>,
}

/// Whom a message calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct Mentioned {
    /// At most 50 members of the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<UserId>>,
    /// Everybody in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Everybody in the room who is online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<bool>,
}

/// The message to forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Original {
    pub room: RoomId,
    pub mid: MessageId,
}
