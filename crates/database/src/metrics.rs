//! The names of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Time a caller waited for a connection, in seconds.
pub const ACQUIRE_SECONDS: &str = "natterjack_postgres_acquire_seconds";
/// Operations that Postgres could not serve.
pub const UNAVAILABLE_TOTAL: &str = "natterjack_postgres_unavailable_total";
/// Connections of the pool, by `state` (`open`, `idle`).
pub const CONNECTIONS: &str = "natterjack_postgres_connections";

/// Gives each metric its help text.
pub fn describe() {
    describe_histogram!(ACQUIRE_SECONDS, Unit::Seconds, "Time a caller waited for a connection to Postgres.");
    describe_counter!(UNAVAILABLE_TOTAL, Unit::Count, "Operations that Postgres could not serve.");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections to Postgres, by state: open or idle.");
}
