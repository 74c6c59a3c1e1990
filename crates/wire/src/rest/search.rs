//! What was found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Message;
use crate::frame::Position;

/// A message that was found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    pub message: Message,
    /// The part of its text around what was looked for, in pieces; empty where nothing but its room, author, time or what it
    /// bears was looked for.
    pub highlights: Vec<Highlight>,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Highlight {
    pub text: String,
    /// Whether it is what was looked for.
    pub hit: bool,
}

/// A page of what was found, best or newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HitList {
    pub items: Vec<Hit>,
    /// Passed as `cursor` with the same search, gives the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// About how many messages there are, counted up to 2,000: missing on pages after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The positions up to which messages are found, one for each stream of the log that was searched.
    pub as_of: Vec<Position>,
}
