//! Values that are parsed once at the edge and trusted inside.

use serde::{Deserialize, Serialize};

/// Longest room name, in characters.
pub const ROOM_NAME_MAX_CHARS: usize = 80;
/// Longest topic, description and reason, in characters.
pub const ROOM_TOPIC_MAX_CHARS: usize = 250;
pub const ROOM_DESCRIPTION_MAX_CHARS: usize = 2_000;
pub const REASON_MAX_CHARS: usize = 500;
pub const AVATAR_MAX_CHARS: usize = 100;
/// Longest message, in characters. An installation may configure less, never more.
pub const MESSAGE_BODY_MAX_CHARS: usize = 8_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("the text is empty")]
    Empty,
    #[error("the text is longer than {max_chars} characters")]
    TooLong { max_chars: usize },
    #[error("the text contains the control character U+{:04X}", *.0 as u32)]
    ControlCharacter(char),
    #[error("an avatar is named by letters, digits, dots, hyphens and underscores")]
    NotAnAvatar,
}

/// A room's name: one line of 1–80 characters without surrounding white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

/// What a room is about: one line of at most 250 characters; an empty one is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomTopic(String);

/// What a room is for: at most 2,000 characters with line feeds; an empty one is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomDescription(String);

/// Why somebody did something to another: one line of 1–500 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// Names a picture, and is no address of one: at most 100 letters, digits, dots, hyphens and underscores; an empty one is
/// none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AvatarId(String);

/// A message's text: 1–8,000 characters, tabs and line feeds but no other control character. The empty one, its default,
/// is for messages that say something without words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageBody(String);

impl RoomName {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = text.trim();
        check(text, ROOM_NAME_MAX_CHARS, char::is_control)?;
        Ok(Self(text.into()))
    }
}

impl RoomTopic {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        optional(text.trim(), ROOM_TOPIC_MAX_CHARS, char::is_control).map(Self)
    }
}

impl RoomDescription {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        optional(text.trim_end(), ROOM_DESCRIPTION_MAX_CHARS, is_no_text).map(Self)
    }
}

impl Reason {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = text.trim();
        check(text, REASON_MAX_CHARS, char::is_control)?;
        Ok(Self(text.into()))
    }
}

impl AvatarId {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(InvalidText::NotAnAvatar);
        }
        optional(text, AVATAR_MAX_CHARS, char::is_control).map(Self)
    }
}

fn optional(text: &str, max_chars: usize, forbidden: fn(char) -> bool) -> Result<String, InvalidText> {
    match check(text, max_chars, forbidden) {
        Ok(()) => Ok(text.into()),
        Err(InvalidText::Empty) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Control characters but for those that lines are made of.
fn is_no_text(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

impl MessageBody {
    /// Keeps the text as it is, but for white space at its end.
    pub fn parse(text: &str, max_chars: usize) -> Result<Self, InvalidText> {
        let text = text.trim_end();
        check(text, max_chars.min(MESSAGE_BODY_MAX_CHARS), is_no_text)?;
        Ok(Self(text.into()))
    }

    /// What is stored: the text of any message.
    fn stored(text: &str) -> Result<Self, InvalidText> {
        if text.is_empty() { Ok(Self::default()) } else { Self::parse(text, MESSAGE_BODY_MAX_CHARS) }
    }
}

pub(crate) fn check(text: &str, max_chars: usize, forbidden: fn(char) -> bool) -> Result<(), InvalidText> {
    if text.trim().is_empty() {
        return Err(InvalidText::Empty);
    }
    // A character takes at most four bytes: a huge text is refused without counting it.
    if text.len() > max_chars * 4 || text.chars().count() > max_chars {
        return Err(InvalidText::TooLong { max_chars });
    }
    match text.chars().find(|c| forbidden(*c)) {
        Some(c) => Err(InvalidText::ControlCharacter(c)),
        None => Ok(()),
    }
}

/// Who can find and join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum Visibility {
    /// Listed; anybody joins.
    Public,
    /// Not listed; members add people.
    Private,
}

impl Visibility {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

macro_rules! text {
    ($name:ident, $parse:expr) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::values::InvalidText;

            fn try_from(text: String) -> Result<Self, $crate::values::InvalidText> {
                $parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text;

text!(RoomName, RoomName::parse);
text!(RoomTopic, RoomTopic::parse);
text!(RoomDescription, RoomDescription::parse);
text!(Reason, Reason::parse);
text!(AvatarId, AvatarId::parse);
text!(MessageBody, MessageBody::stored);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_is_one_trimmed_line() {
        assert_eq!(RoomName::parse("  Lobby ").map(String::from), Ok("Lobby".into()));
        assert_eq!(RoomName::parse(" \u{3000} "), Err(InvalidText::Empty));
        assert_eq!(RoomName::parse("a\nb"), Err(InvalidText::ControlCharacter('\n')));
        assert!(RoomName::parse(&"的".repeat(80)).is_ok());
        assert_eq!(RoomName::parse(&"的".repeat(81)), Err(InvalidText::TooLong { max_chars: 80 }));
    }

    #[test]
    fn what_a_room_is_about_may_be_taken_away_and_a_picture_is_no_address() {
        assert_eq!(RoomTopic::parse("  ").map(String::from), Ok(String::new()));
        assert_eq!(RoomTopic::parse(" frogs ").map(String::from), Ok("frogs".into()));
        assert_eq!(RoomTopic::parse("a\nb"), Err(InvalidText::ControlCharacter('\n')));
        assert_eq!(RoomDescription::parse("a\nb").map(String::from), Ok("a\nb".into()));
        assert_eq!(
            RoomDescription::parse(&"x".repeat(2_001)),
            Err(InvalidText::TooLong { max_chars: 2_000 })
        );
        assert_eq!(Reason::parse(" "), Err(InvalidText::Empty));
        assert_eq!(AvatarId::parse("a1.B-2_c").map(String::from), Ok("a1.B-2_c".into()));
        assert_eq!(AvatarId::parse("").map(String::from), Ok(String::new()));
        for bad in ["http://x", "a/b", "a b", "é"] {
            assert_eq!(AvatarId::parse(bad), Err(InvalidText::NotAnAvatar), "{bad}");
        }
        assert_eq!(AvatarId::parse(&"x".repeat(101)), Err(InvalidText::TooLong { max_chars: 100 }));
    }

    #[test]
    fn a_message_keeps_its_lines_and_refuses_what_cannot_be_stored() {
        let body = MessageBody::parse("  a\n\tb \n", 10).map(String::from);
        assert_eq!(body, Ok("  a\n\tb".into()));
        assert_eq!(MessageBody::parse("a\0b", 10), Err(InvalidText::ControlCharacter('\0')));
        assert_eq!(MessageBody::parse(&"x".repeat(11), 10), Err(InvalidText::TooLong { max_chars: 10 }));
        assert_eq!(
            MessageBody::parse(&"x".repeat(1 << 20), usize::MAX >> 3),
            Err(InvalidText::TooLong { max_chars: MESSAGE_BODY_MAX_CHARS })
        );
    }
}
