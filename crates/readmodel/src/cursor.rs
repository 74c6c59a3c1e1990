//! Cursors: where a page ended, in a form that clients do not look into.
//!
//! Base64url (no padding) of: version, kind, the key of the last item, and four bytes by which a cursor that
//! was cut off or tampered with is told from a good one. They keep mistakes out, not attackers: a cursor
//! grants nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use natterjack_domain::{MessageId, RoomId, ScheduleId, UserId};
use uuid::Uuid;

const VERSION: u8 = 1;
const ID_LEN: usize = 16;
const CHECK_LEN: usize = 4;
/// Longer than any cursor: a room's name of 80 characters may grow when it is lowered.
const TEXT_MAX_LEN: usize = 2_048;

/// Not a cursor that this list gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid")]
pub struct CursorInvalid;

/// The key after which a page begins; each list has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    Rooms { after: RoomId },
    PublicRooms { name_key: String, after: RoomId },
    Members { joined_seq: i64, after: UserId },
    History { before_seq: i64 },
    Newer { after_seq: i64 },
    Replies { before_seq: i64 },
    Threads { before_seq: i64 },
    Versions { before_seq: i64 },
    People { key: String, after: UserId },
    Sanctions { after: UserId },
    Audit { before_seq: i64 },
    Drafts { room: RoomId, thread: MessageId },
    Saved { before_seq: i64 },
    Schedules { at: i64, after: ScheduleId },
    Seen { after: UserId },
    Followed { at: String, before: MessageId },
    Found(Place),
}

/// Where a page of what was found ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the search began, in microseconds since 1970: what is newer is on none of its pages, and age counts from then. The
    /// end of time where only time orders.
    pub at_us: i64,
    /// The bits of a number.
    pub score: u64,
    pub posted_us: i64,
    pub room: RoomId,
    pub mid: MessageId,
}

impl Cursor {
    pub fn encode(&self) -> String {
        let mut out = vec![VERSION];
        match self {
            Self::Rooms { after } => put(&mut out, b'r', after.as_uuid(), &[]),
            Self::PublicRooms { name_key, after } => {
                put(&mut out, b'q', after.as_uuid(), name_key.as_bytes());
            }
            Self::Members { joined_seq, after } => {
                put(&mut out, b'm', after.as_uuid(), &joined_seq.to_be_bytes());
            }
            Self::History { before_seq } => place(&mut out, b'h', *before_seq),
            Self::Newer { after_seq } => place(&mut out, b'n', *after_seq),
            Self::Replies { before_seq } => place(&mut out, b'a', *before_seq),
            Self::Threads { before_seq } => place(&mut out, b't', *before_seq),
            Self::Versions { before_seq } => place(&mut out, b'v', *before_seq),
            Self::People { key, after } => put(&mut out, b'p', after.as_uuid(), key.as_bytes()),
            Self::Sanctions { after } => put(&mut out, b's', after.as_uuid(), &[]),
            Self::Audit { before_seq } => place(&mut out, b'u', *before_seq),
            Self::Drafts { room, thread } => {
                put(&mut out, b'd', room.as_uuid(), thread.as_uuid().as_bytes());
            }
            Self::Saved { before_seq } => put(&mut out, b'k', &Uuid::nil(), &before_seq.to_be_bytes()),
            Self::Schedules { at, after } => put(&mut out, b'l', after.as_uuid(), &at.to_be_bytes()),
            Self::Followed { at, before } => put(&mut out, b'f', before.as_uuid(), at.as_bytes()),
            Self::Seen { after } => put(&mut out, b'w', after.as_uuid(), &[]),
            Self::Found(place) => put(&mut out, b'z', place.mid.as_uuid(), &place.rest()),
        }
        seal(out)
    }

