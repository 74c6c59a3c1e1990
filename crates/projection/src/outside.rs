//! What a projector stands on: the log, and transactions on its tables in Postgres. In its unit tests a model takes their
//! place; docs/adr/0017 says why so.

#[cfg(not(test))]
pub use {
    deadpool_postgres::Transaction,
    natterjack_database::{Connection, Pool},
    natterjack_eventlog::{Log, Reader},
};

#[cfg(test)]
pub use crate::model::outside::{Connection, Log, Pool, Reader, Transaction};

/// Ends a connection that an error left behind: it may be in the middle of anything.
#[cfg(not(test))]
pub fn discard(connection: Connection) {
    drop(deadpool_postgres::Object::take(connection));
}

#[cfg(test)]
pub fn discard(connection: Connection) {
    drop(connection);
}
