use std::{future::Future, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, QueueMode, RecyclingMethod, Runtime};
use metrics::{counter, gauge, histogram};
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, NoTls};
use tracing::debug;

use crate::{
    Config, Error, Outage,
    metrics::{ACQUIRE_SECONDS, CONNECTIONS, UNAVAILABLE_TOTAL},
};

/// A pooled connection; returns to the pool when dropped.
pub type Connection = deadpool_postgres::Object;

/// What an operation may take beyond its statement's limit.
const OPERATION_MARGIN: Duration = Duration::from_secs(1);

/// Connections that are made when needed. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
    max_waiting: usize,
    operation_limit: Duration,
}

/// Makes a pool without connecting: it works while Postgres is down, and recovers with it.
pub fn pool(config: &Config) -> Pool {
    let mut server = with_defaults(config);
    let limit_ms = config.statement_timeout.as_millis();
    // An idle transaction is one whose caller hangs or died: it must not hold its locks for long.
    let options = format!(
        "{} -c statement_timeout={limit_ms} -c idle_in_transaction_session_timeout={limit_ms}",
        server.get_options().unwrap_or_default()
    );
    server.options(options.trim_start());
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let connections = deadpool_postgres::Pool::builder(Manager::from_config(server, NoTls, recycling))
        .max_size(config.pool_size)
        // The one that was used last is warm: its backend's caches, and the processor's.
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(config.acquire_timeout))
        .create_timeout(Some(config.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a runtime is given for the time limits");
    let operation_limit = config.statement_timeout + OPERATION_MARGIN;
    Pool { connections, max_waiting: config.max_waiting, operation_limit }
}

/// A connection outside any pool and without a limit on statements: for migrations and tools.
///
/// Its task ends when the client is dropped.
pub async fn connect(config: &Config) -> Result<Client, Error> {
    let server = with_defaults(config);
    let connected = timeout(config.connect_timeout, server.connect(NoTls)).await;
    let (client, connection) = connected
        .map_err(|_| Error::Unavailable(Outage::Silent))?
        .map_err(|error| Error::Unavailable(Outage::Postgres(error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(error = &error as &dyn std::error::Error, "a connection to Postgres ended");
        }
    });
    Ok(client)
}

fn with_defaults(config: &Config) -> tokio_postgres::Config {
    let mut server = config.server.clone();
    server.connect_timeout(config.connect_timeout);
    server.tcp_user_timeout(config.statement_timeout + OPERATION_MARGIN);
    if server.get_application_name().is_none() {
        server.application_name("natterjack");
    }
    server
}

impl Pool {
    /// A connection, within the limits of the configuration; each failure is [`Error::Unavailable`].
    ///
    /// Cancel safe.
    pub async fn get(&self) -> Result<Connection, Error> {
        let start = Instant::now();
        let result = self.acquire().await;
        histogram!(ACQUIRE_SECONDS).record(start.elapsed());
        let status = self.connections.status();
        gauge!(CONNECTIONS, "state" => "open").set(float(status.size));
        gauge!(CONNECTIONS, "state" => "idle").set(float(status.available));
        if result.is_err() {
            counter!(UNAVAILABLE_TOTAL).increment(1);
        }
        result
    }

    /// Runs `operation` for no longer than a statement may take and a second more, even when Postgres
    /// hangs without a word; then answers [`Error::Unavailable`].
    ///
    /// An operation cut off here may or may not have taken effect.
    pub async fn bounded<T, E: From<Error>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.operation_limit, operation).await.unwrap_or_else(|_| {
            counter!(UNAVAILABLE_TOTAL).increment(1);
            Err(Error::Unavailable(Outage::Silent).into())
        })
    }

    /// Closes the pool: connections end when they come back, and nobody gets one any more.
    pub fn close(&self) {
        self.connections.close();
    }

    async fn acquire(&self) -> Result<Connection, Error> {
        let status = self.connections.status();
        if status.waiting >= self.max_waiting && status.available == 0 && status.size >= status.max_size {
            return Err(Error::Unavailable(Outage::Busy));
        }
        Ok(self.connections.get().await?)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("status", &self.connections.status()).finish_non_exhaustive()
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
