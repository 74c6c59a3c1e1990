//! Settings of a front, one struct for each concern.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use axum::http::HeaderValue;
use natterjack_runtime::{config::Reader, lifecycle, ops};
use natterjack_wire::frame::WATCH_MAX;

#[derive(Debug, Clone)]
pub struct Config {
    /// Where REST and WebSocket are served.
    pub listen: SocketAddr,
    pub ops: ops::Config,
    /// The front's name in `welcome`, logs and metrics.
    pub node: String,
    /// Directory of the built browser client; without it only the interfaces are served.
    pub web_dir: Option<PathBuf>,
    pub http: HttpConfig,
    pub socket: SocketConfig,
    pub hub: HubConfig,
    pub rooms: RoomsConfig,
    pub kept: KeptConfig,
    pub search: SearchConfig,
    pub presence: PresenceConfig,
    pub lifecycle: lifecycle::Config,
    pub log: natterjack_eventlog::Config,
    pub database: natterjack_database::Config,
    pub identity: natterjack_identity::Config,
    pub media: natterjack_media::Config,
}

#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Origins of other sites whose pages may use the REST interface.
    pub cors_origins: Vec<Origin>,
    /// Whether `X-Forwarded-For` tells the client's address. Only behind a proxy that sets it.
    pub trust_proxy: bool,
    pub body_max_bytes: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a read with `at_least` waits for the read model.
    pub read_wait: Duration,
    /// Open connections of this front.
    pub connections_max: usize,
    pub send_buffer_bytes: u32,
    /// WebSocket connections of one address.
    pub connections_per_address: usize,
    /// Attempts to register, log in or refresh, for each address and minute.
    pub auth_per_minute: u32,
    /// Attempts at the password of one account, for each minute, from wherever they come.
    pub passwords_per_minute: u32,
    /// New accounts, for each address and hour.
    pub registrations_per_hour: u32,
    /// Other requests, for each person and second; twice as many at once.
    pub requests_per_second: u32,
    /// Uploads begun, for each person and minute.
    pub uploads_per_minute: u32,
}

#[derive(Debug, Clone)]
pub struct SocketConfig {
    /// Longest message from a client.
    pub frame_max_bytes: usize,
    pub message_max_chars: usize,
    /// For how long a message can be recalled; `None`: for ever.
    pub recall_window: Option<Duration>,
    pub subscriptions_max: usize,
    /// Connections of one person to this front.
    pub connections_per_user: usize,
    /// Frames of one person: per second, and at once. A client that comes back subscribes to all its rooms at once.
    pub frames_per_second: u32,
    pub frames_burst: u32,
    /// Appends of one connection that wait for their acknowledgement.
    pub sends_in_flight: usize,
    /// What may wait to be written to one client.
    pub outbox_max_bytes: usize,
    /// How long a client may take to say hello.
    pub hello_timeout: Duration,
    /// A client that is silent for twice as long is closed.
    pub heartbeat: Duration,
    /// A client that reads nothing for so long while something waits is closed.
    pub stall_timeout: Duration,
    /// Clients of a front that has heard nothing of the log for so long are sent away.
    pub cut_off_timeout: Duration,
    /// Closing all connections of a draining front is spread over this time.
    pub drain_window: Duration,
}

#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Events of each served room kept in memory, in number and bytes.
    pub tail_events: usize,
    pub tail_bytes: usize,
    /// How long they are kept, give or take a `heads_period`.
    pub tail_age: Duration,
    /// A room without connections is served for so long.
    pub idle: Duration,
    /// How often the heads of the served rooms are compared with the log.
    pub heads_period: Duration,
    /// Reads of the log by subject at once: they hold up those who append.
    pub deep_reads: usize,
    /// How far back in the log a client's missed events are read, in sequences of the stream: for the tail, and when
    /// Postgres does not have them.
    pub deep_read_span: u64,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "they are limits")]
pub struct RoomsConfig {
    /// Members of a room.
    pub members_max: usize,
    /// People in a direct room, all of them told.
    pub direct_max: usize,
    /// People who are banned from a room, and people who are muted in it.
    pub sanctions_max: usize,
    /// Invites to a room that were neither revoked nor used up.
    pub invites_max: usize,
    /// Longest time between two messages of a member that a room may ask for.
    pub slow_mode_max: Duration,
}

/// What people keep for themselves.
#[derive(Debug, Clone)]
pub struct KeptConfig {
    /// Rooms of up to so many members tell who has read what.
    pub receipts_members_max: usize,
    /// Messages that one person has saved.
    pub saved_max: u64,
    /// Messages of one person that are to be sent later.
    pub schedules_max: u64,
    /// How far ahead.
    pub schedule_ahead: Duration,
}

