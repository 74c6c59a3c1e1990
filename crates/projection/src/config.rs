use std::time::Duration;

use natterjack_runtime::{config::Reader, ops};

/// What a projector needs.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: natterjack_database::Config,
    pub log: natterjack_eventlog::Config,
    pub ops: ops::Config,
    pub pace: Pace,
    pub search: SearchPace,
}

impl Config {
    pub fn read(r: &mut Reader) -> Self {
        Self {
            database: natterjack_database::Config::read(r),
            log: natterjack_eventlog::Config::read(r),
            ops: ops::Config::read(r),
            pace: Pace::read(r),
            search: SearchPace::read(r),
        }
    }
}

/// How much is done at once, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Events in one transaction at most. More than some thousand gain nothing.
    pub batch_events_max: usize,
    /// After a batch that left nothing behind the next one begins this long after it began, so that a steady
    /// trickle makes batches too. The first event after a pause does not wait.
    pub batch_interval: Duration,
    /// How long the next event is waited for at a time.
    pub tick: Duration,
    /// The longest pause after errors; it begins with [`Pace::RETRY_DELAY`] and doubles.
    pub retry_delay_max: Duration,
}

impl Pace {
    /// The pause after a first error.
    pub const RETRY_DELAY: Duration = Duration::from_millis(100);

    /// Reads `NATTERJACK_PROJECTOR_BATCH_EVENTS`, `…_BATCH_MS`, `…_TICK_MS` and `…_RETRY_MS`.
    pub fn read(r: &mut Reader) -> Self {
        Self {
            batch_events_max: r.in_range("NATTERJACK_PROJECTOR_BATCH_EVENTS", 5_000, 1..=8_000),
            batch_interval: Duration::from_millis(r.in_range("NATTERJACK_PROJECTOR_BATCH_MS", 40, 0..=1_000)),
            tick: Duration::from_millis(r.in_range("NATTERJACK_PROJECTOR_TICK_MS", 250, 10..=60_000)),
            retry_delay_max: Duration::from_millis(r.in_range(
                "NATTERJACK_PROJECTOR_RETRY_MS",
                5_000,
                100..=60_000,
            )),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::read(&mut Reader::from_pairs::<String, String>([]))
    }
}

/// How much is made searchable at once, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchPace {
    /// Events in one transaction at most.
    pub batch_events_max: i64,
    /// How often it is looked whether there is something new.
    pub tick: Duration,
}

impl SearchPace {
    /// Reads `NATTERJACK_SEARCH_BATCH_EVENTS` and `NATTERJACK_SEARCH_TICK_MS`.
    pub fn read(r: &mut Reader) -> Self {
        Self {
            batch_events_max: r.in_range("NATTERJACK_SEARCH_BATCH_EVENTS", 500, 1..=8_000),
            tick: Duration::from_millis(r.in_range("NATTERJACK_SEARCH_TICK_MS", 250, 10..=60_000)),
        }
    }
}

impl Default for SearchPace {
    fn default() -> Self {
        Self::read(&mut Reader::from_pairs::<String, String>([]))
    }
}
