//! The stored form of events: public, versioned JSON.
//!
//! The bytes that [`StoredEvent::encode`] makes are what the log holds, what is republished, what Postgres
//! keeps and what stands as `e` in a client's frame. They are never rebuilt on the way. A golden file for
//! each version of each event stands in `crates/wire/tests/golden`.

mod rooms;

use bytes::Bytes;
use natterjack_domain::{
    ClientId, EventId, InviteId, MessageBody, MessageId, Reason, Role, RoomId, RoomName, ScheduleId, UserId,
    Visibility,
    attachment::Attachment,
    message::{self, Emoji, Forwarded, Mentions, Meta},
    profile::{Avatar, Bio, Nickname, Profile, Status},
    room::{self, Kind},
    user::{
        self, DoNotDisturb, NotifyLevel,
        schedule::{self, Plan},
    },
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
    /// The whole profile as it is from now on: what is missing is not set.
    #[serde(rename = "user.profile_changed")]
    #[ts(optional_fields)]
    UserProfileChanged {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "string")]
        #[schema(value_type = Option<String>)]
        nickname: Option<Nickname>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "string")]
        #[schema(value_type = Option<String>)]
        avatar: Option<Avatar>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(type = "string")]
        #[schema(value_type = Option<String>)]
        bio: Option<Bio>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
    },
    #[serde(rename = "user.deactivated")]
    UserDeactivated {},
    #[serde(rename = "user.read")]
    UserRead {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
    },
    #[serde(rename = "user.marked_unread")]
    UserMarkedUnread {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
    },
    #[serde(rename = "user.thread_read")]
    UserThreadRead {
        room: RoomId,
        thread: MessageId,
        #[ts(type = "number")]
        seq: u64,
    },
    #[serde(rename = "user.thread_followed")]
    UserThreadFollowed { room: RoomId, thread: MessageId, on: bool },
    #[serde(rename = "user.delivered")]
    UserDelivered {
        room: RoomId,
        #[ts(type = "number")]
        seq: u64,
    },
    /// Without `body` there is no draft any more.
    #[serde(rename = "user.draft_saved")]
    UserDraftSaved {
        room: RoomId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        thread: Option<MessageId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, as = "Option<String>")]
        #[schema(value_type = Option<String>)]
        body: Option<MessageBody>,
    },
    #[serde(rename = "user.message_saved")]
    UserMessageSaved { room: RoomId, mid: MessageId, on: bool },
    #[serde(rename = "user.notify_changed")]
    UserNotifyChanged { room: RoomId, level: NotifyLevel },
    #[serde(rename = "user.dnd_changed")]
    UserDndChanged { dnd: DoNotDisturb },
    #[serde(rename = "user.scheduled")]
    UserScheduled {
        sid: ScheduleId,
        room: RoomId,
        #[ts(type = "number")]
        at: u64,
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
    },
    #[serde(rename = "user.schedule_begun")]
    UserScheduleBegun { sid: ScheduleId },
    #[serde(rename = "user.schedule_cancelled")]
    UserScheduleCancelled { sid: ScheduleId },
    #[serde(rename = "user.schedule_sent")]
    UserScheduleSent {
        sid: ScheduleId,
        #[ts(type = "number")]
        seq: u64,
    },
    #[serde(rename = "user.schedule_failed")]
    UserScheduleFailed { sid: ScheduleId, code: u16 },
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

    #[expect(clippy::too_many_lines, reason = "an arm for each type of event")]
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
            EventBody::UserProfileChanged { nickname, avatar, bio, status } => {
                let profile = Profile { nickname, avatar, bio, status };
                Fact::User(user::Event::ProfileChanged { id: by, profile })
            }
            EventBody::UserDeactivated {} => Fact::User(user::Event::Deactivated { id: by }),
            EventBody::UserRead { room, seq } => Fact::User(user::Event::Read { id: by, room, seq }),
            EventBody::UserMarkedUnread { room, seq } => {
                Fact::User(user::Event::MarkedUnread { id: by, room, seq })
            }
            EventBody::UserThreadRead { room, thread, seq } => {
                Fact::User(user::Event::ThreadRead { id: by, room, thread, seq })
            }
            EventBody::UserThreadFollowed { room, thread, on } => {
                Fact::User(user::Event::ThreadFollowed { id: by, room, thread, on })
            }
            EventBody::UserDelivered { room, seq } => {
                Fact::User(user::Event::Delivered { id: by, room, seq })
            }
            EventBody::UserDraftSaved { room, thread, body } => {
                Fact::User(user::Event::DraftSaved { id: by, room, thread, body })
            }
            EventBody::UserMessageSaved { room, mid, on } => {
                Fact::User(user::Event::MessageSaved { id: by, room, mid, on })
            }
            EventBody::UserNotifyChanged { room, level } => {
                Fact::User(user::Event::NotifyChanged { id: by, room, level })
            }
            EventBody::UserDndChanged { dnd } => Fact::User(user::Event::DndChanged { id: by, dnd }),
            EventBody::UserScheduled { sid, room, at, body, reply_to, thread, mentions } => {
                let plan = Plan { room, at, body, reply_to, thread, mentions };
                schedule(by, sid, schedule::Event::Scheduled { plan })
            }
            EventBody::UserScheduleBegun { sid } => schedule(by, sid, schedule::Event::Begun),
            EventBody::UserScheduleCancelled { sid } => schedule(by, sid, schedule::Event::Cancelled),
            EventBody::UserScheduleSent { sid, seq } => schedule(by, sid, schedule::Event::Sent { seq }),
            EventBody::UserScheduleFailed { sid, code } => {
                schedule(by, sid, schedule::Event::Failed { code })
            }
        }
    }
}

