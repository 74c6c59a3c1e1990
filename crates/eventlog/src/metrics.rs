//! Names and help texts of this crate's metrics.

use std::sync::LazyLock;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

pub const APPEND_SECONDS: &str = "natterjack_log_append_seconds";
pub const APPENDS_TOTAL: &str = "natterjack_log_appends_total";
pub const BATCHES_TOTAL: &str = "natterjack_log_batches_total";
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
    describe_counter!(
        READS_TOTAL,
        "Requests for stored events, by kind: run, topic, next, back, heads, last."
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

pub(crate) fn read(kind: &'static str) {
    counter!(READS_TOTAL, "kind" => kind).increment(1);
}

pub(crate) fn slow_consumer() {
    counter!(SLOW_CONSUMERS_TOTAL).increment(1);
}