#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// Searches of one person, for each minute; a sixth of it at once.
    pub per_minute: u32,
    /// Searches of this front at once: they share the connections to Postgres with all other reads.
    pub at_once: usize,
    /// How long one may take.
    pub time_limit: Duration,
}

/// Who is there.
#[derive(Debug, Clone)]
pub struct PresenceConfig {
    /// How often a front tells the others that it is there. One that is silent for five times as long is taken for dead,
    /// with all who are connected to it.
    pub heartbeat: Duration,
    /// Somebody whose last connection to this front has ended stays for so long: who reloads a page has not gone.
    pub linger: Duration,
    /// People whom one connection is told of.
    pub watch_max: usize,
}

/// An origin (RFC 6454) such as `https://chat.example`.
#[derive(Debug, Clone)]
pub struct Origin(pub HeaderValue);

#[derive(Debug, thiserror::Error)]
#[error("an origin is a scheme, a host and perhaps a port: https://chat.example")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let host =
            text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(InvalidOrigin)?;
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)) {
            return Err(InvalidOrigin);
        }
        text.parse().map(Self).map_err(|_| InvalidOrigin)
    }
}

impl Config {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            listen: r.parse("NATTERJACK_LISTEN", ([127, 0, 0, 1], 8080).into()),
            ops: ops::Config::read(r),
            node: r.text("NATTERJACK_NODE", Some(&format!("front-{}", std::process::id()))),
            web_dir: r.optional("NATTERJACK_WEB_DIR"),
            http: HttpConfig::read(r),
            socket: SocketConfig::read(r),
            hub: HubConfig::read(r),
            rooms: RoomsConfig::read(r),
            kept: KeptConfig::read(r),
            search: SearchConfig::read(r),
            presence: PresenceConfig::read(r),
            lifecycle: lifecycle::Config::read(r),
            log: natterjack_eventlog::Config::read(r),
            database: natterjack_database::Config::read(r),
            identity: natterjack_identity::Config::read(r),
            media: natterjack_media::Config::read(r),
        }
    }
}

impl HttpConfig {
    /// Lets pages of these origins use the REST interface too.
    pub fn allow_origins(&mut self, origins: &[String]) -> Result<(), InvalidOrigin> {
        for origin in origins {
            self.cors_origins.push(origin.parse()?);
        }
        Ok(())
    }

    pub fn read(r: &mut Reader) -> Self {
        Self {
            cors_origins: r.list("NATTERJACK_CORS_ORIGINS", ""),
            trust_proxy: r.parse("NATTERJACK_TRUST_PROXY", false),
            body_max_bytes: r.in_range("NATTERJACK_BODY_MAX_BYTES", 65_536, 4_096..=16_777_216),
            header_timeout: millis(r, "NATTERJACK_HEADER_TIMEOUT_MS", 10_000),
            request_timeout: millis(r, "NATTERJACK_REQUEST_TIMEOUT_MS", 30_000),
            read_wait: millis(r, "NATTERJACK_READ_WAIT_MS", 3_000),
            connections_max: r.in_range("NATTERJACK_CONNECTIONS_MAX", 15_000, 1..=1_000_000),
            send_buffer_bytes: r.in_range("NATTERJACK_SEND_BUFFER_BYTES", 131_072, 4_096..=4_194_304),
            connections_per_address: r.in_range("NATTERJACK_CONNECTIONS_PER_ADDRESS", 1_000, 1..=1_000_000),
            auth_per_minute: r.in_range("NATTERJACK_AUTH_PER_MINUTE", 30, 1..=1_000_000),
            passwords_per_minute: r.in_range("NATTERJACK_PASSWORDS_PER_MINUTE", 10, 1..=1_000_000),
            registrations_per_hour: r.in_range("NATTERJACK_REGISTRATIONS_PER_HOUR", 60, 1..=1_000_000),
            requests_per_second: r.in_range("NATTERJACK_REQUESTS_PER_SECOND", 50, 1..=1_000_000),
            uploads_per_minute: r.in_range("NATTERJACK_UPLOADS_PER_MINUTE", 60, 1..=1_000_000),
        }
    }
}

