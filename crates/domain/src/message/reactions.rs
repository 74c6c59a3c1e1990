//! Who reacted to a message, and with what: a set for each emoji.

use std::collections::{BTreeMap, BTreeSet};

use super::{Emoji, Rejection};
use crate::ids::UserId;

/// Most different reactions to a message.
pub const REACTIONS_MAX: usize = 20;

/// The reactions to a message: how many of each, and who, as far as it was asked for. Those of whom it is not known count
/// as not having reacted, so whoever folds a person's reaction has to know whether it was there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reactions {
    counts: BTreeMap<Emoji, u64>,
    on: BTreeSet<(UserId, Emoji)>,
}

impl Reactions {
    pub fn new(
        counts: impl IntoIterator<Item = (Emoji, u64)>,
        on: impl IntoIterator<Item = (UserId, Emoji)>,
    ) -> Self {
        Self { counts: counts.into_iter().collect(), on: on.into_iter().collect() }
    }

    pub fn count(&self, emoji: &Emoji) -> u64 {
        self.counts.get(emoji).copied().unwrap_or_default()
    }

    /// Whether this would change anything.
    pub(super) fn check(&self, by: UserId, emoji: &Emoji, on: bool) -> Result<bool, Rejection> {
        if self.on.contains(&(by, emoji.clone())) == on {
            Ok(false)
        } else if on && self.counts.len() >= REACTIONS_MAX && !self.counts.contains_key(emoji) {
            Err(Rejection::TooManyReactions)
        } else {
            Ok(true)
        }
    }

    pub(super) fn apply(&mut self, by: UserId, emoji: &Emoji, on: bool) -> bool {
        if self.check(by, emoji, on) != Ok(true) {
            return false;
        }
        if on {
            self.on.insert((by, emoji.clone()));
            *self.counts.entry(emoji.clone()).or_default() += 1;
        } else {
            self.on.remove(&(by, emoji.clone()));
            let count = self.count(emoji).saturating_sub(1);
            if count == 0 {
                self.counts.remove(emoji);
            } else {
                self.counts.insert(emoji.clone(), count);
            }
        }
        true
    }
}
