//! What holds for any cursor that a client sends. `fuzz/` runs it, and the tests run it over the corpus.

use crate::cursor::{Cursor, seal};

/// A cursor has one spelling. Both as it is, and as the content of a cursor with a good check at its end, which nobody finds by
/// chance.
pub fn cursor(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
    check(&seal(bytes.to_vec()));
}

fn check(text: &str) {
    if let Ok(cursor) = Cursor::decode(text) {
        assert_eq!(cursor.encode(), text);
        match cursor {
            Cursor::PublicRooms { name_key: words, .. }
            | Cursor::People { key: words, .. }
            | Cursor::Followed { at: words, .. } => {
                assert!(!words.contains('\0'), "Postgres takes no NUL");
            }
            Cursor::Rooms { .. }
            | Cursor::Members { .. }
            | Cursor::History { .. }
            | Cursor::Newer { .. }
            | Cursor::Replies { .. }
            | Cursor::Threads { .. }
            | Cursor::Versions { .. }
            | Cursor::Sanctions { .. }
            | Cursor::Audit { .. }
            | Cursor::Drafts { .. }
            | Cursor::Saved { .. }
            | Cursor::Schedules { .. }
            | Cursor::Seen { .. }
            | Cursor::Found(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_holds() {
        replay::replay("cursor", cursor);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
