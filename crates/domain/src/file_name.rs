//! What a file is called.

/// Longest name of a file, in bytes: what common file systems take.
pub const FILE_NAME_MAX_BYTES: usize = 255;

/// The name under which a file is offered to those who save it. It never is a path on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

/// Why a text is no [`FileName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFileName {
    #[error("the name is empty")]
    Empty,
    #[error("the name is longer than {FILE_NAME_MAX_BYTES} bytes")]
    TooLong,
    #[error("the name is a path")]
    Path,
    /// Also those that turn the direction of writing around, so that `exe.jpg` reads as `gpj.exe`.
    #[error("the name contains the character U+{0:04X}")]
    Character(u32),
}

impl FileName {
    pub fn parse(text: &str) -> Result<Self, InvalidFileName> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidFileName::Empty);
        }
        if text.len() > FILE_NAME_MAX_BYTES {
            return Err(InvalidFileName::TooLong);
        }
        if text.contains(['/', '\\']) || text.chars().all(|c| c == '.') {
            return Err(InvalidFileName::Path);
        }
        match text.chars().find(|c| c.is_control() || misleads(*c)) {
            Some(c) => Err(InvalidFileName::Character(c.into())),
            None => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Marks, embeddings, overrides and isolates of direction (UAX #9), what is not seen at all, ends of lines and paragraphs.
const fn misleads(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_name_and_reads_as_it_is() {
        for good in ["a", "report (2).pdf", ".profile", "résumé.txt", "写真.jpg", "שלום.txt", "a..b"]
        {
            assert_eq!(FileName::parse(good).map(|name| name.0), Ok(good.to_owned()));
        }
        assert_eq!(FileName::parse("  a b ").map(|name| name.0), Ok("a b".into()));
        for (bad, expected) in [
            ("", InvalidFileName::Empty),
            ("  ", InvalidFileName::Empty),
            ("../etc/passwd", InvalidFileName::Path),
            ("..\\boot.ini", InvalidFileName::Path),
            ("/", InvalidFileName::Path),
            ("..", InvalidFileName::Path),
            ("a\0b", InvalidFileName::Character(0)),
            ("a\r\nb", InvalidFileName::Character(13)),
            ("photo\u{202e}gpj.exe", InvalidFileName::Character(0x202e)),
            ("a\u{2066}b", InvalidFileName::Character(0x2066)),
            (&"n".repeat(256), InvalidFileName::TooLong),
        ] {
            assert_eq!(FileName::parse(bad), Err(expected), "{bad:?}");
        }
        assert!(FileName::parse(&"n".repeat(255)).is_ok());
    }
}
