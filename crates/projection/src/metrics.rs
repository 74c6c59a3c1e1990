//! Names and help texts of this crate's metrics; all but the first are by `stream`.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{apply::Applied, number::float};

/// Time to apply a batch, in seconds.
pub const APPLY_SECONDS: &str = "natterjack_projector_apply_seconds";
/// Events in a batch.
pub const BATCH_EVENTS: &str = "natterjack_projector_batch_events";
pub const EVENTS_TOTAL: &str = "natterjack_projector_events_total";
pub const PARKED_TOTAL: &str = "natterjack_projector_parked_total";
/// Also by `kind`.
pub const ERRORS_TOTAL: &str = "natterjack_projector_errors_total";
pub const POSITION: &str = "natterjack_projector_position";
pub const LAG_EVENTS: &str = "natterjack_projector_lag_events";
pub const LAG_SECONDS: &str = "natterjack_projector_lag_seconds";
pub const REFETCHED_TOTAL: &str = "natterjack_projector_refetched_total";
pub const HALTED: &str = "natterjack_projector_halted";

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    describe_histogram!(APPLY_SECONDS, Unit::Seconds, "Time to apply a batch of events, with its commit.");
    describe_histogram!(BATCH_EVENTS, Unit::Count, "Events in a batch.");
    describe_counter!(EVENTS_TOTAL, Unit::Count, "Events applied.");
    describe_counter!(PARKED_TOTAL, Unit::Count, "Events parked: they could not be read or not be stored.");
    describe_counter!(
        ERRORS_TOTAL,
        Unit::Count,
        "Failed attempts, by kind: log, postgres, superseded, hole, epoch, behind, rewritten."
    );
    describe_counter!(
        REFETCHED_TOTAL,
        Unit::Count,
        "Events that one replica of the log passed over and another one held: its disk may be going."
    );
    describe_gauge!(POSITION, Unit::Count, "Sequence up to which the stream is applied.");
    describe_gauge!(LAG_EVENTS, Unit::Count, "Events of the stream that are not applied yet.");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "Age of the event applied last while others wait; else 0.");
    describe_gauge!(
        HALTED,
        Unit::Count,
        "1 while the stream cannot be applied without an operator: a hole, another epoch, a log that is shorter or was written anew."
    );
}

pub(crate) fn applied(stream: u16, applied: &Applied, took: Duration) {
    let stream = stream.to_string();
    histogram!(APPLY_SECONDS, "stream" => stream.clone()).record(took);
    histogram!(BATCH_EVENTS, "stream" => stream.clone()).record(float(applied.events as u64));
    counter!(EVENTS_TOTAL, "stream" => stream.clone()).increment(applied.events as u64);
    counter!(PARKED_TOTAL, "stream" => stream.clone()).increment(applied.parked as u64);
    gauge!(POSITION, "stream" => stream).set(float(applied.seq));
}

pub(crate) fn lag(stream: u16, events: u64, seconds: f64) {
    gauge!(LAG_EVENTS, "stream" => stream.to_string()).set(float(events));
    gauge!(LAG_SECONDS, "stream" => stream.to_string()).set(seconds);
}

pub(crate) fn refetched(stream: u16) {
    counter!(REFETCHED_TOTAL, "stream" => stream.to_string()).increment(1);
}

pub(crate) fn halted(stream: u16, halted: bool) {
    gauge!(HALTED, "stream" => stream.to_string()).set(if halted { 1.0 } else { 0.0 });
}

pub(crate) fn failed(stream: u16, kind: &'static str) {
    counter!(ERRORS_TOTAL, "stream" => stream.to_string(), "kind" => kind).increment(1);
}
