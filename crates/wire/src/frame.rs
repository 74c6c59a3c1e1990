//! Frames of the WebSocket protocol `natterjack.v1`; see `docs/protocol.md`.
//!
//! One text message is one frame or an array of frames. Unknown fields and unknown types are an error from
//! a client and are ignored by a client.

use natterjack_domain::{
    AttachmentId, ClientId, MessageId, RoomId, UserId,
    presence::{Availability, Presence},
    profile::Status,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;
use utoipa::ToSchema;

use crate::{
    draft::{JsonObject, Mentioned, Original},
    error::ErrorCode,
    event::StoredEvent,
};

/// The sub-protocol that a client may offer in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "natterjack.v1";
/// Most frames in one array.
pub const BATCH_MAX_FRAMES: usize = 64;
/// Most people whose presence a connection is told of; an installation may configure less.
pub const WATCH_MAX: usize = 200;
/// Most missed events that one `sub` asks for.
pub const SUB_LIMIT_MAX: u32 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
#[ts(optional_fields)]
pub enum ClientFrame {
    /// Says who is there; the first frame. `token` may be left out where the request bore an
    /// `Authorization` header. `resume` asks for the person's own feed after `seq`.
    Hello {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Name and version of the client, for the operator's eyes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Position>,
    },
    /// Renews the access token.
    Auth {
        #[ts(type = "number")]
        id: u64,
        token: String,
    },
    /// Follows a room. With `after` and `epoch`, from that position on; else from now.
    Sub {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "number")]
        after: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<String>,
        /// Most missed events wanted, at most 500 (the default).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    Unsub {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
    },
    Send {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        /// A UUID that the client makes; a repeat with the same `cid` is the same message.
        cid: ClientId,
        /// May be missing where the message bears something else: see [`crate::draft::Draft`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Mentioned>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "Record<string, unknown>")]
        #[schema(value_type = Option<Object>)]
        meta: Option<JsonObject>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forwarded: Option<Original>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attachments: Option<Vec<AttachmentId>>,
    },
    /// Says all anew: mentions and meta that it does not repeat are gone.
    Edit {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        /// Names this edit, so that a repeat of it is recognised.
        cid: ClientId,
        body: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Mentioned>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "Record<string, unknown>")]
        #[schema(value_type = Option<Object>)]
        meta: Option<JsonObject>,
    },
    /// Takes a message of one's own back.
    Recall {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
    },
    /// Removes somebody else's message, as a moderator.
    Delete {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    React {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
        /// One character as people see it, or a `:name:`.
        emoji: String,
        on: bool,
    },
    Pin {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
    },
    Unpin {
        #[ts(type = "number")]
        id: u64,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
    },
    /// The person has read the room, or a thread of it, up to `seq`. Not answered, but for errors.
    Read {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
        /// The message that began the thread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<MessageId>,
    },
    /// What a room of two holds up to `seq` has reached this device. Not answered, but for errors.
    Delivered {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
    },
    /// What the person has written so far and not sent; no text for nothing. Not answered, but for errors.
    Draft {
        room: RoomId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<MessageId>,
        body: String,
    },
    /// The person began or stopped to write. Not answered, but for errors.
    Typing { room: RoomId, on: bool },
    /// How present the person is on this device, which is `online` until it says otherwise; and whose presence it wants to
    /// be told of, at most 200 people, in place of those it named before. Each may be left out. Not answered, but for
    /// errors; what is known of those watched follows in `eph`.
    Presence {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<Availability>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<Vec<UserId>>,
    },
    /// Answered by `ok` with `n` as its `id`.
    Ping {
        #[ts(type = "number")]
        n: u64,
    },
}

