use std::time::Duration;

use natterjack_runtime::config::{Reader, Secret};

/// How to reach the log, and how it is cut.
#[derive(Debug, Clone)]
pub struct Config {
    /// One or more `nats://host:port`, separated by commas.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Number of streams that the 64 partitions are spread over, 1–64. Fixed for the life of the installation.
    pub streams: u16,
    /// Copies of each stream: 1, or 3 in a cluster.
    pub replicas: usize,
    /// How long one attempt to append waits for its acknowledgement. While a cluster has no leader an attempt goes nowhere:
    /// the next one comes this much later.
    pub ack_timeout: Duration,
    /// How long an append is tried again, with the same id, before it is refused. A failover of a
    /// cluster takes about 5 s.
    pub append_deadline: Duration,
    /// Appends that wait for their acknowledgement at once, over all connections of a front.
    pub appends_in_flight: usize,
    /// How long one request for stored events may take.
    pub read_timeout: Duration,
}

impl Config {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            url: r.text("NATTERJACK_NATS_URL", Some("nats://127.0.0.1:4222")),
            user: r.optional("NATTERJACK_NATS_USER"),
            password: r.optional_secret("NATTERJACK_NATS_PASSWORD"),
            streams: r.in_range("NATTERJACK_STREAMS", 1, 1..=64),
            replicas: r.in_range("NATTERJACK_REPLICAS", 1, 1..=5),
            ack_timeout: r.millis("NATTERJACK_ACK_TIMEOUT_MS", 1_000),
            append_deadline: r.millis("NATTERJACK_APPEND_DEADLINE_MS", 15_000),
            appends_in_flight: r.in_range("NATTERJACK_APPENDS_IN_FLIGHT", 8_192, 1..=65_536),
            read_timeout: r.millis("NATTERJACK_LOG_READ_TIMEOUT_MS", 5_000),
        }
    }
}
