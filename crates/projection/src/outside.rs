//! What a projector stands on: the log, and transactions on its tables in Postgres. In one place, so that a model can take
//! theirs.

pub use deadpool_postgres::Transaction;
pub use natterjack_database::{Connection, Pool};
pub use natterjack_eventlog::{Log, Reader};

/// Ends a connection that an error left behind: it may be in the middle of anything.
pub fn discard(connection: Connection) {
    drop(deadpool_postgres::Object::take(connection));
}
