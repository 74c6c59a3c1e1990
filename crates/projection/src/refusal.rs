//! What Postgres means when it refuses a statement.

use tokio_postgres::{Error, error::SqlState};

/// The index that holds a message's id once in its room.
const MESSAGE_KEY: &str = "messages_mid_key";

/// Whether a message of the batch was posted before.
pub fn is_repeat(error: &Error) -> bool {
    let error = error.as_db_error();
    error.is_some_and(|error| {
        *error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some(MESSAGE_KEY)
    })
}

/// Whether the error is about what was to be stored: data exceptions (22), constraints (23), limits of a
/// row or an index (54). Anything else is about the server, and the same batch is tried again.
pub fn is_poison(error: &Error) -> bool {
    let class = error.code().map(|state| &state.code()[..2]);
    matches!(class, Some("22" | "23" | "54"))
}
