//! The names of this crate's metrics.

use metrics::{Unit, describe_counter, describe_histogram};

/// Uploads that became attachments, by `kind`.
pub const UPLOADS_TOTAL: &str = "natterjack_media_uploads_total";
/// Bytes of files, by `direction` (`in`, `out`).
pub const BYTES_TOTAL: &str = "natterjack_media_bytes_total";
/// Uploads and parts of them that were refused, by `reason`.
pub const REFUSED_TOTAL: &str = "natterjack_media_refused_total";
/// Time to look into a file, by `kind`, without the wait for a thread.
pub const INSPECT_SECONDS: &str = "natterjack_media_inspect_seconds";
/// Uploads removed since no message has them.
pub const COLLECTED_TOTAL: &str = "natterjack_media_collected_total";

/// Gives each metric its help text.
pub fn describe() {
    describe_counter!(UPLOADS_TOTAL, Unit::Count, "Uploads that became attachments, by kind.");
    describe_counter!(BYTES_TOTAL, Unit::Bytes, "Bytes of attachments taken in and given out, by direction.");
    describe_counter!(REFUSED_TOTAL, Unit::Count, "Uploads, or parts of them, that were refused, by reason.");
    describe_histogram!(INSPECT_SECONDS, Unit::Seconds, "Time to look into a file, by kind.");
    describe_counter!(COLLECTED_TOTAL, Unit::Count, "Uploads removed since no message has them.");
}