impl ClientFrame {
    /// The number that the answer repeats; frames that get no answer have none.
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::Auth { id, .. }
            | Self::Sub { id, .. }
            | Self::Unsub { id, .. }
            | Self::Send { id, .. }
            | Self::Edit { id, .. }
            | Self::Recall { id, .. }
            | Self::Delete { id, .. }
            | Self::React { id, .. }
            | Self::Pin { id, .. }
            | Self::Unpin { id, .. } => Some(*id),
            Self::Ping { n } => Some(*n),
            Self::Hello { .. }
            | Self::Read { .. }
            | Self::Delivered { .. }
            | Self::Draft { .. }
            | Self::Typing { .. }
            | Self::Presence { .. } => None,
        }
    }

    /// Its type, `t`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Auth { .. } => "auth",
            Self::Sub { .. } => "sub",
            Self::Unsub { .. } => "unsub",
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Recall { .. } => "recall",
            Self::Delete { .. } => "delete",
            Self::React { .. } => "react",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::Read { .. } => "read",
            Self::Delivered { .. } => "delivered",
            Self::Draft { .. } => "draft",
            Self::Typing { .. } => "typing",
            Self::Presence { .. } => "presence",
            Self::Ping { .. } => "ping",
        }
    }
}

/// A place in a stream. Sequences of different epochs cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    pub epoch: String,
    #[ts(type = "number")]
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, ToSchema)]
#[serde(tag = "t", rename_all = "lowercase")]
#[ts(optional_fields)]
pub enum ServerFrame {
    Welcome(Welcome),
    Ok(Reply),
    Err {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        code: u16,
        title: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    /// An event of a room; see [`event_prefix`] for how it is made.
    Ev(RoomEvent),
    /// An event of the person's own feed.
    U(FeedEvent),
    /// What is not stored.
    Eph(Ephemeral),
    /// What the client knows of `room` (or of its feed, without `room`) cannot be continued: it
    /// takes a fresh snapshot.
    Reset {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
        epoch: String,
        reason: ResetReason,
    },
    /// The connection is about to close; the close code says whether to come back.
    Bye {
        code: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, ToSchema)]
pub struct Welcome {
    pub conn: String,
    pub node: String,
    pub user: UserId,
    /// Epoch of the stream that holds the person's feed, and the last sequence of the feed there.
    pub epoch: String,
    #[ts(type = "number")]
    pub seq: u64,
    /// Whether `resume` was met: what was missed follows in `u` frames.
    pub recovered: bool,
    /// The server's clock in milliseconds since 1970.
    #[ts(type = "number")]
    pub now: u64,
    /// A client that is silent for twice as long is taken for dead.
    #[ts(type = "number")]
    pub heartbeat_ms: u64,
    pub limits: ClientLimits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, ToSchema)]
pub struct ClientLimits {
    #[ts(type = "number")]
    pub frame_bytes: usize,
    #[ts(type = "number")]
    pub message_chars: usize,
    #[ts(type = "number")]
    pub subscriptions: usize,
}

/// The answer to a request; which fields are there depends on the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, TS, ToSchema)]
#[ts(optional_fields)]
pub struct Reply {
    #[ts(type = "number")]
    pub id: u64,
    /// `send` and changes of a message: where the log holds the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// `send`: the message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid: Option<MessageId>,
    /// `sub`, `unsub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// `sub`: the epoch of the room's stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// `sub`: events up to this sequence are sent now, later ones as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    /// `sub`: whether everything after `after` follows. If not, following begins at `head`, and what lies
    /// before is to be had from a fresh snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, ToSchema)]
pub struct RoomEvent {
    pub room: RoomId,
    #[ts(type = "number")]
    pub seq: u64,
    /// Sequence of the room's event before this one; 0 before the first, and where the server has read this event back
    /// from the log and vouches that nothing is missing before it.
    #[ts(type = "number")]
    pub prev: u64,
    /// When the log stored it (RFC 3339, UTC).
    pub ts: String,
    /// `null` for an event that no front wrote and none can vouch for.
    pub e: Option<StoredEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, ToSchema)]
pub struct FeedEvent {
    #[ts(type = "number")]
    pub seq: u64,
    #[ts(type = "number")]
    pub prev: u64,
    pub ts: String,
    pub e: Option<StoredEvent>,
}

