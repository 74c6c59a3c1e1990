//! The rows that say how far the second copy of the log and the read tables are; and how a transaction on them begins.

use deadpool_postgres::{GenericClient, Transaction};
use futures_util::try_join;
use natterjack_database::Connection;
use tokio_postgres::Error;

use crate::{
    derived::{Derived, Read},
    number::{self, signed, unsigned},
    write,
};

/// An epoch, and the last sequence of it that is applied.
pub type Checkpoint = (String, u64);

/// Begins a transaction on the log's copy and the read tables.
pub async fn begin(work: &Transaction<'_>) -> Result<(), Error> {
    begin_on::<Read>(work).await
}

/// A statement of its own, before all others: names are looked up after a swap that it may have waited for.
pub async fn begin_on<D: Derived>(work: &Transaction<'_>) -> Result<(), Error> {
    let lock = format!("SELECT pg_advisory_xact_lock_shared({})", D::LOCK);
    try_join!(write::begin(work, D::SCHEMA.name()), work.batch_execute(&lock))?;
    Ok(())
}

/// Makes the checkpoints of a stream that is new.
pub async fn make(work: &Transaction<'_>, stream: u16, epoch: &str) -> Result<(), Error> {
    for table in ["log.checkpoints", "checkpoints"] {
        // While nothing was ever applied, any epoch will do.
        let sql = format!(
            "INSERT INTO {table} AS c (stream, epoch, seq) VALUES ($1, $2, 0)
             ON CONFLICT (stream) DO UPDATE SET epoch = EXCLUDED.epoch
             WHERE c.seq = 0 AND c.epoch <> EXCLUDED.epoch"
        );
        let statement = work.prepare_cached(&sql).await?;
        work.execute(&statement, &[&number::stream(stream), &epoch]).await?;
    }
    Ok(())
}

/// Reads the checkpoints of the log's copy and of the read tables, and keeps others from moving them.
pub async fn lock(work: &Transaction<'_>, stream: u16) -> Result<Option<[Checkpoint; 2]>, Error> {
    const SQL: &str =
        "SELECT l.epoch, l.seq, r.epoch, r.seq FROM log.checkpoints l JOIN checkpoints r USING (stream)
                       WHERE stream = $1 FOR UPDATE";
    let statement = work.prepare_cached(SQL).await?;
    let Some(row) = work.query_opt(&statement, &[&number::stream(stream)]).await? else { return Ok(None) };
    let checkpoint = |column| Ok((row.try_get(column)?, unsigned(row.try_get(column + 1)?)));
    Ok(Some([checkpoint(0)?, checkpoint(2)?]))
}

/// Moves the checkpoints, which the caller has locked and compared.
pub async fn advance(work: &Transaction<'_>, stream: u16, log: u64, read: u64) -> Result<(), Error> {
    const SQL: &str =
        "WITH kept AS (UPDATE log.checkpoints SET seq = $2, updated_at = now() WHERE stream = $1)
                       UPDATE checkpoints SET seq = $3 WHERE stream = $1";
    let statement = work.prepare_cached(SQL).await?;
    work.execute(&statement, &[&number::stream(stream), &signed(log), &signed(read)]).await?;
    Ok(())
}

/// When the log stored the event at `seq`, as the second copy has it.
pub async fn copied_at(client: &Connection, stream: u16, seq: u64) -> Result<Option<String>, Error> {
    const SQL: &str = "SELECT ts FROM log.events WHERE stream = $1 AND seq = $2 AND topic IS NOT NULL";
    let statement = client.prepare_cached(SQL).await?;
    let row = client.query_opt(&statement, &[&number::stream(stream), &signed(seq)]).await?;
    row.map(|row| row.try_get(0)).transpose()
}
