//! What people type in, checked once.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

/// A person's unique name: 3 to 32 of `a-z 0-9 . _ -`, beginning with a letter. Capitals become small letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

/// Why a text is no [`Username`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    #[error("a username has {} to {} characters", Username::MIN_CHARS, Username::MAX_CHARS)]
    Length,
    #[error("a username begins with a letter and holds only a-z, 0-9, '.', '_' and '-'")]
    Characters,
}

impl Username {
    pub const MIN_CHARS: usize = 3;
    pub const MAX_CHARS: usize = 32;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(text: &str) -> Result<Self, InvalidUsername> {
        if text.chars().nth(Self::MAX_CHARS).is_some() || text.chars().count() < Self::MIN_CHARS {
            return Err(InvalidUsername::Length);
        }
        let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !letter || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(InvalidUsername::Characters);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address that looks like one; whether it exists shows only when mail is sent. Kept as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// A text that is no [`Email`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address of at most {} bytes", Email::MAX_BYTES)]
pub struct InvalidEmail;

impl Email {
    /// RFC 5321, 4.5.3.1.3.
    pub const MAX_BYTES: usize = 254;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        if text.len() > Self::MAX_BYTES || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidEmail);
        }
        let (person, host) = text.split_once('@').ok_or(InvalidEmail)?;
        let labels = host.split('.').all(|label| {
            let fits = |c: char| c.is_alphanumeric() || c == '-';
            !label.is_empty() && label.chars().all(fits) && !label.starts_with('-') && !label.ends_with('-')
        });
        if person.is_empty() || person.len() > 64 || !labels {
            return Err(InvalidEmail);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A phone number as E.164 writes it: `+`, then 7 to 15 digits, the first of which is not 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// A text that is no [`Phone`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is '+', then 7 to 15 digits that begin with the country's")]
pub struct InvalidPhone;

impl Phone {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Phone {
    type Err = InvalidPhone;

    fn from_str(text: &str) -> Result<Self, InvalidPhone> {
        let digits = text.strip_prefix('+').ok_or(InvalidPhone)?;
        let fits = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if fits && !digits.starts_with('0') { Ok(Self(text.to_owned())) } else { Err(InvalidPhone) }
    }
}

/// A language tag (BCP 47) of at most 35 characters, such as `zh-Hans-CN`. Only its form is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Locale(String);

/// A text that is no [`Locale`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a locale is a language tag such as en or zh-Hans, of at most {} characters", Locale::MAX_CHARS)]
pub struct InvalidLocale;

impl Locale {
    pub const MAX_CHARS: usize = 35;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Locale {
    type Err = InvalidLocale;

    fn from_str(text: &str) -> Result<Self, InvalidLocale> {
        let subtag =
            |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
        let (language, _) = text.split_once('-').unwrap_or((text, ""));
        let is_language =
            (2..=8).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic());
        if text.len() <= Self::MAX_CHARS && is_language && text.split('-').all(subtag) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLocale)
        }
    }
}

/// A password of 8 to 256 bytes; wiped from memory when dropped, and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why a text is no [`Password`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("a password has at least {} bytes", Password::MIN_BYTES)]
    TooShort,
    #[error("a password has at most {} bytes", Password::MAX_BYTES)]
    TooLong,
}

impl Password {
    pub const MIN_BYTES: usize = 8;
    pub const MAX_BYTES: usize = 256;

    /// Takes the text whole, so that no copy of it is left behind.
    pub fn new(text: String) -> Result<Self, InvalidPassword> {
        let text = Zeroizing::new(text);
        match text.len() {
            0..Self::MIN_BYTES => Err(InvalidPassword::TooShort),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(text)),
            _ => Err(InvalidPassword::TooLong),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for (text, expected) in [("ada", "ada"), ("Ada.L_0-", "ada.l_0-"), (&"x".repeat(32), &"x".repeat(32))]
        {
            assert_eq!(text.parse(), Ok(Username(expected.to_owned())), "{text}");
        }
        for (text, expected) in [
            ("", InvalidUsername::Length),
            ("ab", InvalidUsername::Length),
            (&"x".repeat(33), InvalidUsername::Length),
            (&"x".repeat(1 << 20), InvalidUsername::Length),
            ("1ab", InvalidUsername::Characters),
            (".ab", InvalidUsername::Characters),
            ("a b", InvalidUsername::Characters),
            ("адам", InvalidUsername::Characters),
            ("ada@x", InvalidUsername::Characters),
        ] {
            assert_eq!(text.parse::<Username>(), Err(expected), "{text:.40}");
        }
    }

    #[test]
    fn emails() {
        for text in ["a@b", "Ada+x@sub.example.org", "用户@例子.example"] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
        let long = format!("{}@{}", "a".repeat(64), "b".repeat(190));
        let person = format!("{}@b", "a".repeat(65));
        for text in [
            "", "@", "a@", "@b", "a@b@c", "a b@c", "a@b..c", "a@.b", "a@-b", "a@b_c", "a\0@b", &long, &person,
        ] {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text}");
        }
    }

    #[test]
    fn phones_and_locales() {
        for text in ["+1234567", "+491701234567", "+123456789012345"] {
            assert!(text.parse::<Phone>().is_ok(), "{text}");
        }
        for text in [
            "",
            "+",
            "1234567",
            "+123456",
            "+1234567890123456",
            "+0123456789",
            "+12 345 678",
            "+１２３４５６７",
        ] {
            assert_eq!(text.parse::<Phone>(), Err(InvalidPhone), "{text}");
        }
        for text in ["en", "zh-Hans", "de-CH-1996", "sl-rozaj-biske"] {
            assert!(text.parse::<Locale>().is_ok(), "{text}");
        }
        for text in [
            "",
            "e",
            "e1",
            "en-",
            "-en",
            "en_GB",
            "en-ninechars",
            "é",
            &format!("en{}", "-abcdefgh".repeat(4)),
        ] {
            assert_eq!(text.parse::<Locale>(), Err(InvalidLocale), "{text}");
        }
    }

    #[test]
    fn passwords() {
        for (bytes, expected) in [
            (0, Some(InvalidPassword::TooShort)),
            (7, Some(InvalidPassword::TooShort)),
            (8, None),
            (256, None),
            (257, Some(InvalidPassword::TooLong)),
            (1 << 20, Some(InvalidPassword::TooLong)),
        ] {
            assert_eq!(Password::new("x".repeat(bytes)).err(), expected, "{bytes}");
        }
        let shown = Password::new("hunter2hunter2".to_owned()).map(|p| format!("{p:?}"));
        assert_eq!(shown.as_deref(), Ok("Password(…)"));
    }
}
