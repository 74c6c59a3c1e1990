//! Where a connection is in a topic.

/// A connection has every event of the topic up to `up_to`, and the last of them was `last`. The two differ where a
/// position comes from a checkpoint, which counts the events of other topics too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    pub up_to: u64,
    pub last: u64,
}

impl Reached {
    /// Where a client is that names its position, or one that has seen the topic's head.
    pub fn named(position: u64) -> Self {
        Self { up_to: position, last: position }
    }
}
