//! Makes the tables of a schema again and swaps them in, while people chat and the projector works.

use deadpool_postgres::GenericClient;
use natterjack_database::Pool;
use tokio_postgres::Error;
use tracing::{info, warn};

use crate::{
    derived::{Derived, Read},
    replay::{Progress, Replay, ReplayError, finish},
    search::Search,
};

/// The log's own checkpoints: all that the second copy holds is replayed.
const GOAL: &str = "log.checkpoints";

/// Fills `read_next` from `log.events`, and in one transaction makes it `read`.
///
/// Projectors wait for that transaction, in which at most some thousand events are folded; readers wait for
/// nothing. `pool` connects as the owner of the schemas. `progress` is called after each batch. Whatever
/// fails, and wherever the process dies, the live tables are either the old ones or the new ones.
pub async fn rebuild(pool: &Pool, progress: impl FnMut(Progress)) -> Result<(), ReplayError> {
    make_again::<Read>(pool, progress).await
}

/// The same with what is searched.
pub async fn rebuild_search(pool: &Pool, progress: impl FnMut(Progress)) -> Result<(), ReplayError> {
    make_again::<Search>(pool, progress).await
}

async fn make_again<D: Derived>(pool: &Pool, mut progress: impl FnMut(Progress)) -> Result<(), ReplayError> {
    let live = D::SCHEMA.name();
    let mut replay = Replay::<D>::begin(pool, format!("{live}_next"), GOAL.into()).await?;
    replay.run(&mut progress).await?;
    replay.analyse().await?;
    swap(&mut replay).await?;
    info!(schema = live, "the tables were rebuilt");
    if let Err(error) = drop_old(&replay).await {
        // The next rebuild removes it.
        warn!(error = &error as &dyn std::error::Error, "the former tables could not be removed");
    }
    Ok(())
}

async fn swap<D: Derived>(replay: &mut Replay<D>) -> Result<(), Error> {
    let (live, next) = (D::SCHEMA.name(), &replay.name);
    let rename = format!(
        "DROP SCHEMA IF EXISTS {live}_old CASCADE;
         ALTER SCHEMA {live} RENAME TO {live}_old; ALTER SCHEMA {next} RENAME TO {live}"
    );
    let mut work = replay.client.transaction().await?;
    work.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL synchronous_commit = on").await?;
    work.execute("SELECT pg_advisory_xact_lock($1)", &[&D::LOCK]).await?;
    finish::<D>(&mut work, &replay.name, &replay.goal).await?;
    work.batch_execute(&rename).await?;
    work.commit().await
}

/// Waits for those who still read the former tables, bounded.
async fn drop_old<D: Derived>(replay: &Replay<D>) -> Result<(), Error> {
    let sql = format!("SET lock_timeout = '10s'; DROP SCHEMA {}_old CASCADE", D::SCHEMA.name());
    replay.client.batch_execute(&sql).await
}
