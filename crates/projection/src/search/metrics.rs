//! Names and help texts of the metrics of what is searched; all are by `stream`.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    number::{float, unsigned},
    replay::Step,
};

/// Time to apply a batch, in seconds.
pub const APPLY_SECONDS: &str = "natterjack_search_apply_seconds";
pub const EVENTS_TOTAL: &str = "natterjack_search_events_total";
pub const PARKED_TOTAL: &str = "natterjack_search_parked_total";
/// Also by `kind`.
pub const ERRORS_TOTAL: &str = "natterjack_search_errors_total";
pub const POSITION: &str = "natterjack_search_position";
pub const LAG_EVENTS: &str = "natterjack_search_lag_events";
pub const LAG_SECONDS: &str = "natterjack_search_lag_seconds";

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    describe_histogram!(
        APPLY_SECONDS,
        Unit::Seconds,
        "Time to make a batch of events searchable, with its commit."
    );
    describe_counter!(EVENTS_TOTAL, Unit::Count, "Events made searchable.");
    describe_counter!(PARKED_TOTAL, Unit::Count, "Events that search parked: they cannot be read or stored.");
    describe_counter!(ERRORS_TOTAL, Unit::Count, "Failed attempts of search, by kind: postgres, epoch.");
    describe_gauge!(POSITION, Unit::Count, "Sequence up to which the stream can be searched.");
    describe_gauge!(LAG_EVENTS, Unit::Count, "Events of the log's copy that cannot be searched yet.");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "For how long not all of the log's copy could be searched.");
}

pub(crate) fn applied(stream: u16, step: &Step, took: Duration) {
    let stream = stream.to_string();
    histogram!(APPLY_SECONDS, "stream" => stream.clone()).record(took);
    counter!(EVENTS_TOTAL, "stream" => stream.clone()).increment(step.events);
    counter!(PARKED_TOTAL, "stream" => stream.clone()).increment(step.folded.parked.len() as u64);
    gauge!(POSITION, "stream" => stream).set(float(unsigned(step.reached)));
}

pub(crate) fn lag(stream: u16, events: u64, since: Duration) {
    gauge!(LAG_EVENTS, "stream" => stream.to_string()).set(float(events));
    gauge!(LAG_SECONDS, "stream" => stream.to_string()).set(since.as_secs_f64());
}

pub(crate) fn failed(stream: u16, kind: &'static str) {
    counter!(ERRORS_TOTAL, "stream" => stream.to_string(), "kind" => kind).increment(1);
}
