//! Applies a batch of one stream, exactly once.

use natterjack_database::Error;

use crate::{
    batch::{self, Folded},
    checkpoints,
    derived::Read,
    entry::Entry,
    fold::{Fold, Keys, Notice, Repeats},
    load,
    outside::{Connection, Transaction},
    refusal::is_poison,
    write,
};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another projector was faster: nothing was done. Ask for the position again.
    #[error("another projector is active: it has applied up to {reached} already")]
    Superseded { reached: u64 },
    /// A sequence is missing; nothing was done.
    #[error(transparent)]
    Hole(#[from] Hole),
    /// The stream is another one than the tables were made from; nothing was done. Needs an operator.
    #[error("the stream's epoch is {found:?}, but the tables were made from epoch {stored:?}")]
    EpochChanged { stored: String, found: String },
    #[error(transparent)]
    Database(#[from] natterjack_database::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has a hole: expected sequence {expected}, found {found}")]
pub struct Hole {
    pub expected: u64,
    pub found: u64,
}

impl From<tokio_postgres::Error> for ApplyError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What was applied.
#[derive(Debug, Default)]
pub struct Applied {
    /// Both checkpoints are at least here now.
    pub seq: u64,
    pub events: usize,
    pub parked: usize,
    /// Whose membership changed.
    pub notices: Vec<Notice>,
}

/// The checkpoints of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    log: u64,
    read: u64,
}

impl Checkpoints {
    /// What is to be applied next lies behind this.
    pub fn reached(&self) -> u64 {
        self.log.min(self.read)
    }

    /// Up to here something was made of the stream.
    pub fn farthest(&self) -> u64 {
        self.log.max(self.read)
    }
}

/// The checkpoints of stream `stream`. Makes them if it is new.
///
/// After the read tables were emptied it is to be applied after 0: the stream is read again, and only those tables change.
pub async fn open(client: &mut Connection, stream: u16, epoch: &str) -> Result<Checkpoints, ApplyError> {
    let work = client.transaction().await?;
    checkpoints::begin(&work).await?;
    checkpoints::make(&work, stream, epoch).await?;
    let checkpoints = lock(&work, stream, epoch).await?;
    work.commit().await?;
    Ok(checkpoints)
}

/// Applies `entries`, which follow each other without a gap, in one transaction with both checkpoints.
///
/// The log's copy gets every entry. An entry that one of the two has already is left out there, so that
/// they need not be equal. Cancel safe: what is cut off is rolled back; but use no connection again that
/// an error or a cancellation left behind.
pub async fn apply(
    client: &mut Connection,
    stream: u16,
    epoch: &str,
    entries: &[Entry],
) -> Result<Applied, ApplyError> {
    match transact(client, stream, epoch, entries, Care::None).await {
        Err(ApplyError::Database(Error::Query(error))) if is_poison(&error) => {
            transact(client, stream, epoch, entries, Care::All).await
        }
        done => done,
    }
}

/// What is looked out for. Hardly any batch needs it, and looking costs a tenth of writing.
#[derive(Clone, Copy)]
enum Care {
    None,
    /// For events that the second copy has already, messages that were posted before, and what Postgres refuses.
    All,
}

async fn transact(
    client: &mut Connection,
    stream: u16,
    epoch: &str,
    entries: &[Entry],
    care: Care,
) -> Result<Applied, ApplyError> {
    let mut work = client.transaction().await?;
    checkpoints::begin(&work).await?;
    let before = lock(&work, stream, epoch).await?;
    let last = check(&before, entries)?;
    let folded = match care {
        Care::None => {
            let keys = Keys::of(after(entries, before.read), Repeats::Refused);
            let mut fold = Fold::new(load::load(&work, &keys).await?);
            let mut copy = write::Events::begin(&work, stream).await?;
            // Folds while Postgres works on what it was sent.
            for entry in entries {
                if entry.seq > before.log {
                    copy.push(entry).await?;
                }
                if entry.seq > before.read {
                    fold.push(entry);
                }
            }
            copy.finish().await?;
            write::changes(&work, stream, &fold.changes).await?;
            Folded::from(fold.changes)
        }
        Care::All => {
            let unkept = after(entries, before.log);
            write::clear_events(&work, stream, unkept).await?;
            let mut copy = write::Events::begin(&work, stream).await?;
            for entry in unkept {
                copy.push(entry).await?;
            }
            copy.finish().await?;
            batch::fold_into::<Read>(&mut work, stream, after(entries, before.read)).await?
        }
    };
    let now = Checkpoints { log: before.log.max(last), read: before.read.max(last) };
    checkpoints::advance(&work, stream, now.log, now.read).await?;
    work.commit().await?;
    let (parked, notices) = (folded.parked.len(), folded.notices);
    Ok(Applied { seq: last, events: entries.len(), parked, notices })
}

/// Reads the checkpoints and keeps others from moving them.
async fn lock(work: &Transaction<'_>, stream: u16, epoch: &str) -> Result<Checkpoints, ApplyError> {
    let stored = checkpoints::lock(work, stream).await?;
    // Gone since `open`: the tables were emptied or replaced.
    let [(log_epoch, log), (read_epoch, read)] = stored.ok_or(ApplyError::Superseded { reached: 0 })?;
    for stored in [log_epoch, read_epoch] {
        if stored != epoch {
            return Err(ApplyError::EpochChanged { stored, found: epoch.to_owned() });
        }
    }
    Ok(Checkpoints { log, read })
}

/// The last sequence of a batch that can be applied now.
fn check(before: &Checkpoints, entries: &[Entry]) -> Result<u64, ApplyError> {
    let reached = before.reached();
    let mut last = reached;
    for (index, entry) in entries.iter().enumerate() {
        if index == 0 && entry.seq <= reached {
            return Err(ApplyError::Superseded { reached });
        }
        if entry.seq != last + 1 {
            return Err(Hole { expected: last + 1, found: entry.seq }.into());
        }
        last = entry.seq;
    }
    Ok(last)
}

/// The entries after the sequence `seq`.
fn after(entries: &[Entry], seq: u64) -> &[Entry] {
    &entries[entries.partition_point(|entry| entry.seq <= seq)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_follows_the_checkpoint_without_a_gap() {
        let before = Checkpoints { log: 7, read: 5 };
        let batch = |seqs: &[u64]| seqs.iter().map(|seq| Entry::foreign(*seq)).collect::<Vec<_>>();
        assert!(matches!(check(&before, &batch(&[6, 7, 8])), Ok(8)));
        assert!(matches!(check(&before, &batch(&[])), Ok(5)));
        assert!(matches!(check(&before, &batch(&[5, 6])), Err(ApplyError::Superseded { reached: 5 })));
        let hole = |seqs: &[u64]| match check(&before, &batch(seqs)) {
            Err(ApplyError::Hole(Hole { expected, found })) => (expected, found),
            other => panic!("{other:?}"),
        };
        assert_eq!(hole(&[7]), (6, 7));
        assert_eq!(hole(&[6, 8]), (7, 8));
        assert_eq!(hole(&[6, 6]), (7, 6));
        assert_eq!(after(&batch(&[6, 7, 8]), 7), batch(&[8]));
        assert_eq!(after(&batch(&[6, 7]), 7), batch(&[]));
    }
}
