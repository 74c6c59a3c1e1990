//! Names and help texts of this crate's metrics.

use metrics::{counter, describe_counter};

pub const QUERIES_TOTAL: &str = "natterjack_readmodel_queries_total";

/// Registers the help texts; to be called once the recorder is installed.
pub fn describe() {
    describe_counter!(QUERIES_TOTAL, "Statements that read from Postgres, by query.");
}

pub(crate) fn queried(name: &'static str) {
    counter!(QUERIES_TOTAL, "query" => name).increment(1);
}
