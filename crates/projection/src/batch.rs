//! Folds entries into the rows of one schema, within the caller's transaction.

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::Error;
use tracing::error;

use crate::{
    entry::Entry,
    fold::{Changes, Decoded, Keys, Notice, Parked, fold},
    load, write,
};

/// The schema that the fronts read.
pub const LIVE: &str = "read";

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

/// Folds `entries`. When Postgres refuses what an event holds, folds them one by one and parks that event:
/// it never stops the others. The transaction stays usable unless an error is returned.
pub async fn fold_into(work: &mut Transaction<'_>, stream: u16, entries: &[Entry]) -> Result<Folded, Error> {
    match attempt(work, stream, entries.iter().map(Decoded::new).collect()).await {
        Err(error) if is_poison(&error) && entries.len() > 1 => {
            let mut all = Folded::default();
            for entry in entries {
                let one = one(work, stream, entry).await?;
                all.parked.extend(one.parked);
                all.notices.extend(one.notices);
            }
            Ok(all)
        }
        Err(error) if is_poison(&error) && entries.len() == 1 => {
            park(work, stream, &entries[0], &error).await
        }
        result => result,
    }
}

async fn one(work: &mut Transaction<'_>, stream: u16, entry: &Entry) -> Result<Folded, Error> {
    match attempt(work, stream, vec![Decoded::new(entry)]).await {
        Err(error) if is_poison(&error) => park(work, stream, entry, &error).await,
        result => result,
    }
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
    attempt(work, stream, vec![Decoded { entry, fact }]).await
}

async fn attempt(work: &mut Transaction<'_>, stream: u16, batch: Vec<Decoded<'_>>) -> Result<Folded, Error> {
    let savepoint = work.transaction().await?;
    let known = load::load(&savepoint, &Keys::of(&batch)).await?;
    let changes = fold(batch, known);
    write::changes(&savepoint, stream, &changes).await?;
    savepoint.commit().await?;
    let Changes { parked, notices, .. } = changes;
    Ok(Folded { parked, notices })
}

/// Whether the error is about what was to be stored: data exceptions (22), constraints (23), limits of a
/// row or an index (54). Anything else is about the server, and the same batch is tried again.
fn is_poison(error: &Error) -> bool {
    let class = error.code().map(|state| &state.code()[..2]);
    matches!(class, Some("22" | "23" | "54"))
}
