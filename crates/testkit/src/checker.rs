//! Decides, from what clients did and saw, from what the log holds and from what Postgres holds, whether the promises
//! of `docs/reliability.md` were kept.
//!
//! It trusts nothing of the product: it reads stored bodies as JSON, follows the one order by itself, and makes for itself
//! what Postgres ought to hold. Start with [`judge`]. What each part looks for: [`view`] what a client got,
//! [`sends`] what was sent and acknowledged, [`rows`] Postgres.

mod log;
mod rows;
mod sends;
mod stalls;
mod view;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{collections::HashSet, fmt};

use natterjack_wire::ErrorCode;
use serde::Serialize;

use crate::history::{Happened, Line};
use log::Log;

/// What the stores hold after a run.
#[derive(Debug, Clone, Default)]
pub struct Dump {
    /// Every message of every stream, in the order of each.
    pub log: Vec<Stored>,
    /// The epoch of each stream, which was the same all the time.
    pub epochs: Vec<String>,
    /// `read.messages`, in the order of rooms and sequences.
    pub messages: Vec<MessageRow>,
    /// `log.events`.
    pub events: Vec<EventRow>,
    /// `log.checkpoints` and `read.checkpoints`: name of the table, stream, sequence.
    pub checkpoints: Vec<(&'static str, u16, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub stream: u16,
    pub seq: u64,
    pub subject: String,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub room: String,
    pub seq: u64,
    pub mid: String,
    pub author: String,
    pub cid: String,
    pub ordinal: u64,
    /// None once recalled.
    pub body: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub stream: u16,
    pub seq: u64,
    pub body: Vec<u8>,
}

/// A kind of broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Acknowledged and not in the log; in the log and not delivered; in the log and not in Postgres.
    Lost,
    /// The same delivered, or counted, twice.
    Doubled,
    /// Delivered in another order than the log's.
    Reordered,
    /// An event that follows one which the client never got, without a reset.
    Gap,
    /// Delivered, stored or counted, but never sent so.
    Ghost,
    /// Anything else that ought not to be.
    Unexplained,
}

/// What was found. All but `faults`, `acked`, `delivered`, `resets`, `repeats` and the times has to be nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Faults that were made during the run.
    pub faults: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Messages that clients got and counted.
    pub delivered: u64,
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    pub gaps: u64,
    pub ghosts: u64,
    pub unexplained: u64,
    /// Times that a client was told to begin anew.
    pub resets: u64,
    /// Messages that the log holds again, which count once.
    pub repeats: u64,
    /// The longest time in which messages waited and none was settled.
    pub longest_stall_s: f64,
    /// The longest time from the first try of a message until it was settled.
    pub longest_wait_s: f64,
    /// Which that was.
    pub waited_longest: String,
    /// The first of what was found, in words.
    pub findings: Vec<String>,
}

/// Findings that are told in words.
const FINDINGS_MAX: usize = 40;

impl Report {
    pub fn is_good(&self) -> bool {
        self.wrong() == 0
    }

    fn wrong(&self) -> u64 {
        self.lost + self.doubled + self.reordered + self.gaps + self.ghosts + self.unexplained
    }

    /// Counts something that is wrong.
    pub fn find(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        *match fault {
            Fault::Lost => &mut self.lost,
            Fault::Doubled => &mut self.doubled,
            Fault::Reordered => &mut self.reordered,
            Fault::Gap => &mut self.gaps,
            Fault::Ghost => &mut self.ghosts,
            Fault::Unexplained => &mut self.unexplained,
        } += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{fault:?}: {}", words()));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("faults", self.faults),
            ("acked", self.acked),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("reordered", self.reordered),
            ("gaps", self.gaps),
            ("ghosts", self.ghosts),
            ("unexplained", self.unexplained),
            ("resets", self.resets),
            ("repeats", self.repeats),
        ];
        for (name, count) in counts {
            writeln!(f, "{name:<16} {count:>9}")?;
        }
        writeln!(f, "{:<16} {:>9.1}", "longest_stall_s", self.longest_stall_s)?;
        writeln!(f, "{:<16} {:>9.1}  {}", "longest_wait_s", self.longest_wait_s, self.waited_longest)?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "! {finding}"))
    }
}

/// Judges a run by the histories of all its clients and a dump that was made when all was quiet again.
pub fn judge(histories: &[Vec<Line>], dump: &Dump, faults: u64) -> Report {
    let mut report = Report { faults, ..Report::default() };
    let log = Log::read(dump, &mut report);
    for history in histories {
        view::check(history, &log, &mut report);
    }
    sends::check(histories, &log, &mut report);
    rows::check(dump, &log, &mut report);
    stalls::measure(histories, &mut report);
    report
}

/// Who the client was.
fn user_of(history: &[Line]) -> Option<&str> {
    history.iter().find_map(|line| match &line.happened {
        Happened::Open { user } => Some(user.as_str()),
        _ => None,
    })
}

/// Whether a client that is refused so asks again.
fn is_transient(code: u16) -> bool {
    ErrorCode::ALL.iter().any(|known| known.number() == code && known.is_transient())
}

/// Messages that are settled for their author in a history: acknowledged, or come back as its own event.
fn settled(history: &[Line]) -> HashSet<&str> {
    let user = user_of(history);
    let settled = history.iter().filter_map(|line| match &line.happened {
        Happened::Ack { cid, .. } => Some(cid.as_str()),
        Happened::Receive(event) if event.by.as_deref() == user => event.cid.as_deref(),
        _ => None,
    });
    settled.collect()
}
