use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

/// Why an operation on Postgres failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be used just now; the same operation may succeed later.
    #[error("Postgres is unavailable")]
    Unavailable(#[source] Outage),
    /// Postgres answered that the statement is wrong or not allowed.
    #[error("Postgres refused the statement")]
    Query(#[source] tokio_postgres::Error),
}

/// What keeps Postgres from being used.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    #[error("no connection, or Postgres cannot work")]
    Postgres(#[source] tokio_postgres::Error),
    #[error("all connections are in use")]
    Busy,
    #[error("no answer in time")]
    Silent,
    #[error("the pool is closed")]
    Closed,
}

impl Error {
    /// Whether the same operation may succeed later without a change.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The name of the unique constraint or index that a row would have violated.
    pub fn duplicate(&self) -> Option<&str> {
        let Self::Query(error) = self else { return None };
        let error = error.as_db_error()?;
        error.constraint().filter(|_| *error.code() == SqlState::UNIQUE_VIOLATION)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_outage(&error) { Self::Unavailable(Outage::Postgres(error)) } else { Self::Query(error) }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(match error {
            // Even a wrong password: whatever keeps a connection from being made is an outage to the caller.
            PoolError::Backend(error) => Outage::Postgres(error),
            PoolError::Timeout(TimeoutType::Wait) => Outage::Busy,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Outage::Silent,
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Outage::Closed
            }
        })
    }
}

fn is_outage(error: &tokio_postgres::Error) -> bool {
    if let Some(state) = error.code() {
        return is_outage_state(state);
    }
    let io = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<io::Error>);
    error.is_closed() || io || error.to_string() == "timeout waiting for server"
}

/// Connection exceptions (08), resources used up (53), the server going down or coming up and statements
/// cut off by a time limit (57), trouble with disks (58), waits for locks (55P03), a read-only standby (25006).
fn is_outage_state(state: &SqlState) -> bool {
    let code = state.code();
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || ["55P03", "25006"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_pass_by_themselves() {
        for code in ["57P01", "57P02", "57P03", "57014", "53300", "53100", "08006", "58030", "55P03", "25006"]
        {
            assert!(is_outage_state(&SqlState::from_code(code)), "{code}");
        }
        for code in ["23505", "42P01", "42501", "22001", "40001"] {
            assert!(!is_outage_state(&SqlState::from_code(code)), "{code}");
        }
    }
}
