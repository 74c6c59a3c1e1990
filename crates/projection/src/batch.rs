//! Folds entries into the rows of one schema, within the caller's transaction.

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::{Error, error::SqlState};
use tracing::error;

use crate::{
    entry::Entry,
    fold::{Changes, Keys, Notice, Parked, Repeats, fold},
    load, write,
};

/// The schema that the fronts read.
pub const LIVE: &str = "read";
/// The index that holds a message's id once in its room.
const MESSAGE_KEY: &str = "messages_mid_key";

/// What folding did, apart from the rows.
#[derive(Debug, Default)]
pub struct Folded {
    pub parked: Vec<Parked>,
    pub notices: Vec<Notice>,
}

/// Prepares a transaction for folding into `schema`.
///
/// Every statement finds its rows by key. A plan made while a table was small, or before it was ever
/// analysed, must not read all of it when it has grown.
pub async fn begin(work: &impl GenericClient, schema: &str) -> Result<(), Error> {
    let settings = format!(
        "SET LOCAL search_path TO {schema}; SET LOCAL enable_seqscan = off;
         SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
    );
    work.batch_execute(&settings).await
}

/// Folds `entries`. When Postgres refuses what an event holds, folds them in halves, and halves of those, until the event
/// stands alone, and parks it: it never stops the others, and costs a dozen attempts, not one for each of them. The
/// transaction stays usable unless an error is returned.
pub async fn fold_into(work: &mut Transaction<'_>, stream: u16, entries: &[Entry]) -> Result<Folded, Error> {
    let mut all = Folded::default();
    let mut waiting = vec![entries];
    while let Some(part) = waiting.pop() {
        let mut result = attempt(work, stream, part, Repeats::Refused).await;
        if result.as_ref().is_err_and(is_repeat) {
            result = attempt(work, stream, part, Repeats::LookedFor).await;
        }
        let folded = match (result, part) {
            (Err(error), [refused]) if is_poison(&error) => park(work, stream, refused, &error).await?,
            (Err(error), _) if is_poison(&error) => {
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
                continue;
            }
            (result, _) => result?,
        };
        all.parked.extend(folded.parked);
        all.notices.extend(folded.notices);
    }
    Ok(all)
}

/// The words are the same for every replay: what Postgres says depends on its language and version.
async fn park(
    work: &mut Transaction<'_>,
    stream: u16,
    entry: &Entry,
    error: &Error,
) -> Result<Folded, Error> {
    error!(stream, seq = entry.seq, error = error as &dyn std::error::Error, "Postgres refuses an event");
    let code = error.code().map_or("", |state| state.code());
    let fact = Err(format!("Postgres refuses it (SQLSTATE {code})"));
    let refused = Entry { fact, ..entry.clone() };
    attempt(work, stream, &[refused], Repeats::LookedFor).await
}

async fn attempt(
    work: &mut Transaction<'_>,
    stream: u16,
    entries: &[Entry],
    repeats: Repeats,
) -> Result<Folded, Error> {
    let savepoint = work.transaction().await?;
    let known = load::load(&savepoint, &Keys::of(entries, repeats)).await?;
    let changes = fold(entries, known);
    write::changes(&savepoint, stream, &changes).await?;
    savepoint.commit().await?;
    Ok(changes.into())
}

impl From<Changes> for Folded {
    fn from(Changes { parked, notices, .. }: Changes) -> Self {
        Self { parked, notices }
    }
}

/// Whether a message of the batch was posted before.
fn is_repeat(error: &Error) -> bool {
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
