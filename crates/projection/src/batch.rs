//! Folds entries into the rows of one schema, within the caller's transaction.

use tokio_postgres::Error;
use tracing::error;

use crate::{
    derived::Derived,
    entry::Entry,
    fold::{Changes, Notice, Parked, Repeats},
    outside::Transaction,
    refusal::{is_poison, is_repeat},
};

/// What folding did, apart from the rows.
#[derive(Debug, Default)]
pub struct Folded {
    pub parked: Vec<Parked>,
    pub notices: Vec<Notice>,
}

/// Folds `entries`. When Postgres refuses what an event holds, folds them in halves, and halves of those, until the event
/// stands alone, and parks it: it never stops the others, and costs a dozen attempts, not one for each of them. The
/// transaction stays usable unless an error is returned.
pub async fn fold_into<D: Derived>(
    work: &mut Transaction<'_>,
    stream: u16,
    entries: &[Entry],
) -> Result<Folded, Error> {
    let mut all = Folded::default();
    let mut waiting = vec![entries];
    while let Some(part) = waiting.pop() {
        let mut result = attempt::<D>(work, stream, part, Repeats::Refused).await;
        if result.as_ref().is_err_and(is_repeat) {
            result = attempt::<D>(work, stream, part, Repeats::LookedFor).await;
        }
        let folded = match (result, part) {
            (Err(error), [refused]) if is_poison(&error) => park::<D>(work, stream, refused, &error).await?,
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
async fn park<D: Derived>(
    work: &mut Transaction<'_>,
    stream: u16,
    entry: &Entry,
    error: &Error,
) -> Result<Folded, Error> {
    error!(stream, seq = entry.seq, error = error as &dyn std::error::Error, "Postgres refuses an event");
    let code = error.code().map_or("", |state| state.code());
    let fact = Err(format!("Postgres refuses it (SQLSTATE {code})"));
    let refused = Entry { fact, ..entry.clone() };
    attempt::<D>(work, stream, &[refused], Repeats::LookedFor).await
}

async fn attempt<D: Derived>(
    work: &mut Transaction<'_>,
    stream: u16,
    entries: &[Entry],
    repeats: Repeats,
) -> Result<Folded, Error> {
    let savepoint = work.transaction().await?;
    let folded = D::fold(&savepoint, stream, entries, repeats).await?;
    savepoint.commit().await?;
    Ok(folded)
}

impl From<Changes> for Folded {
    fn from(Changes { parked, notices, .. }: Changes) -> Self {
        Self { parked, notices }
    }
}