/// What is sent without being stored, also between nodes. Every field may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[ts(optional_fields)]
pub struct Ephemeral {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<Typing>>")]
    pub typing: Vec<Typing>,
    /// Up to where people have read the room: of each person that read something a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<Reached>>")]
    pub reads: Vec<Reached>,
    /// In a room of two: up to where it has reached the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<Reached>>")]
    pub delivered: Vec<Reached>,
    /// Of those whom the connection watches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<Seen>>")]
    pub presence: Vec<Seen>,
    /// To one person: this room of theirs appeared, changed or went away; `seq` is the event that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Typing {
    pub user: UserId,
    pub on: bool,
}

/// How present somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[ts(optional_fields)]
pub struct Seen {
    pub user: UserId,
    pub state: Presence,
    /// Since when, in milliseconds since 1970, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "number")]
    pub since: Option<u64>,
    /// The person's status, where it has just changed; `null` when it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    #[ts(optional, type = "Status | null")]
    #[schema(value_type = Option<Status>)]
    pub status: Option<Option<Status>>,
}

/// Tells `null` from what is missing.
pub(crate) fn some<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Reached {
    pub user: UserId,
    #[ts(type = "number")]
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Membership {
    pub room: RoomId,
    #[ts(type = "number")]
    pub seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// More was missed than is sent again.
    GapTooLarge,
    /// The log is another one than the client knew.
    EpochChanged,
    /// An event turned up late, after others that follow it were sent.
    LateEvent,
    /// The person is no longer a member.
    NotMember,
}

/// Why a connection was closed. 4000–4499: come back; 4500–4999: do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    Drain = 4001,
    Slow = 4002,
    Heartbeat = 4003,
    Unavailable = 4004,
    Authentication = 4501,
    Protocol = 4502,
    Banned = 4503,
}

impl CloseCode {
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// Why a message from a client holds no frame that can be acted on; `id` where it could be made out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    pub id: Option<u64>,
    pub code: ErrorCode,
    pub detail: String,
}

/// Reads the frames of one text message. Total: any text gives, in its order, frames and errors. An array is
/// taken apart first, so that one bad frame does not spoil its neighbours.
pub fn parse(text: &str) -> Vec<Result<ClientFrame, Malformed>> {
    if !text.trim_start().starts_with('[') {
        return vec![parse_one(text)];
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Err(error) => vec![Err(malformed(None, &error))],
        Ok(frames) if frames.len() > BATCH_MAX_FRAMES => vec![Err(Malformed {
            id: None,
            code: ErrorCode::BatchTooLong,
            detail: format!("{} frames; at most {BATCH_MAX_FRAMES}", frames.len()),
        })],
        Ok(frames) => frames.into_iter().map(|f| parse_one(f.get())).collect(),
    }
}

fn parse_one(text: &str) -> Result<ClientFrame, Malformed> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<u64>,
    }
    serde_json::from_str(text).map_err(|error| {
        let id = serde_json::from_str::<OnlyId>(text).ok().and_then(|only| only.id);
        malformed(id, &error)
    })
}

fn malformed(id: Option<u64>, error: &serde_json::Error) -> Malformed {
    Malformed { id, code: ErrorCode::FrameMalformed, detail: error.to_string() }
}

/// What stands before the stored bytes in an `ev` frame; [`EVENT_SUFFIX`] stands after them. `ts` is the
/// log's own time stamp, which holds nothing that JSON would escape.
pub fn event_prefix(out: &mut Vec<u8>, room: RoomId, seq: u64, prev: u64, ts: &str) {
    use std::io::Write;
    write!(out, r#"{{"t":"ev","room":"{room}","seq":{seq},"prev":{prev},"ts":"{ts}","e":"#)
        .expect("writing to memory");
}

/// The same for a `u` frame.
pub fn feed_prefix(out: &mut Vec<u8>, seq: u64, prev: u64, ts: &str) {
    use std::io::Write;
    write!(out, r#"{{"t":"u","seq":{seq},"prev":{prev},"ts":"{ts}","e":"#).expect("writing to memory");
}

pub const EVENT_SUFFIX: &[u8] = b"}";
