//! The stored form of events: public, versioned JSON.
//!
//! The bytes that [`StoredEvent::encode`] makes are what the log holds, what is republished, what Postgres
//! keeps and what stands as `e` in a client's frame. They are never rebuilt on the way. A golden file for
//! each version of each event stands in `crates/wire/tests/golden`.

mod rooms;

use bytes::Bytes;
use natterjack_domain::{
    ClientId, EventId, InviteId, MessageBody, MessageId, Reason, Role, RoomId, RoomName, UserId, Visibility,
    attachment::Attachment,
    message::{self, Emoji, Forwarded, Mentions, Meta},
    room::{self, Kind},
    user,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;
use utoipa::ToSchema;

pub use self::rooms::RoomChange;

/// The version that is written. Every version that was ever written can be read.
pub const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct StoredEvent {
    /// Version of the envelope and of the event in it.
    pub v: u8,
    pub id: EventId,
    /// Who caused it.
    pub by: UserId,
    #[serde(flatten)]
    pub body: EventBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "type")]
pub enum EventBody {
    #[serde(rename = "room.created")]
    RoomCreated {
        /// Empty in direct rooms.
        #[serde(with = "rooms::name")]
        #[ts(type = "string")]
        #[schema(value_type = String)]
        name: Option<RoomName>,
        visibility: Visibility,
        members: Vec<UserId>,
        /// `room` when missing.
        #[serde(default, skip_serializing_if = "rooms::is_room")]
        #[ts(optional, as = "Option<Kind>")]
        kind: Kind,
    },
    #[serde(rename = "room.changed")]
    RoomChanged(RoomChange),
    #[serde(rename = "room.archived")]
    RoomArchived,
    #[serde(rename = "room.restored")]
    RoomRestored,
    #[serde(rename = "room.deleted")]
    RoomDeleted,
    #[serde(rename = "room.member_joined")]
    MemberJoined {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        invite: Option<InviteId>,
    },
    #[serde(rename = "room.member_left")]
    MemberLeft {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "string")]
        #[schema(value_type = Option<String>)]
        reason: Option<Reason>,
    },
    #[serde(rename = "room.role_changed")]
    RoleChanged { user: UserId, role: Role },
    #[serde(rename = "room.member_muted")]
    MemberMuted {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        until: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "string")]
        #[schema(value_type = Option<String>)]
        reason: Option<Reason>,
    },
    #[serde(rename = "room.member_unmuted")]
    MemberUnmuted { user: UserId },
    #[serde(rename = "room.member_banned")]
    MemberBanned {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        until: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "string")]
        #[schema(value_type = Option<String>)]
        reason: Option<Reason>,
    },
    #[serde(rename = "room.member_unbanned")]
    MemberUnbanned { user: UserId },
    #[serde(rename = "room.invite_created")]
    InviteCreated {
        invite: InviteId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        expires: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        uses_max: Option<u32>,
    },
    #[serde(rename = "room.invite_revoked")]
    InviteRevoked { invite: InviteId },
    #[serde(rename = "message.posted")]
    MessagePosted {
        cid: ClientId,
        #[ts(type = "string")]
        #[schema(value_type = String)]
        body: MessageBody,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reply_to: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        thread: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Mentions::is_empty")]
        #[ts(optional, as = "Option<Mentions>")]
        mentions: Mentions,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "Record<string, unknown>")]
        #[schema(value_type = Option<Object>)]
        meta: Option<Meta>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        forwarded: Option<Forwarded>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[ts(optional, as = "Option<Vec<Attachment>>")]
        attachments: Vec<Attachment>,
    },
    #[serde(rename = "message.edited")]
    MessageEdited {
        mid: MessageId,
        #[ts(type = "string")]
        #[schema(value_type = String)]
        body: MessageBody,
        #[serde(default, skip_serializing_if = "Mentions::is_empty")]
        #[ts(optional, as = "Option<Mentions>")]
        mentions: Mentions,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "Record<string, unknown>")]
        #[schema(value_type = Option<Object>)]
        meta: Option<Meta>,
    },
    #[serde(rename = "message.recalled")]
    MessageRecalled { mid: MessageId },
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        mid: MessageId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "string")]
        #[schema(value_type = Option<String>)]
        reason: Option<Reason>,
    },
    #[serde(rename = "message.reacted")]
    MessageReacted {
        mid: MessageId,
        #[ts(type = "string")]
        #[schema(value_type = String)]
        emoji: Emoji,
        on: bool,
    },
    #[serde(rename = "message.pinned")]
    MessagePinned { mid: MessageId },
    #[serde(rename = "message.unpinned")]
    MessageUnpinned { mid: MessageId },
    #[serde(rename = "user.registered")]
    UserRegistered { username: String },
    #[serde(rename = "user.read")]
    UserRead {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
    },
}

