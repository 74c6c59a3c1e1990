//! Compares what was made from the log with a replay of it, while the projector works.

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_database::Pool;
use tokio_postgres::{Error, IsolationLevel};

use crate::{
    derived::{Derived, Read},
    number::unsigned,
    replay::{Progress, Replay, ReplayError, finish},
    search::Search,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub tables: Vec<TableReport>,
    pub streams: Vec<StreamReport>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    pub schema: &'static str,
    pub table: &'static str,
    /// Rows of the live table.
    pub rows: u64,
    /// Rows that the replay made.
    pub expected_rows: u64,
    /// Whether they are the same rows.
    pub equal: bool,
}

/// How the second copy of the log stands in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    pub stream: u16,
    /// Up to where the second copy holds the stream.
    pub log_seq: u64,
    /// Up to where the read tables reflect it.
    pub read_seq: u64,
    /// Events that the second copy holds: as many as `log_seq` unless some were erased or lost.
    pub events: u64,
}

impl Report {
    /// Whether everything is as a replay makes it, and nothing is missing from the second copy.
    pub fn is_good(&self) -> bool {
        self.tables.iter().all(|t| t.equal) && self.streams.iter().all(|s| s.events == s.log_seq)
    }
}

/// Replays the log into `read_verify` and `search_verify` and compares them, table by table, with the live tables as they
/// are in one snapshot each; nobody waits for it. `pool` connects as the owner of the schemas.
pub async fn verify(pool: &Pool, mut progress: impl FnMut(Progress)) -> Result<Report, ReplayError> {
    let mut report = compare::<Read>(pool, &mut progress).await?;
    report.tables.extend(compare::<Search>(pool, &mut progress).await?.tables);
    Ok(report)
}

async fn compare<D: Derived>(
    pool: &Pool,
    progress: &mut impl FnMut(Progress),
) -> Result<Report, ReplayError> {
    let live = D::SCHEMA.name();
    let mut replay =
        Replay::<D>::begin(pool, format!("{live}_verify"), format!("{live}.checkpoints")).await?;
    replay.run(progress).await?;
    let work = replay.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    // The projector moves rows and checkpoints together: any snapshot holds both as they belong together.
    let mut work = work.start().await?;
    finish::<D>(&mut work, &replay.name, &replay.goal).await?;
    let report = Report { tables: tables::<D>(&work, &replay.name).await?, streams: streams(&work).await? };
    work.rollback().await?;
    replay.client.batch_execute(&format!("DROP SCHEMA {} CASCADE", replay.name)).await?;
    Ok(report)
}

async fn tables<D: Derived>(work: &Transaction<'_>, copy: &str) -> Result<Vec<TableReport>, Error> {
    work.batch_execute("SET LOCAL enable_seqscan = on").await?;
    let schema = D::SCHEMA.name();
    let mut reports = Vec::with_capacity(D::TABLES.len());
    for table in D::TABLES {
        let (rows, hash) = digest(work, schema, table).await?;
        let (expected_rows, expected_hash) = digest(work, copy, table).await?;
        let equal = rows == expected_rows && hash == expected_hash;
        reports.push(TableReport { schema, table, rows, expected_rows, equal });
    }
    Ok(reports)
}

/// The number of rows, and a sum over them that does not depend on their order.
async fn digest(work: &Transaction<'_>, schema: &str, table: &str) -> Result<(u64, String), Error> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {schema}.{table} t"
    );
    let row = work.query_one(&sql, &[]).await?;
    Ok((unsigned(row.try_get(0)?), row.try_get(1)?))
}

async fn streams(work: &Transaction<'_>) -> Result<Vec<StreamReport>, Error> {
    const SQL: &str = "SELECT l.stream, l.seq, coalesce(r.seq, 0),
               (SELECT count(*) FROM log.events e WHERE e.stream = l.stream AND e.seq <= l.seq)
        FROM log.checkpoints l LEFT JOIN read.checkpoints r USING (stream) ORDER BY l.stream";
    let rows = work.query(SQL, &[]).await?;
    let report = rows.iter().map(|row| {
        Ok(StreamReport {
            stream: row.try_get::<_, i16>(0)?.try_into().unwrap_or(0),
            log_seq: unsigned(row.try_get(1)?),
            read_seq: unsigned(row.try_get(2)?),
            events: unsigned(row.try_get(3)?),
        })
    });
    report.collect()
}
