//! What fronts say to each other of who is there.

use natterjack_domain::{UserId, presence::Availability, profile::Status};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of a front: one that was started again is another one.
pub type FrontId = Uuid;

/// All fronts hear these.
pub const TO_ALL: &str = "live.presence.all";

/// One front hears these.
pub fn to_one(front: FrontId) -> String {
    format!("live.presence.to.{front}")
}

/// What a person's devices on a front come to, and since when, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub state: Availability,
    pub since: u64,
}

/// A person, and what is said on the front; nothing any more where that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub user: UserId,
    #[serde(flatten)]
    pub said: Option<Said>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Word {
    /// The front is there; its table is at `version`.
    Alive { front: FrontId, version: u64 },
    /// These entries make its table from `version - 1` the one at `version`.
    Changed { front: FrontId, version: u64, people: Vec<Entry> },
    /// `by` wants all of somebody's table.
    Ask { by: FrontId },
    /// A part of a front's table at `version`; the first page is 0.
    Table { front: FrontId, version: u64, page: u32, pages: u32, people: Vec<Entry> },
    /// The front ends.
    Gone { front: FrontId },
    /// A person's status is another one.
    Status { front: FrontId, user: UserId, status: Option<Status> },
}

/// A word, and who is to hear it: all when that is nobody in particular.
pub type Sent = (Option<FrontId>, Word);
