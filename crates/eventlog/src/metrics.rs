//! Names and help texts of this crate's metrics.

use std::sync::LazyLock;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

pub const APPEND_SECONDS: &str = "natterjack_log_append_seconds";
pub const APPENDS_TOTAL: &str = "natterjack_log_appends_total";
pub const BATCHES_TOTAL: &str = "natterjack_log_batches_total";
pub const DAMAGED: &str = "natterjack_log_damaged";
pub const MISSING_EVENTS: &str = "natterjack_log_missing_events";
pub const WRITABLE: &str = "natterjack_log_writable";
pub const HOLES_TOTAL: &str = "natterjack_log_holes_total";
pub const READS_TOTAL: &str = "natterjack_log_reads_total";
pub const SLOW_CONSUMERS_TOTAL: &str = "natterjack_log_slow_consumers_total";

/// Handles of what every append counts: to look them up each time costs more than counting.
struct Hot {
    stored: Counter,
    seconds: Histogram,
}

static HOT: LazyLock<Hot> = LazyLock::new(|| Hot {
    stored: counter!(APPENDS_TOTAL, "result" => "stored"),
    seconds: histogram!(APPEND_SECONDS),
});

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from the first attempt to append an event to its durable acknowledgement."
    );
    describe_counter!(APPENDS_TOTAL, "Appends by result: stored, duplicate, conflict, refused, unavailable.");
    describe_counter!(
        BATCHES_TOTAL,
        "Batches that events were appended in, by result: stored, refused (its events were sent one by one), unknown."
    );
    describe_gauge!(
        DAMAGED,
        Unit::Count,
        "1 while a stream ends before a place where it has been, or holds something else there: nothing is appended to it."
    );
    describe_gauge!(
        MISSING_EVENTS,
        Unit::Count,
        "Sequences of a stream that it holds no event for, as far as nats-server knows."
    );
    describe_counter!(
        HOLES_TOTAL,
        "Times something was missing from a stream that nats-server takes for whole: a disk may be going."
    );
    describe_gauge!(
        WRITABLE,
        Unit::Count,
        "0 once the log has refused or not acknowledged an event, or does not answer; 1 when it takes events again."
    );
    describe_counter!(
        READS_TOTAL,
        "Requests for stored events, by kind: run, topic, next, back, look, again, leader, heads, last."
    );
    describe_counter!(
        SLOW_CONSUMERS_TOTAL,
        "Times the NATS client dropped live messages because they were not taken in time."
    );
}

pub(crate) fn appended(result: &'static str, seconds: f64) {
    HOT.seconds.record(seconds);
    if result == "stored" {
        HOT.stored.increment(1);
    } else {
        counter!(APPENDS_TOTAL, "result" => result).increment(1);
    }
}

pub(crate) fn batch(result: &'static str) {
    counter!(BATCHES_TOTAL, "result" => result).increment(1);
}

pub(crate) fn damaged(stream: u16, damaged: bool, missing: u64) {
    gauge!(DAMAGED, "stream" => stream.to_string()).set(if damaged { 1.0 } else { 0.0 });
    // Exact up to 2^53.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(MISSING_EVENTS, "stream" => stream.to_string()).set(missing as f64);
}

pub(crate) fn hole(stream: u16) {
    counter!(HOLES_TOTAL, "stream" => stream.to_string()).increment(1);
}

pub(crate) fn writable(writable: bool) {
    gauge!(WRITABLE).set(if writable { 1.0 } else { 0.0 });
}

pub(crate) fn read(kind: &'static str) {
    counter!(READS_TOTAL, "kind" => kind).increment(1);
}

pub(crate) fn slow_consumer() {
    counter!(SLOW_CONSUMERS_TOTAL).increment(1);
}