fn schedule(id: UserId, sid: ScheduleId, event: schedule::Event) -> Fact {
    Fact::User(user::Event::Schedule { id, sid, event })
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
        user::Event::ProfileChanged { id, profile: Profile { nickname, avatar, bio, status } } => {
            (id, EventBody::UserProfileChanged { nickname, avatar, bio, status })
        }
        user::Event::Deactivated { id } => (id, EventBody::UserDeactivated {}),
        user::Event::Read { id, room, seq } => (id, EventBody::UserRead { room, seq }),
        user::Event::MarkedUnread { id, room, seq } => (id, EventBody::UserMarkedUnread { room, seq }),
        user::Event::ThreadRead { id, room, thread, seq } => {
            (id, EventBody::UserThreadRead { room, thread, seq })
        }
        user::Event::ThreadFollowed { id, room, thread, on } => {
            (id, EventBody::UserThreadFollowed { room, thread, on })
        }
        user::Event::Delivered { id, room, seq } => (id, EventBody::UserDelivered { room, seq }),
        user::Event::DraftSaved { id, room, thread, body } => {
            (id, EventBody::UserDraftSaved { room, thread, body })
        }
        user::Event::MessageSaved { id, room, mid, on } => {
            (id, EventBody::UserMessageSaved { room, mid, on })
        }
        user::Event::NotifyChanged { id, room, level } => (id, EventBody::UserNotifyChanged { room, level }),
        user::Event::DndChanged { id, dnd } => (id, EventBody::UserDndChanged { dnd }),
        user::Event::Schedule { id, sid, event } => (id, store_schedule(sid, event)),
    }
}

fn store_schedule(sid: ScheduleId, event: schedule::Event) -> EventBody {
    match event {
        schedule::Event::Scheduled { plan: Plan { room, at, body, reply_to, thread, mentions } } => {
            EventBody::UserScheduled { sid, room, at, body, reply_to, thread, mentions }
        }
        schedule::Event::Begun => EventBody::UserScheduleBegun { sid },
        schedule::Event::Cancelled => EventBody::UserScheduleCancelled { sid },
        schedule::Event::Sent { seq } => EventBody::UserScheduleSent { sid, seq },
        schedule::Event::Failed { code } => EventBody::UserScheduleFailed { sid, code },
    }
}