/// The most frequent of events, read in half the time: the fields of the others need not be kept aside until the type is
/// known.
#[derive(Deserialize)]
struct StoredPosted {
    v: u8,
    id: EventId,
    by: UserId,
    cid: ClientId,
    body: MessageBody,
    #[serde(default)]
    reply_to: Option<MessageId>,
    #[serde(default)]
    thread: Option<MessageId>,
    #[serde(default)]
    mentions: Mentions,
    #[serde(default)]
    meta: Option<Meta>,
    #[serde(default)]
    forwarded: Option<Forwarded>,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

impl From<StoredPosted> for StoredEvent {
    fn from(stored: StoredPosted) -> Self {
        let StoredPosted { v, id, by, cid, body, reply_to, thread, mentions, meta, forwarded, attachments } =
            stored;
        let body =
            EventBody::MessagePosted { cid, body, reply_to, thread, mentions, meta, forwarded, attachments };
        Self { v, id, by, body }
    }
}

/// What an event means, in the words of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Room(room::Event),
    Message(message::Event),
    User(user::Event),
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("version {0} is newer than this program, which reads up to {VERSION}")]
    NewerVersion(u64),
    #[error("not a stored event")]
    Malformed(#[source] serde_json::Error),
}

impl StoredEvent {
    pub fn new(id: EventId, fact: &Fact) -> Self {
        let (by, body) = match fact {
            Fact::Room(event) => rooms::store(event),
            Fact::Message(event) => store_message(event),
            Fact::User(event) => store_user(event),
        };
        Self { v: VERSION, id, by, body }
    }

    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("an event is plain data").into()
    }

    /// Reads any version that was ever written and brings it up to [`VERSION`]. Total: any bytes give an
    /// event or an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Head<'a> {
            v: u64,
            #[serde(rename = "type", borrow, default)]
            kind: Option<&'a RawValue>,
        }
        // All of it, since all of it is sent on in text messages: what is skipped over would not be looked at.
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
        let Head { v, kind } = serde_json::from_str(text).map_err(DecodeError::Malformed)?;
        if v > VERSION.into() {
            return Err(DecodeError::NewerVersion(v));
        }
        if v == 0 {
            return Err(malformed(&"there is no version 0"));
        }
        let decoded = if kind.is_some_and(|kind| kind.get() == r#""message.posted""#) {
            serde_json::from_str::<StoredPosted>(text).map(Self::from)
        } else {
            serde_json::from_str(text)
        };
        decoded.map_err(DecodeError::Malformed)
    }

    pub fn fact(self) -> Fact {
        let by = self.by;
        match self.body {
            EventBody::RoomCreated { name, visibility, members, kind } => {
                Fact::Room(room::Event::Created { by, kind, name, visibility, members })
            }
            EventBody::RoomChanged(changes) => {
                Fact::Room(room::Event::Changed { by, changes: changes.into() })
            }
            EventBody::RoomArchived => Fact::Room(room::Event::Archived { by }),
            EventBody::RoomRestored => Fact::Room(room::Event::Restored { by }),
            EventBody::RoomDeleted => Fact::Room(room::Event::Deleted { by }),
            EventBody::MemberJoined { user, invite } => {
                Fact::Room(room::Event::MemberJoined { by, user, invite })
            }
            EventBody::MemberLeft { user, reason } => {
                Fact::Room(room::Event::MemberLeft { by, user, reason })
            }
            EventBody::RoleChanged { user, role } => Fact::Room(room::Event::RoleChanged { by, user, role }),
            EventBody::MemberMuted { user, until, reason } => {
                Fact::Room(room::Event::MemberMuted { by, user, until, reason })
            }
            EventBody::MemberUnmuted { user } => Fact::Room(room::Event::MemberUnmuted { by, user }),
            EventBody::MemberBanned { user, until, reason } => {
                Fact::Room(room::Event::MemberBanned { by, user, until, reason })
            }
            EventBody::MemberUnbanned { user } => Fact::Room(room::Event::MemberUnbanned { by, user }),
            EventBody::InviteCreated { invite, expires, uses_max } => {
                Fact::Room(room::Event::InviteCreated { by, invite, expires, uses_max })
            }
            EventBody::InviteRevoked { invite } => Fact::Room(room::Event::InviteRevoked { by, invite }),
            EventBody::MessagePosted {
                cid,
                body,
                reply_to,
                thread,
                mentions,
                meta,
                forwarded,
                attachments,
            } => {
                let id = MessageId::from_uuid(*self.id.as_uuid());
                Fact::Message(message::Event::Posted(message::Posted {
                    id,
                    by,
                    cid,
                    body,
                    reply_to,
                    thread,
                    mentions,
                    meta,
                    forwarded,
                    attachments,
                }))
            }
            EventBody::MessageEdited { mid: id, body, mentions, meta } => {
                Fact::Message(message::Event::Edited { id, by, body, mentions, meta })
            }
            EventBody::MessageRecalled { mid: id } => Fact::Message(message::Event::Recalled { id, by }),
            EventBody::MessageDeleted { mid: id, reason } => {
                Fact::Message(message::Event::Deleted { id, by, reason })
            }
            EventBody::MessageReacted { mid: id, emoji, on } => {
                Fact::Message(message::Event::Reacted { id, by, emoji, on })
            }
            EventBody::MessagePinned { mid: id } => Fact::Message(message::Event::Pinned { id, by }),
            EventBody::MessageUnpinned { mid: id } => Fact::Message(message::Event::Unpinned { id, by }),
            EventBody::UserRegistered { username } => {
                Fact::User(user::Event::Registered { id: by, username })
            }
            EventBody::UserRead { room, seq } => Fact::User(user::Event::Read { id: by, room, seq }),
        }
    }
}

