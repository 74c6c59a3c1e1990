//! Folds the event log into Postgres: the second copy of the log, and the read models.
//!
//! One transaction holds a batch of events, what they make of the rows, and the checkpoints; hence each event
//! has its effect exactly once, wherever a process dies. It talks to no client. Nothing here depends on the
//! order of events of different streams.
//!
//! Start with [`fold`], which is pure; [`apply()`] puts it into a transaction, [`rebuild()`] and [`verify()`] use the
//! same fold on the second copy of the log. [`search`] is made from that copy as well, at a pace of its own.

// What only a process or an operator runs is no part of the model.
#![cfg_attr(test, allow(dead_code))]

mod announce;
mod apply;
mod batch;
#[cfg(not(test))]
mod checkpoints;
mod config;
#[cfg(not(test))]
mod copy;
mod derived;
mod entry;
pub mod fold;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
#[cfg(not(test))]
mod load;
pub mod metrics;
#[cfg(test)]
mod model;
mod number;
mod outside;
#[cfg(not(test))]
mod rebuild;
mod recheck;
#[cfg(not(test))]
mod refusal;
#[cfg(not(test))]
mod replay;
#[cfg(not(test))]
mod run;
pub mod search;
#[cfg(not(test))]
mod verify;
#[cfg(not(test))]
mod write;

pub use apply::{Applied, ApplyError, Checkpoints, Hole, apply, open};
pub use config::{Config, Pace, SearchPace};
pub use derived::TABLES;
pub use entry::Entry;
#[cfg(not(test))]
pub use rebuild::{rebuild, rebuild_search};
#[cfg(not(test))]
pub use replay::{Progress, ReplayError};
#[cfg(not(test))]
pub use run::{RunError, project, run};
#[cfg(not(test))]
pub use verify::{Report, StreamReport, TableReport, verify};

#[cfg(test)]
use model::tables::{checkpoints, load, refusal, write};
