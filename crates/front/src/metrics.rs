//! Names and help texts of the front's metrics.

use std::{sync::LazyLock, time::Duration};

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const CONNECTIONS: &str = "natterjack_front_connections";
const CLOSED_TOTAL: &str = "natterjack_front_closed_total";
const FRAMES_TOTAL: &str = "natterjack_front_frames_total";
const FRAME_SECONDS: &str = "natterjack_front_frame_seconds";
const DELIVERIES_TOTAL: &str = "natterjack_front_deliveries_total";
const TOPICS: &str = "natterjack_front_topics";
const GAPS_TOTAL: &str = "natterjack_front_gaps_total";
const REPLAYED_TOTAL: &str = "natterjack_front_replayed_events_total";
const LAGS_TOTAL: &str = "natterjack_front_lags_total";
const REQUESTS_TOTAL: &str = "natterjack_http_requests_total";
const REQUEST_SECONDS: &str = "natterjack_http_request_seconds";
const RATE_LIMITED_TOTAL: &str = "natterjack_front_rate_limited_total";

/// Handles of what every message counts. To look them up by name and labels each time is 2 % of a front's CPU time.
struct Hot {
    deliveries: Counter,
    sends: Counter,
    send_seconds: Histogram,
}

static HOT: LazyLock<Hot> = LazyLock::new(|| Hot {
    deliveries: counter!(DELIVERIES_TOTAL),
    sends: counter!(FRAMES_TOTAL, "kind" => "send", "result" => "ok"),
    send_seconds: histogram!(FRAME_SECONDS, "kind" => "send"),
});

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    natterjack_database::metrics::describe();
    natterjack_eventlog::metrics::describe();
    natterjack_identity::metrics::describe();
    natterjack_media::metrics::describe();
    natterjack_readmodel::metrics::describe();
    describe_gauge!(CONNECTIONS, Unit::Count, "Open WebSocket connections that have said hello.");
    describe_counter!(CLOSED_TOTAL, "Closed WebSocket connections, by close code (0: the client went away).");
    describe_counter!(FRAMES_TOTAL, "Frames from clients, by kind and result (ok, or the error's name).");
    describe_histogram!(FRAME_SECONDS, Unit::Seconds, "Time from reading a frame to its answer, by kind.");
    describe_counter!(DELIVERIES_TOTAL, "Events handed to connections.");
    describe_gauge!(TOPICS, Unit::Count, "Rooms and feeds that this front serves.");
    describe_counter!(
        GAPS_TOTAL,
        "Missing events found, by how: chain, heads, late (found too late to be put in order), hole (lost by the log)."
    );
    describe_counter!(REPLAYED_TOTAL, "Events read again for clients that resume, by source: postgres, log.");
    describe_counter!(LAGS_TOTAL, "Times a connection fell behind and was caught up from the log.");
    describe_counter!(REQUESTS_TOTAL, "REST requests, by route, method and status.");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time to answer a REST request, by route.");
    describe_counter!(RATE_LIMITED_TOTAL, "Requests refused by a rate limit, by which.");
}

pub fn connected(by: f64) {
    gauge!(CONNECTIONS).increment(by);
}

pub fn closed(code: u16) {
    counter!(CLOSED_TOTAL, "code" => code.to_string()).increment(1);
}

pub fn frame(kind: &'static str, result: &'static str, took: Duration) {
    if (kind, result) == ("send", "ok") {
        HOT.sends.increment(1);
        HOT.send_seconds.record(took.as_secs_f64());
        return;
    }
    counter!(FRAMES_TOTAL, "kind" => kind, "result" => result).increment(1);
    histogram!(FRAME_SECONDS, "kind" => kind).record(took.as_secs_f64());
}

pub fn delivered(count: usize) {
    HOT.deliveries.increment(count as u64);
}

pub fn topics_served(by: f64) {
    gauge!(TOPICS).increment(by);
}

pub fn gap(found: &'static str) {
    counter!(GAPS_TOTAL, "found" => found).increment(1);
}

pub fn replayed(source: &'static str, events: usize) {
    counter!(REPLAYED_TOTAL, "source" => source).increment(events as u64);
}

pub fn lagged() {
    counter!(LAGS_TOTAL).increment(1);
}

pub fn request(route: String, method: &'static str, status: u16, took: Duration) {
    counter!(REQUESTS_TOTAL, "route" => route.clone(), "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(REQUEST_SECONDS, "route" => route).record(took.as_secs_f64());
}

pub fn rate_limited(which: &'static str) {
    counter!(RATE_LIMITED_TOTAL, "limit" => which).increment(1);
}
