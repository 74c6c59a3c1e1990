//! How a person shows oneself to all others.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::values::{InvalidText, check, text};

pub const NICKNAME_MAX_CHARS: usize = 50;
pub const AVATAR_MAX_CHARS: usize = 100;
pub const BIO_MAX_CHARS: usize = 500;
pub const STATUS_MAX_CHARS: usize = 100;
/// One that is seen as one sign may be made of many: a family of four, a flag of a country's part.
pub const EMOJI_MAX_CHARS: usize = 16;
/// Beyond it a browser does not count exactly.
pub const TIME_MAX_MS: u64 = (1 << 53) - 1;

/// The name that is shown: one line of 1–50 characters without surrounding white space. Others may have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nickname(String);

/// Names a picture: 1–100 visible ASCII characters that mean nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Avatar(String);

/// 1–500 characters, tabs and line feeds but no other control character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bio(String);

/// One line of 1–100 characters without surrounding white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusText(String);

/// 1–16 characters without white space; whether they are an emoji is the clients' business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusEmoji(String);

/// What a person is about for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
#[cfg_attr(feature = "schema", ts(optional_fields))]
pub struct Status {
    #[cfg_attr(feature = "schema", ts(type = "string"), schema(value_type = String))]
    pub text: StatusText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(type = "string"), schema(value_type = Option<String>))]
    pub emoji: Option<StatusEmoji>,
    /// When it ends, in milliseconds since 1970; without it, never by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub until: Option<u64>,
}

/// All that others may know of a person besides the user name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<Nickname>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<Bio>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What becomes of each part of a profile: `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub nickname: Option<Option<Nickname>>,
    pub avatar: Option<Option<Avatar>>,
    pub bio: Option<Option<Bio>>,
    pub status: Option<Option<Status>>,
}

impl Nickname {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        line(text, NICKNAME_MAX_CHARS).map(Self)
    }
}

impl Avatar {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check(text, AVATAR_MAX_CHARS, |c| !c.is_ascii_graphic())?;
        Ok(Self(text.into()))
    }
}

impl Bio {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = text.trim_end();
        check(text, BIO_MAX_CHARS, |c| c.is_control() && c != '\n' && c != '\t')?;
        Ok(Self(text.into()))
    }
}

impl StatusText {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        line(text, STATUS_MAX_CHARS).map(Self)
    }
}

impl StatusEmoji {
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check(text, EMOJI_MAX_CHARS, |c| c.is_control() || c.is_whitespace())?;
        Ok(Self(text.into()))
    }
}

fn line(text: &str, max_chars: usize) -> Result<String, InvalidText> {
    let text = text.trim();
    check(text, max_chars, char::is_control)?;
    Ok(text.into())
}

text!(Nickname, Nickname::parse);
text!(Avatar, Avatar::parse);
text!(Bio, Bio::parse);
text!(StatusText, StatusText::parse);
text!(StatusEmoji, StatusEmoji::parse);

impl Status {
    /// Whether it has ended at `now`, in milliseconds since 1970.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.until.is_some_and(|until| until <= now_ms)
    }
}

impl Profile {
    /// The profile with `change`; `None` when it comes to the same.
    pub fn decide(&self, change: Change) -> Option<Self> {
        let changed = Self {
            nickname: change.nickname.unwrap_or_else(|| self.nickname.clone()),
            avatar: change.avatar.unwrap_or_else(|| self.avatar.clone()),
            bio: change.bio.unwrap_or_else(|| self.bio.clone()),
            status: change.status.unwrap_or_else(|| self.status.clone()),
        };
        (changed != *self).then_some(changed)
    }
}

/// A name as it is looked for: letters that differ in case, width or composition only are the same.
pub fn search_key(name: &str) -> String {
    name.trim().nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_profile_has_its_bounds() {
        use InvalidText::{ControlCharacter, Empty, TooLong};
        let nickname = |text: &str| Nickname::parse(text).map(String::from);
        assert_eq!(nickname("  Ada Λ 的 "), Ok("Ada Λ 的".into()));
        assert!(nickname(&"的".repeat(50)).is_ok());
        assert_eq!(nickname(&"x".repeat(51)), Err(TooLong { max_chars: 50 }));
        assert_eq!((nickname(" \u{3000}"), nickname("a\nb")), (Err(Empty), Err(ControlCharacter('\n'))));
        let avatar = |text: &str| Avatar::parse(text).map(String::from);
        assert!(avatar(&"x".repeat(100)).is_ok());
        assert_eq!(avatar(&"x".repeat(101)), Err(TooLong { max_chars: 100 }));
        assert_eq!((avatar("a b"), avatar("é")), (Err(ControlCharacter(' ')), Err(ControlCharacter('é'))));
        let bio = |text: &str| Bio::parse(text).map(String::from);
        assert_eq!(bio(" a\n\tb \n"), Ok(" a\n\tb".into()));
        assert_eq!(
            (bio(&"x".repeat(501)), bio("\0x")),
            (Err(TooLong { max_chars: 500 }), Err(ControlCharacter('\0')))
        );
        assert!(StatusText::parse(&"x".repeat(100)).is_ok() && StatusText::parse(&"x".repeat(101)).is_err());
        let emoji = |text: &str| StatusEmoji::parse(text).is_ok();
        assert!(emoji("🐸") && emoji("👨‍👩‍👧‍👦") && !emoji("") && !emoji("a b") && !emoji(&"x".repeat(17)));
    }

    #[test]
    fn a_change_leaves_sets_and_takes_away_and_none_is_none() {
        let nickname = |text| Nickname::parse(text).unwrap();
        let status = Status { text: StatusText::parse("away").unwrap(), emoji: None, until: Some(7) };
        let before =
            Profile { nickname: Some(nickname("Ada")), status: Some(status.clone()), ..Profile::default() };
        assert_eq!(before.decide(Change::default()), None);
        assert_eq!(
            before.decide(Change { nickname: Some(Some(nickname("Ada"))), ..Change::default() }),
            None
        );
        let change = Change { nickname: Some(None), bio: Some(Bio::parse("x").ok()), ..Change::default() };
        let after = before.decide(change).unwrap();
        assert_eq!((after.nickname, after.bio.is_some(), after.status.as_ref()), (None, true, Some(&status)));
        assert!(
            status.is_over(7) && !status.is_over(6) && !Status { until: None, ..status }.is_over(u64::MAX)
        );
    }

    #[test]
    fn names_are_looked_for_without_regard_to_case_width_and_composition() {
        for (one, other) in
            [("Ada", "aDA"), ("ＡＤＡ１", "ada1"), ("ｶﾞ", "ガ"), ("e\u{301}", "É"), (" x ", "x")]
        {
            assert_eq!(search_key(one), search_key(other), "{one} {other}");
        }
        assert_ne!(search_key("ada"), search_key("adä"));
        for name in ["ß", "ﬃ", "İ", "Ａ的"] {
            assert_eq!(search_key(&search_key(name)), search_key(name), "{name}");
        }
    }
}
