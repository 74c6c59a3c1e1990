//! Follows the second copy of one stream for as long as the process lives.

use std::time::Duration;

use natterjack_database::{Connection, Pool};
use natterjack_runtime::lifecycle::Shutdown;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

use super::{Search, metrics};
use crate::{
    checkpoints::begin_on,
    config::SearchPace,
    health::Health,
    number::{self, unsigned},
    outside::discard,
    replay::{Goal, step},
};

/// The pause after a first error; it doubles with each.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// Keeps one stream's part of what is searched.
pub struct Indexer {
    pub stream: u16,
    /// Its own: it never waits for a connection with others, nor they for it.
    pub pool: Pool,
    pub pace: SearchPace,
    pub health: Health,
    pub shutdown: Shutdown,
}

#[derive(Debug, thiserror::Error)]
enum IndexError {
    #[error("the log's copy is of epoch {found:?}, but what is searched was made from epoch {stored:?}")]
    EpochChanged { stored: String, found: String },
    #[error(transparent)]
    Database(#[from] natterjack_database::Error),
}

impl From<tokio_postgres::Error> for IndexError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What came of one look at the log's copy.
enum Look {
    /// Another process keeps this stream's part, or nobody has read the stream yet.
    Idle,
    /// Nothing new.
    Done,
    /// A batch was applied; so much is left.
    Applied { behind: u64 },
}

impl Indexer {
    /// Applies what the log's copy gets until draining begins; the batch in hand is finished, unless all must stop at once.
    /// Whatever goes wrong is tried again after a pause.
    pub async fn run(self) {
        let mut delay = RETRY_DELAY;
        while !self.shutdown.is_draining() {
            let since = Instant::now();
            let failed = select! {
                biased;
                result = self.follow() => result,
                () = self.shutdown.stopping() => return,
            };
            let Err(error) = failed else { return };
            if since.elapsed() > RETRY_DELAY_MAX {
                delay = RETRY_DELAY;
            }
            self.report(&error);
            select! {
                () = sleep(delay) => {}
                () = self.shutdown.draining() => return,
            }
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    fn report(&self, error: &IndexError) {
        let (stream, halts) = (self.stream, matches!(error, IndexError::EpochChanged { .. }));
        let error = error as &dyn std::error::Error;
        metrics::failed(stream, if halts { "epoch" } else { "postgres" });
        self.health.set(stream, Some(error.to_string()));
        if halts {
            error!(stream, error, "search is halted: `natterjack rebuild search` makes it again");
        } else {
            warn!(stream, error, "search waits");
        }
    }

    /// Ends with `Ok` when draining begins.
    async fn follow(&self) -> Result<(), IndexError> {
        let mut client = self.pool.get().await?;
        info!(stream = self.stream, "making messages searchable");
        let result = self.loop_over(&mut client).await;
        discard(client);
        result
    }

    async fn loop_over(&self, client: &mut Connection) -> Result<(), IndexError> {
        let mut up_to_date = Instant::now();
        while !self.shutdown.is_draining() {
            let begun = Instant::now();
            let look = self.pool.bounded(self.look(client)).await?;
            self.health.set(self.stream, None);
            let rest = match look {
                Look::Idle => self.pace.tick,
                Look::Done | Look::Applied { behind: 0 } => {
                    up_to_date = Instant::now();
                    metrics::lag(self.stream, 0, Duration::ZERO);
                    self.pace.tick
                }
                // Who catches up leaves half of the time to others.
                Look::Applied { behind } => {
                    metrics::lag(self.stream, behind, up_to_date.elapsed());
                    begun.elapsed()
                }
            };
            select! {
                () = sleep(rest) => {}
                () = self.shutdown.draining() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Applies the next batch, if there is one, in one transaction with its checkpoint.
    async fn look(&self, client: &mut Connection) -> Result<Look, IndexError> {
        const MAKE: &str = "INSERT INTO checkpoints (stream, epoch, seq)
            SELECT stream, epoch, 0 FROM log.checkpoints WHERE stream = $1 ON CONFLICT DO NOTHING";
        // Skipped where another process holds it.
        const LOCK: &str = "SELECT s.epoch, s.seq, l.epoch, l.seq
            FROM checkpoints s JOIN log.checkpoints l USING (stream)
            WHERE stream = $1 FOR UPDATE OF s SKIP LOCKED";
        let begun = Instant::now();
        let stream = number::stream(self.stream);
        let mut work = client.transaction().await?;
        begin_on::<Search>(&work).await?;
        // What a crash takes back is made again.
        work.batch_execute("SET LOCAL synchronous_commit = off").await?;
        let statement = work.prepare_cached(LOCK).await?;
        let Some(row) = work.query_opt(&statement, &[&stream]).await? else {
            let statement = work.prepare_cached(MAKE).await?;
            work.execute(&statement, &[&stream]).await?;
            work.commit().await?;
            return Ok(Look::Idle);
        };
        let (stored, found): (String, String) = (row.try_get(0)?, row.try_get(2)?);
        let (reached, seq): (i64, i64) = (row.try_get(1)?, row.try_get(3)?);
        if stored != found {
            if reached > 0 {
                return Err(IndexError::EpochChanged { stored, found });
            }
            // While nothing was ever applied, any epoch will do.
            work.execute("UPDATE checkpoints SET epoch = $2 WHERE stream = $1", &[&stream, &found]).await?;
        }
        let done = step::<Search>(&mut work, &Goal { stream, seq }, self.pace.batch_events_max).await?;
        work.commit().await?;
        let Some(done) = done else { return Ok(Look::Done) };
        metrics::applied(self.stream, &done, begun.elapsed());
        Ok(Look::Applied { behind: unsigned(seq - done.reached) })
    }
}
