//! What one reacts with.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Longest emoji, in bytes.
pub const EMOJI_MAX_BYTES: usize = 64;

/// One character as people see it (an extended grapheme cluster, UAX #29), or the `:name:` of an installation's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Emoji(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reaction is one emoji or a :name: of a–z, 0–9, _, + and -, at most {EMOJI_MAX_BYTES} bytes long")]
pub struct InvalidEmoji;

impl Emoji {
    pub fn parse(text: &str) -> Result<Self, InvalidEmoji> {
        let is_good = text.len() <= EMOJI_MAX_BYTES && (is_name(text) || is_one_character(text));
        if is_good { Ok(Self(text.to_owned())) } else { Err(InvalidEmoji) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let name = text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_+-".contains(&b);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(is_good))
}

/// None that cannot be seen.
fn is_one_character(text: &str) -> bool {
    let mut characters = text.graphemes(true);
    let first = characters.next().and_then(|character| character.chars().next());
    let is_seen = |c: char| {
        !c.is_control()
            && !c.is_whitespace()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
    };
    first.is_some_and(is_seen) && characters.next().is_none()
}

impl TryFrom<String> for Emoji {
    type Error = InvalidEmoji;

    fn try_from(text: String) -> Result<Self, InvalidEmoji> {
        Self::parse(&text)
    }
}

impl From<Emoji> for String {
    fn from(emoji: Emoji) -> String {
        emoji.0
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_or_a_name() {
        for good in ["👍", "👍🏽", "👨‍👩‍👧‍👦", "🇨🇭", "❤️", "1️⃣", "é", "的", ":party_parrot:", ":+1:"]
        {
            assert!(Emoji::parse(good).is_ok(), "{good}");
        }
        let long = format!(":{}:", "a".repeat(EMOJI_MAX_BYTES));
        let stacked = format!("e{}", "\u{301}".repeat(EMOJI_MAX_BYTES));
        for bad in
            ["", " ", "\n", "\0", "\u{200b}", "ab", "👍👍", "::", ":A:", ":a b:", ":a", &long, &stacked]
        {
            assert_eq!(Emoji::parse(bad), Err(InvalidEmoji), "{bad:?}");
        }
    }
}
