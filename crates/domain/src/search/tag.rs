use std::fmt;

use crate::ids::{RoomId, UserId};

/// What else a message is found by. Stands in the index beside its words, from which its first character tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Room(RoomId),
    Author(UserId),
    /// It bears a file.
    Attachment,
    /// It names a page of the web.
    Link,
    /// It stands in a thread.
    Reply,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(id) => write!(f, "#{}", id.as_uuid().simple()),
            Self::Author(id) => write!(f, "@{}", id.as_uuid().simple()),
            Self::Attachment => f.write_str("!attachment"),
            Self::Link => f.write_str("!link"),
            Self::Reply => f.write_str("!reply"),
        }
    }
}
