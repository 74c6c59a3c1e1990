use std::time::Duration;

use natterjack_runtime::config::Reader;
use tokio_postgres::config::SslMode;

/// How Postgres is reached.
#[derive(Debug, Clone)]
pub struct Config {
    /// Server, database, role and password, from the URL. `Debug` hides the password.
    pub server: tokio_postgres::Config,
    /// Connections held at most.
    pub pool_size: usize,
    /// Callers that may wait for a connection at once; one more is refused.
    pub max_waiting: usize,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// After this Postgres cancels a statement. A whole operation may take this and one second more.
    pub statement_timeout: Duration,
}

impl Config {
    /// Reads `NATTERJACK_POSTGRES_URL`, `…_POSTGRES_POOL`, `…_POSTGRES_MAX_WAITING`,
    /// `…_POSTGRES_ACQUIRE_MS`, `…_POSTGRES_CONNECT_MS` and `…_POSTGRES_STATEMENT_MS`.
    pub fn read(r: &mut Reader) -> Self {
        const URL: &str = "NATTERJACK_POSTGRES_URL";
        let url = r.secret(URL);
        let mut config = Self::new(tokio_postgres::Config::new());
        if !url.expose().is_empty() {
            match Self::from_url(url.expose()) {
                Ok(read) => config = read,
                // Neither the URL nor the parser's words about it: the URL holds a password.
                Err(_) => r.fail(URL, "not a URL of the form postgresql://user:password@host:port/database"),
            }
            if config.server.get_ssl_mode() == SslMode::Require {
                r.fail(URL, "sslmode=require is not supported");
            }
        }
        config.pool_size = r.in_range("NATTERJACK_POSTGRES_POOL", config.pool_size, 1..=1000);
        config.max_waiting = r.in_range("NATTERJACK_POSTGRES_MAX_WAITING", config.max_waiting, 0..=100_000);
        let mut millis = |name: &str, default: &mut Duration| {
            *default = r.millis(name, u64::try_from(default.as_millis()).unwrap_or(u64::MAX));
            if default.is_zero() {
                r.fail(name, "must be greater than 0");
            }
        };
        millis("NATTERJACK_POSTGRES_ACQUIRE_MS", &mut config.acquire_timeout);
        millis("NATTERJACK_POSTGRES_CONNECT_MS", &mut config.connect_timeout);
        millis("NATTERJACK_POSTGRES_STATEMENT_MS", &mut config.statement_timeout);
        config
    }

    /// The defaults for a server given by URL (as libpq reads it).
    pub fn from_url(url: &str) -> Result<Self, tokio_postgres::Error> {
        url.parse().map(Self::new)
    }

    /// The defaults for `server`.
    pub fn new(server: tokio_postgres::Config) -> Self {
        Self {
            server,
            pool_size: 8,
            max_waiting: 256,
            acquire_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn problems(pairs: &[(&str, &str)]) -> String {
        let mut r = Reader::from_pairs(pairs.iter().copied());
        let config = Config::read(&mut r);
        assert!(!format!("{config:?}").contains("hunter2"));
        r.finish().err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_password_shows_nowhere() {
        let url = "NATTERJACK_POSTGRES_URL";
        assert_eq!(problems(&[(url, "postgresql://me:hunter2@localhost/x")]), "");
        for bad in [
            "postgresql://me:hunter2@localhost:port/x",
            "postgresql://me:hunter2@h/x?sslmode=require",
            "hunter2",
        ] {
            let shown = problems(&[(url, bad)]);
            assert!(shown.contains(url) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn limits_are_checked() {
        let url = ("NATTERJACK_POSTGRES_URL", "postgresql://me@localhost/x");
        let zero = ("NATTERJACK_POSTGRES_ACQUIRE_MS", "0");
        let shown = problems(&[url, zero, ("NATTERJACK_POSTGRES_POOL", "0")]);
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}