    /// Total: any text gives a cursor or [`CursorInvalid`].
    pub fn decode(text: &str) -> Result<Self, CursorInvalid> {
        if text.len() > TEXT_MAX_LEN {
            return Err(CursorInvalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorInvalid)?;
        let (content, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(CursorInvalid)?;
        if checksum(content) != *check {
            return Err(CursorInvalid);
        }
        let [VERSION, kind, key @ ..] = content else { return Err(CursorInvalid) };
        let (id, rest) = key.split_first_chunk::<ID_LEN>().ok_or(CursorInvalid)?;
        let id = Uuid::from_bytes(*id);
        match kind {
            b'r' if rest.is_empty() => Ok(Self::Rooms { after: RoomId::from_uuid(id) }),
            b'q' => Ok(Self::PublicRooms { name_key: words(rest)?, after: RoomId::from_uuid(id) }),
            b'm' => Ok(Self::Members { joined_seq: sequence(rest)?, after: UserId::from_uuid(id) }),
            b'h' if id.is_nil() => Ok(Self::History { before_seq: sequence(rest)? }),
            b'n' if id.is_nil() => Ok(Self::Newer { after_seq: sequence(rest)? }),
            b'a' if id.is_nil() => Ok(Self::Replies { before_seq: sequence(rest)? }),
            b't' if id.is_nil() => Ok(Self::Threads { before_seq: sequence(rest)? }),
            b'v' if id.is_nil() => Ok(Self::Versions { before_seq: sequence(rest)? }),
            b'd' => Ok(Self::Drafts { room: RoomId::from_uuid(id), thread: message(rest)? }),
            b'k' if id.is_nil() => Ok(Self::Saved { before_seq: sequence(rest)? }),
            b'l' => Ok(Self::Schedules { at: sequence(rest)?, after: ScheduleId::from_uuid(id) }),
            b'f' => Ok(Self::Followed { at: words(rest)?, before: MessageId::from_uuid(id) }),
            b'w' if rest.is_empty() => Ok(Self::Seen { after: UserId::from_uuid(id) }),
            b'p' => Ok(Self::People { key: words(rest)?, after: UserId::from_uuid(id) }),
            b's' if rest.is_empty() => Ok(Self::Sanctions { after: UserId::from_uuid(id) }),
            b'u' if id.is_nil() => Ok(Self::Audit { before_seq: sequence(rest)? }),
            b'z' => Ok(Self::Found(Place::read(MessageId::from_uuid(id), rest)?)),
            _ => Err(CursorInvalid),
        }
    }
}

impl Place {
    fn rest(&self) -> Vec<u8> {
        let numbers = [self.at_us.to_be_bytes(), self.score.to_be_bytes(), self.posted_us.to_be_bytes()];
        [numbers.as_flattened(), self.room.as_uuid().as_bytes()].concat()
    }

    fn read(mid: MessageId, rest: &[u8]) -> Result<Self, CursorInvalid> {
        let (numbers, room) = rest.split_at_checked(24).ok_or(CursorInvalid)?;
        let number = |at: usize| sequence(&numbers[at..at + 8]);
        let room = RoomId::from_uuid(Uuid::from_slice(room).map_err(|_| CursorInvalid)?);
        let (at_us, score, posted_us) = (number(0)?, number(8)?.cast_unsigned(), number(16)?);
        Ok(Self { at_us, score, posted_us, room, mid })
    }
}

/// Content with its check, as text.
pub(crate) fn seal(mut content: Vec<u8>) -> String {
    let check = checksum(&content);
    content.extend(check);
    URL_SAFE_NO_PAD.encode(content)
}

fn put(out: &mut Vec<u8>, kind: u8, id: &Uuid, rest: &[u8]) {
    out.push(kind);
    out.extend(id.as_bytes());
    out.extend(rest);
}

/// A key that is a sequence and no more.
fn place(out: &mut Vec<u8>, kind: u8, seq: i64) {
    put(out, kind, &Uuid::nil(), &seq.to_be_bytes());
}

/// Postgres takes no NUL in a text.
fn words(bytes: &[u8]) -> Result<String, CursorInvalid> {
    let text = std::str::from_utf8(bytes).map_err(|_| CursorInvalid)?;
    if text.contains('\0') { Err(CursorInvalid) } else { Ok(text.to_owned()) }
}

fn sequence(bytes: &[u8]) -> Result<i64, CursorInvalid> {
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| CursorInvalid)
}

fn message(bytes: &[u8]) -> Result<MessageId, CursorInvalid> {
    bytes.try_into().map(|id| MessageId::from_uuid(Uuid::from_bytes(id))).map_err(|_| CursorInvalid)
}

/// FNV-1a, 32 bits.
fn checksum(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        let id = any::<u128>().prop_map(Uuid::from_u128);
        let text = "[^\\x00]{0,80}";
        prop_oneof![
            id.clone().prop_map(|id| Cursor::Rooms { after: RoomId::from_uuid(id) }),
            (text, id.clone())
                .prop_map(|(name_key, id)| Cursor::PublicRooms { name_key, after: RoomId::from_uuid(id) }),
            (any::<i64>(), id.clone())
                .prop_map(|(joined_seq, id)| Cursor::Members { joined_seq, after: UserId::from_uuid(id) }),
            any::<i64>().prop_map(|before_seq| Cursor::History { before_seq }),
            any::<i64>().prop_map(|after_seq| Cursor::Newer { after_seq }),
            any::<i64>().prop_map(|before_seq| Cursor::Replies { before_seq }),
            any::<i64>().prop_map(|before_seq| Cursor::Threads { before_seq }),
            any::<i64>().prop_map(|before_seq| Cursor::Versions { before_seq }),
            any::<i64>().prop_map(|before_seq| Cursor::Audit { before_seq }),
            id.clone().prop_map(|id| Cursor::Sanctions { after: UserId::from_uuid(id) }),
            (text, id.clone()).prop_map(|(key, id)| Cursor::People { key, after: UserId::from_uuid(id) }),
            (id.clone(), id.clone()).prop_map(|(room, thread)| Cursor::Drafts {
                room: RoomId::from_uuid(room),
                thread: MessageId::from_uuid(thread),
            }),
            any::<i64>().prop_map(|before_seq| Cursor::Saved { before_seq }),
            (any::<i64>(), id.clone())
                .prop_map(|(at, id)| Cursor::Schedules { at, after: ScheduleId::from_uuid(id) }),
            (text, id.clone()).prop_map(|(at, id)| Cursor::Followed { at, before: MessageId::from_uuid(id) }),
            id.clone().prop_map(|id| Cursor::Seen { after: UserId::from_uuid(id) }),
            (any::<(i64, u64, i64)>(), id.clone(), id).prop_map(|((at_us, score, posted_us), room, mid)| {
                let (room, mid) = (RoomId::from_uuid(room), MessageId::from_uuid(mid));
                Cursor::Found(Place { at_us, score, posted_us, room, mid })
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(cursor in cursors()) {
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Cursor::decode(&text);
            let _ = Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes));
        }

        #[test]
        fn well_formed_bytes_of_no_meaning_are_refused_or_read(kind in any::<u8>(), rest in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = vec![VERSION, kind];
            bytes.extend(rest);
            let check = checksum(&bytes);
            bytes.extend(check);
            if let Ok(cursor) = Cursor::decode(&URL_SAFE_NO_PAD.encode(&bytes)) {
                prop_assert_eq!(cursor.encode(), URL_SAFE_NO_PAD.encode(&bytes));
            }
        }

        #[test]
        fn a_changed_cursor_is_refused(cursor in cursors(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let good = cursor.encode();
            let at = at.index(good.len());
            let bad = format!("{}{to}{}", &good[..at], &good[at + 1..]);
            prop_assume!(bad != good);
            prop_assert_eq!(Cursor::decode(&bad), Err(CursorInvalid));
            prop_assert_eq!(Cursor::decode(&good[..at]), Err(CursorInvalid));
        }
    }
}
