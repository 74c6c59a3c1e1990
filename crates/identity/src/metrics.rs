//! The names of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Time to compute one password hash, without the wait for a thread.
pub const HASH_SECONDS: &str = "natterjack_identity_hash_seconds";
/// Password hashes that wait for a thread.
pub const HASHES_WAITING: &str = "natterjack_identity_hashes_waiting";
/// Password hashes refused because too many waited.
pub const HASH_REFUSED_TOTAL: &str = "natterjack_identity_hash_refused_total";
/// Finished operations, by `operation` (`register`, `login`, `refresh`) and `outcome` (`ok`, or the error's name).
pub const OPERATIONS_TOTAL: &str = "natterjack_identity_operations_total";
/// Rows of the outbox that were published and deleted.
pub const OUTBOX_RELAYED_TOTAL: &str = "natterjack_identity_outbox_relayed_total";

/// Gives each metric its help text.
pub fn describe() {
    describe_histogram!(HASH_SECONDS, Unit::Seconds, "Time to compute one password hash.");
    describe_gauge!(HASHES_WAITING, Unit::Count, "Password hashes that wait for a thread.");
    describe_counter!(HASH_REFUSED_TOTAL, Unit::Count, "Password hashes refused: too many waited.");
    describe_counter!(OPERATIONS_TOTAL, Unit::Count, "Registrations, logins and refreshes, by outcome.");
    describe_counter!(OUTBOX_RELAYED_TOTAL, Unit::Count, "Outbox rows that were published and deleted.");
}