fn malformed(why: &dyn std::fmt::Display) -> DecodeError {
    DecodeError::Malformed(serde::de::Error::custom(why))
}

fn store_message(event: &message::Event) -> (UserId, EventBody) {
    match event.clone() {
        message::Event::Posted(posted) => {
            let message::Posted {
                id: _,
                by,
                cid,
                body,
                reply_to,
                thread,
                mentions,
                meta,
                forwarded,
                attachments,
            } = posted;
            let body = EventBody::MessagePosted {
                cid,
                body,
                reply_to,
                thread,
                mentions,
                meta,
                forwarded,
                attachments,
            };
            (by, body)
        }
        message::Event::Edited { id: mid, by, body, mentions, meta } => {
            (by, EventBody::MessageEdited { mid, body, mentions, meta })
        }
        message::Event::Recalled { id: mid, by } => (by, EventBody::MessageRecalled { mid }),
        message::Event::Deleted { id: mid, by, reason } => (by, EventBody::MessageDeleted { mid, reason }),
        message::Event::Reacted { id: mid, by, emoji, on } => {
            (by, EventBody::MessageReacted { mid, emoji, on })
        }
        message::Event::Pinned { id: mid, by } => (by, EventBody::MessagePinned { mid }),
        message::Event::Unpinned { id: mid, by } => (by, EventBody::MessageUnpinned { mid }),
    }
}

fn store_user(event: &user::Event) -> (UserId, EventBody) {
    match event.clone() {
        user::Event::Registered { id, username } => (id, EventBody::UserRegistered { username }),
        user::Event::Read { id, room, seq } => (id, EventBody::UserRead { room, seq }),
    }
}
