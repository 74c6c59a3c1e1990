//! Folds the event log into Postgres: the second copy of the log, and the read models.
//!
//! One transaction holds a batch of events, what they make of the rows, and the checkpoints; hence each event
//! has its effect exactly once, wherever a process dies. It talks to no client. Nothing here depends on the
//! order of events of different streams.
//!
//! Start with [`fold`], which is pure; [`apply()`] puts it into a transaction, [`rebuild()`] and [`verify()`] use the
//! same fold on the second copy of the log.

mod announce;
mod apply;
mod batch;
mod checkpoints;
mod config;
mod copy;
mod entry;
pub mod fold;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod load;
pub mod metrics;
mod number;
mod outside;
mod rebuild;
mod recheck;
mod refusal;
mod replay;
mod run;
mod verify;
mod write;

pub use apply::{Applied, ApplyError, Checkpoints, Hole, apply, open};
pub use config::{Config, Pace};
pub use entry::Entry;
pub use rebuild::rebuild;
pub use replay::{Progress, ReplayError, TABLES};
pub use run::{RunError, project, run};
pub use verify::{Report, StreamReport, TableReport, verify};
