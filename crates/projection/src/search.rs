//! What is searched: made from the second copy of the log, by a projector of its own.
//!
//! An index of words takes ten times as long to fill as the read models, and nobody must wait for it who only wants to read
//! what was said. So it has checkpoints, connections and a pace of its own. It follows `log.events`, which the other
//! projector has written: whether the log has a hole, is another one, or was written anew was decided there.
//!
//! Start with [`fold()`], which is pure; `follow` is what runs.

mod fold;
#[cfg(not(test))]
mod follow;
#[cfg(not(test))]
pub mod metrics;
#[cfg(not(test))]
mod tables;

pub use fold::{Changes, Key, Known, Row, fold, keys};
#[cfg(not(test))]
pub use {follow::Indexer, tables::Search};
