//! Makes the read tables again and swaps them in, while people chat and the projector works.

use deadpool_postgres::GenericClient;
use natterjack_database::Pool;
use tokio_postgres::Error;
use tracing::{info, warn};

use crate::{
    checkpoints::LIVE_LOCK,
    replay::{Progress, Replay, ReplayError, finish},
};

const NEXT: &str = "read_next";
const OLD: &str = "read_old";
/// The log's own checkpoints: all that the second copy holds is replayed.
const GOAL: &str = "log.checkpoints";

/// Fills `read_next` from `log.events`, and in one transaction makes it `read`.
///
/// Projectors wait for that transaction, in which at most some thousand events are folded; readers wait for
/// nothing. `pool` connects as the owner of the schemas. `progress` is called after each batch. Whatever
/// fails, and wherever the process dies, the live tables are either the old ones or the new ones.
pub async fn rebuild(pool: &Pool, mut progress: impl FnMut(Progress)) -> Result<(), ReplayError> {
    let mut replay = Replay::begin(pool, NEXT, GOAL).await?;
    replay.run(&mut progress).await?;
    replay.analyse().await?;
    swap(&mut replay).await?;
    info!("the read tables were rebuilt");
    if let Err(error) = drop_old(&replay).await {
        // The next rebuild removes it.
        warn!(error = &error as &dyn std::error::Error, "the former read tables could not be removed");
    }
    Ok(())
}

async fn swap(replay: &mut Replay) -> Result<(), Error> {
    let rename = format!(
        "DROP SCHEMA IF EXISTS {OLD} CASCADE;
         ALTER SCHEMA read RENAME TO {OLD}; ALTER SCHEMA {NEXT} RENAME TO read"
    );
    let mut work = replay.client.transaction().await?;
    work.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL synchronous_commit = on").await?;
    work.execute("SELECT pg_advisory_xact_lock($1)", &[&LIVE_LOCK]).await?;
    finish(&mut work, NEXT, GOAL).await?;
    work.batch_execute(&rename).await?;
    work.commit().await
}

/// Waits for those who still read the former tables, bounded.
async fn drop_old(replay: &Replay) -> Result<(), Error> {
    let sql = format!("SET lock_timeout = '10s'; DROP SCHEMA {OLD} CASCADE");
    replay.client.batch_execute(&sql).await
}