impl SocketConfig {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            frame_max_bytes: r.in_range("NATTERJACK_FRAME_MAX_BYTES", 65_536, 1_024..=98_304),
            message_max_chars: r.in_range(
                "NATTERJACK_MESSAGE_MAX_CHARS",
                8_000,
                1..=natterjack_domain::values::MESSAGE_BODY_MAX_CHARS,
            ),
            recall_window: recall_window(r.in_range("NATTERJACK_RECALL_WINDOW_S", 86_400, 0..=3_153_600_000)),
            subscriptions_max: r.in_range("NATTERJACK_SUBSCRIPTIONS_MAX", 500, 1..=10_000),
            connections_per_user: r.in_range("NATTERJACK_CONNECTIONS_PER_USER", 20, 1..=10_000),
            frames_per_second: r.in_range("NATTERJACK_FRAMES_PER_SECOND", 50, 1..=1_000_000),
            frames_burst: r.in_range("NATTERJACK_FRAMES_BURST", 600, 1..=1_000_000),
            sends_in_flight: r.in_range("NATTERJACK_SENDS_IN_FLIGHT", 64, 1..=4_096),
            outbox_max_bytes: r.in_range("NATTERJACK_OUTBOX_MAX_BYTES", 1_048_576, 65_536..=67_108_864),
            hello_timeout: millis(r, "NATTERJACK_HELLO_TIMEOUT_MS", 10_000),
            heartbeat: millis(r, "NATTERJACK_HEARTBEAT_MS", 25_000),
            stall_timeout: millis(r, "NATTERJACK_STALL_TIMEOUT_MS", 60_000),
            cut_off_timeout: millis(r, "NATTERJACK_CUT_OFF_TIMEOUT_MS", 10_000),
            drain_window: millis(r, "NATTERJACK_DRAIN_WINDOW_MS", 5_000),
        }
    }
}

fn recall_window(secs: u64) -> Option<Duration> {
    (secs > 0).then(|| Duration::from_secs(secs))
}

impl SearchConfig {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            per_minute: r.in_range("NATTERJACK_SEARCHES_PER_MINUTE", 120, 1..=1_000_000),
            at_once: r.in_range("NATTERJACK_SEARCHES_AT_ONCE", 4, 1..=1_000),
            time_limit: Duration::from_millis(r.in_range("NATTERJACK_SEARCH_TIME_MS", 2_000, 1..=60_000)),
        }
    }
}

/// Zero would mean "at once" or "never", and is neither.
fn millis(r: &mut Reader, name: &str, default_ms: u64) -> Duration {
    Duration::from_millis(r.in_range(name, default_ms, 1..=86_400_000))
}

impl KeptConfig {
    pub fn read(r: &mut Reader) -> Self {
        const DAY_SECS: u64 = 86_400;
        let days = r.in_range("NATTERJACK_SCHEDULE_AHEAD_DAYS", 366, 1..=3_660);
        Self {
            receipts_members_max: r.in_range("NATTERJACK_RECEIPTS_MEMBERS_MAX", 50, 2..=1_000),
            saved_max: r.in_range("NATTERJACK_SAVED_MAX", 10_000, 1..=1_000_000),
            schedules_max: r.in_range("NATTERJACK_SCHEDULES_MAX", 100, 1..=10_000),
            schedule_ahead: Duration::from_secs(days * DAY_SECS),
        }
    }
}

impl PresenceConfig {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            heartbeat: millis(r, "NATTERJACK_PRESENCE_HEARTBEAT_MS", 3_000),
            linger: r.millis("NATTERJACK_PRESENCE_LINGER_MS", 5_000),
            watch_max: r.in_range("NATTERJACK_PRESENCE_WATCH_MAX", WATCH_MAX, 1..=WATCH_MAX),
        }
    }
}

impl HubConfig {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            tail_events: r.in_range("NATTERJACK_TAIL_EVENTS", 256, 1..=65_536),
            tail_bytes: r.in_range("NATTERJACK_TAIL_BYTES", 262_144, 1_024..=67_108_864),
            tail_age: r.secs("NATTERJACK_TAIL_SECS", 120),
            idle: r.secs("NATTERJACK_ROOM_IDLE_SECS", 60),
            heads_period: millis(r, "NATTERJACK_HEADS_PERIOD_MS", 10_000),
            deep_reads: r.in_range("NATTERJACK_DEEP_READS", 2, 1..=64),
            deep_read_span: r.in_range("NATTERJACK_DEEP_READ_SPAN", 10_000, 0..=u64::MAX),
        }
    }
}

impl RoomsConfig {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            members_max: r.in_range("NATTERJACK_MEMBERS_MAX", 10_000, 2..=1_000_000),
            direct_max: r.in_range("NATTERJACK_DIRECT_MAX", 10, 2..=100),
            sanctions_max: r.in_range("NATTERJACK_SANCTIONS_MAX", 10_000, 1..=1_000_000),
            invites_max: r.in_range("NATTERJACK_INVITES_MAX", 100, 1..=10_000),
            slow_mode_max: r.secs("NATTERJACK_SLOW_MODE_MAX_SECS", 21_600),
        }
    }
}
