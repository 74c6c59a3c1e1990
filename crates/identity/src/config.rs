use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use natterjack_runtime::config::Reader;

use crate::{Cost, HashingConfig, SigningKeys};

/// How accounts and sessions behave.
#[derive(Debug, Clone)]
pub struct Config {
    pub keys: SigningKeys,
    /// How long an access token is good for.
    pub access_ttl: Duration,
    /// How long a session lives on after its last refresh.
    pub session_ttl: Duration,
    /// How long a refresh token may be presented again after it was replaced, as long as what replaced it
    /// was never used: the answer may have been lost on its way.
    pub reuse_grace: Duration,
    /// How long replaced refresh tokens are remembered; a replay within this ends the session.
    pub reuse_memory: Duration,
    pub hashing: HashingConfig,
    /// Rows of the outbox relayed in one transaction.
    pub outbox_batch_rows: u32,
}

impl Config {
    /// The defaults, with these keys.
    pub fn new(keys: SigningKeys) -> Self {
        Self {
            keys,
            access_ttl: Duration::from_mins(15),
            session_ttl: Duration::from_hours(30 * 24),
            reuse_grace: Duration::from_secs(10),
            reuse_memory: Duration::from_hours(7 * 24),
            hashing: HashingConfig::new(Cost::default()),
            outbox_batch_rows: 100,
        }
    }

    /// Reads `NATTERJACK_AUTH_KEYS` (required), `NATTERJACK_ACCESS_SECS`, `…_SESSION_SECS`,
    /// `…_REFRESH_GRACE_MS`, `…_REFRESH_MEMORY_SECS`, `…_OUTBOX_BATCH_ROWS` and `…_ARGON2_*`.
    pub fn read(r: &mut Reader) -> Self {
        let mut config = Self::new(read_keys(r));
        let secs = |r: &mut Reader, name: &str, value: &mut Duration, most: u64| {
            *value = Duration::from_secs(r.in_range(name, value.as_secs(), 1..=most));
        };
        secs(r, "NATTERJACK_ACCESS_SECS", &mut config.access_ttl, 86_400);
        secs(r, "NATTERJACK_SESSION_SECS", &mut config.session_ttl, 366 * 86_400);
        secs(r, "NATTERJACK_REFRESH_MEMORY_SECS", &mut config.reuse_memory, 366 * 86_400);
        let grace_ms = r.in_range("NATTERJACK_REFRESH_GRACE_MS", 10_000, 0..=60_000);
        config.reuse_grace = Duration::from_millis(grace_ms);
        config.outbox_batch_rows = r.in_range("NATTERJACK_OUTBOX_BATCH_ROWS", 100, 1..=10_000);
        config.hashing = HashingConfig::read(r);
        config
    }
}

fn read_keys(r: &mut Reader) -> SigningKeys {
    const NAME: &str = "NATTERJACK_AUTH_KEYS";
    let text = r.secret(NAME);
    if !text.expose().is_empty() {
        match text.expose().parse() {
            Ok(keys) => return keys,
            Err(error) => r.fail(NAME, format!("not valid: {error}")),
        }
    }
    // Never used: the reader has noted the problem. A random key beats an empty one should that ever break.
    SigningKeys::generate("none").expose().parse().expect("a generated key is valid")
}

impl HashingConfig {
    /// The defaults at this cost: as many at once as there are processors.
    pub fn new(cost: Cost) -> Self {
        Self {
            cost,
            concurrency: available_parallelism().map_or(1, NonZeroUsize::get),
            max_waiting: 64,
            retry_after: Duration::from_secs(1),
        }
    }

    fn read(r: &mut Reader) -> Self {
        let memory_kib = r.in_range("NATTERJACK_ARGON2_MEMORY_KIB", 19 * 1024, 8..=4 * 1024 * 1024);
        let passes = r.in_range("NATTERJACK_ARGON2_PASSES", 2, 1..=100);
        let lanes = r.in_range("NATTERJACK_ARGON2_LANES", 1, 1..=64);
        let cost = Cost::new(memory_kib, passes, lanes).unwrap_or_else(|error| {
            r.fail("NATTERJACK_ARGON2_MEMORY_KIB", error.to_string());
            Cost::default()
        });
        let defaults = Self::new(cost);
        Self {
            concurrency: r.in_range("NATTERJACK_ARGON2_CONCURRENCY", defaults.concurrency, 1..=256),
            max_waiting: r.in_range("NATTERJACK_ARGON2_MAX_WAITING", defaults.max_waiting, 0..=100_000),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_required_and_never_shown() {
        let keys = SigningKeys::generate("k1");
        let mut r = Reader::from_pairs([("NATTERJACK_AUTH_KEYS", keys.expose())]);
        let config = Config::read(&mut r);
        r.finish().unwrap();
        assert!(!format!("{config:?}").contains(&keys.expose()[3..]));

        for bad in ["", "k1:hunter2"] {
            let mut r = Reader::from_pairs([
                ("NATTERJACK_AUTH_KEYS", bad),
                ("NATTERJACK_ACCESS_SECS", "0"),
                ("NATTERJACK_ARGON2_MEMORY_KIB", "8"),
                ("NATTERJACK_ARGON2_LANES", "2"),
            ]);
            Config::read(&mut r);
            let errors = r.finish().unwrap_err();
            assert_eq!(errors.problems().len(), 3, "{errors}");
            assert!(!errors.to_string().contains("hunter2"), "{errors}");
        }
    }
}
