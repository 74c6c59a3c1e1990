//! Values that are parsed once at the edge and trusted inside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest room name, in characters.
pub const ROOM_NAME_MAX_CHARS: usize = 80;
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
}

/// A room's name: one line of 1–80 characters without surrounding white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

/// A message's text: 1–8,000 characters, tabs and line feeds but no other control character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageBody(String);

impl RoomName {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = text.trim();
        check(text, ROOM_NAME_MAX_CHARS, char::is_control)?;
        Ok(Self(text.into()))
    }
}

impl MessageBody {
    /// Keeps the text as it is, but for white space at its end.
    pub fn parse(text: &str, max_chars: usize) -> Result<Self, InvalidText> {
        let text = text.trim_end();
        let forbidden = |c: char| c.is_control() && c != '\n' && c != '\t';
        check(text, max_chars.min(MESSAGE_BODY_MAX_CHARS), forbidden)?;
        Ok(Self(text.into()))
    }
}

fn check(text: &str, max_chars: usize, forbidden: fn(char) -> bool) -> Result<(), InvalidText> {
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
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                $parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(RoomName, RoomName::parse);
text!(MessageBody, |text| MessageBody::parse(text, MESSAGE_BODY_MAX_CHARS));

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
