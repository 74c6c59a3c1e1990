//! Names and help texts of this crate's metrics.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

pub const QUERIES_TOTAL: &str = "natterjack_readmodel_queries_total";

/// By `sort` and `outcome`.
pub const SEARCH_SECONDS: &str = "natterjack_search_query_seconds";

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    describe_counter!(QUERIES_TOTAL, "Statements that read from Postgres, by query.");
    describe_histogram!(
        SEARCH_SECONDS,
        Unit::Seconds,
        "Time of searches for messages in Postgres, by sort (rank, time) and outcome (found, too_long, failed)."
    );
}

pub(crate) fn queried(name: &'static str) {
    counter!(QUERIES_TOTAL, "query" => name).increment(1);
}

pub(crate) fn searched(sort: &'static str, outcome: &'static str, took: Duration) {
    histogram!(SEARCH_SECONDS, "sort" => sort, "outcome" => outcome).record(took);
}
