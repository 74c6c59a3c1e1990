//! The one registry of typed ids.
//!
//! Every id is a UUID. In JSON, in subjects and in SQL it is written in lower-case hyphenated form
//! (36 characters). A typed id never converts silently into another one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// Text that is not a UUID in hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID in hyphenated form")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "std::borrow::Cow<'_, str>")]
        #[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
        #[cfg_attr(feature = "schema", ts(as = "String"), schema(value_type = String, format = Uuid))]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, ordered by the time of its making (UUIDv7, RFC 9562).
            pub fn random() -> Self {
                Self(Uuid::now_v7())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The logical partition of this id, 0–63: the low six bits, which are random in every UUID
            /// version that is used here. Part of the stored subjects: it never changes.
            pub const fn partition(&self) -> u8 {
                self.0.as_bytes()[15] & 0x3f
            }

            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // `Uuid` also reads braces and URN forms: one id has one spelling here.
                if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl TryFrom<std::borrow::Cow<'_, str>> for $name {
            type Error = InvalidId;

            fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

ids! {
    /// A person's account.
    UserId,
    /// A room.
    RoomId,
    /// A message.
    MessageId,
    /// A stored event.
    EventId,
    /// What a client calls its own request, so that a repeat of it is recognised.
    ClientId,
    /// One login on one device; the family of its refresh tokens.
    SessionId,
    /// An invite: a digest of its token, which only those know to whom it was given.
    InviteId,
    /// A file that a message may bear.
    AttachmentId,
    /// A message that is to be sent later.
    ScheduleId,
}

impl MessageId {
    /// No message's id.
    pub const NONE: Self = Self(Uuid::nil());

    /// The id of the message that `author` sends to `room` as `cid`.
    ///
    /// Deterministic (UUIDv5), so that a repeat of the same send is the same message on any front
    /// and after any time, without a look-up.
    pub fn derive(room: RoomId, author: UserId, cid: ClientId) -> Self {
        Self(derive(room.0, author, cid, ""))
    }
}

impl ClientId {
    /// What `person` calls a request of the idempotency key `key`, so that a repeat of it is the same request.
    pub fn derive(person: UserId, key: &str) -> Self {
        Self(Uuid::new_v5(person.as_uuid(), key.as_bytes()))
    }
}

impl EventId {
    /// The id of the event by which `actor` changes a message, by the request `cid` of the kind `kind`.
    pub fn of_change(message: MessageId, actor: UserId, cid: ClientId, kind: &str) -> Self {
        Self(derive(message.0, actor, cid, kind))
    }
}

impl From<MessageId> for EventId {
    /// The event that posts a message bears the message's id.
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

impl RoomId {
    /// The room that `owner` creates with the idempotency key `key`: a repeated request names the same room.
    pub fn derive(owner: UserId, key: &str) -> Self {
        Self(Uuid::new_v5(owner.as_uuid(), key.as_bytes()))
    }

    /// The room between two people, the same from either side.
    pub fn direct(a: UserId, b: UserId) -> Self {
        Self::among(&[a, b])
    }

    /// The room among these people, in whatever order they are named.
    pub fn among(people: &[UserId]) -> Self {
        /// Apart from every other room's id.
        const SPACE: Uuid = Uuid::from_u128(0x8b0f_5d0e_53b4_4b1c_9a51_6d2f_6c1e_70aa);
        let mut people = people.to_vec();
        people.sort_unstable();
        people.dedup();
        let bytes: Vec<u8> = people.iter().flat_map(|user| *user.0.as_bytes()).collect();
        Self(Uuid::new_v5(&SPACE, &bytes))
    }
}

impl ScheduleId {
    /// What `author` has sent later with the idempotency key `key`: a repeated request names the same.
    pub fn derive(author: UserId, key: &str) -> Self {
        Self(Uuid::new_v5(author.as_uuid(), &[b"schedule", key.as_bytes()].concat()))
    }
}

fn derive(space: Uuid, actor: UserId, cid: ClientId, kind: &str) -> Uuid {
    Uuid::new_v5(&space, &[actor.0.as_bytes(), cid.0.as_bytes(), kind.as_bytes()].concat())
}

impl InviteId {
    /// The id of the invite whose token has this SHA-256 digest (version 8: 122 bits of it).
    pub fn of_digest(digest: [u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_room_is_the_same_from_either_side_and_nobody_elses() {
        let (a, b, c) = (UserId::random(), UserId::random(), UserId::random());
        assert_eq!(RoomId::direct(a, b), RoomId::direct(b, a));
        assert_eq!(RoomId::direct(a, b), RoomId::among(&[b, a, b]));
        assert_ne!(RoomId::direct(a, b), RoomId::direct(a, c));
        assert_eq!(RoomId::among(&[a, b, c]), RoomId::among(&[c, a, b]));
        assert_ne!(RoomId::among(&[a, b, c]), RoomId::direct(a, b));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = RoomId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            String::new(),
            id.to_string().to_uppercase(),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            id.to_string().replace('-', ""),
            "*".into(),
        ] {
            assert_eq!(bad.parse::<RoomId>(), Err(InvalidId), "{bad}");
        }
    }

    #[test]
    fn a_repeated_send_is_the_same_message_and_another_room_another() {
        let (room, author, cid) = (RoomId::random(), UserId::random(), ClientId::random());
        let id = MessageId::derive(room, author, cid);
        assert_eq!(id, MessageId::derive(room, author, cid));
        assert_ne!(id, MessageId::derive(RoomId::random(), author, cid));
        assert_ne!(id, MessageId::derive(room, UserId::random(), cid));
        let edit = EventId::of_change(id, author, cid, "edit");
        assert_eq!(edit, EventId::of_change(id, author, cid, "edit"));
        assert_ne!(edit, EventId::of_change(id, author, cid, "recall"));
        assert_ne!(edit, EventId::of_change(MessageId::random(), author, cid, "edit"));
        assert_ne!(edit, EventId::from(id));
    }
}
