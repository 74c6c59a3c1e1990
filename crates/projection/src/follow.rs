//! Follows one stream for as long as the process lives.

use std::{error::Error, sync::Arc, time::Duration};

use natterjack_eventlog::{LEADER_LOOKS, LEADER_SETTLES, NotAnEvent, ReadError, Run, StreamError};
use natterjack_runtime::lifecycle::Shutdown;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use crate::{
    announce,
    apply::{Applied, ApplyError, Hole, apply, open},
    checkpoints,
    config::Pace,
    entry::{self, Entry},
    health::Health,
    metrics,
    outside::{Connection, Log, Pool, Reader, discard},
    recheck::Recheck,
};

/// How often the end of the stream is asked for.
const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// How long a projector waits when another one is active, before it looks whether that still is so.
const STEP_BACK: Duration = Duration::from_secs(2);

/// One stream's projector.
pub struct Follower {
    pub stream: u16,
    pub log: Log,
    pub pool: Pool,
    pub pace: Pace,
    pub health: Health,
    pub recheck: Arc<Recheck>,
    pub shutdown: Shutdown,
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the streams cannot be used")]
    Streams(#[from] StreamError),
    #[error("reading the log failed")]
    Read(#[from] ReadError),
    #[error("reading the log failed")]
    Unplaced(#[from] NotAnEvent),
    #[error("the log ends at {last}, but the tables reflect it up to {applied}: an older copy of the log?")]
    Behind { last: u64, applied: u64 },
    #[error("the log holds another event at {seq} than was applied: its end was lost and written anew")]
    Rewritten { seq: u64 },
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<natterjack_database::Error> for FollowError {
    fn from(error: natterjack_database::Error) -> Self {
        Self::Apply(error.into())
    }
}

impl FollowError {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Streams(_) | Self::Read(_) | Self::Unplaced(_) => "log",
            Self::Behind { .. } => "behind",
            Self::Rewritten { .. } => "rewritten",
            Self::Apply(ApplyError::Database(_)) => "postgres",
            Self::Apply(ApplyError::Superseded { .. }) => "superseded",
            Self::Apply(ApplyError::Hole { .. }) => "hole",
            Self::Apply(ApplyError::EpochChanged { .. }) => "epoch",
        }
    }

    /// Whether it will stay so until somebody does something about it.
    const fn halts(&self) -> bool {
        matches!(
            self,
            Self::Behind { .. }
                | Self::Rewritten { .. }
                | Self::Apply(ApplyError::Hole { .. } | ApplyError::EpochChanged { .. })
        )
    }
}

/// What is to be applied in one transaction.
struct Batch {
    entries: Vec<Entry>,
    /// The log has more already.
    more: bool,
}

impl Batch {
    fn follows(&self, applied: u64) -> bool {
        let first = self.entries.first().map_or(applied + 1, |entry| entry.seq);
        let last = self.entries.last().map_or(applied, |entry| entry.seq);
        first == applied + 1 && last == applied + self.entries.len() as u64
    }
}

/// Where a follower is.
struct Place {
    epoch: Arc<str>,
    applied: u64,
    /// The tables were made from the stream up to here: it cannot end before.
    farthest: u64,
    lag_asked: Option<Instant>,
    /// Where it was when there was more in the stream and nothing to read.
    behind_at: Option<u64>,
    /// Whether all that the stream held was applied when its end was last asked for.
    is_at_end: bool,
}

impl Follower {
    /// Applies the stream until draining begins; the batch in hand is finished, unless all must stop at once.
    /// Whatever goes wrong is tried again after a pause.
    pub async fn run(self) {
        let mut delay = Pace::RETRY_DELAY;
        while !self.shutdown.is_draining() {
            let since = Instant::now();
            let failed = select! {
                biased;
                result = self.follow() => result,
                () = self.shutdown.stopping() => return,
            };
            let Err(error) = failed else { return };
            if since.elapsed() > self.pace.retry_delay_max {
                delay = Pace::RETRY_DELAY;
            }
            let pause = self.report(&error, delay);
            delay = (delay * 2).min(self.pace.retry_delay_max);
            select! {
                () = sleep(pause) => {}
                () = self.shutdown.draining() => return,
            }
        }
    }

    /// Says once what is wrong; answers how long to wait.
    fn report(&self, error: &FollowError, delay: Duration) -> Duration {
        let stream = self.stream;
        metrics::failed(stream, error.kind());
        if let FollowError::Apply(ApplyError::Superseded { .. }) = error {
            // A standby is as it should be.
            debug!(stream, "another projector is active");
            self.health.set(stream, None);
            return STEP_BACK;
        }
        self.health.set(stream, Some(error.to_string()));
        metrics::halted(stream, error.halts());
        if error.halts() {
            error!(stream, error = error as &dyn Error, "the projector is halted: an operator is needed");
            return self.pace.retry_delay_max;
        }
        warn!(stream, error = error as &dyn Error, "the projector waits");
        delay
    }

    /// Ends with `Ok` when draining begins.
    async fn follow(&self) -> Result<(), FollowError> {
        self.recheck.run(&self.log).await?;
        let epoch = self.log.epoch(self.stream);
        let mut client = self.pool.get().await?;
        let opened = self.pool.bounded(open(&mut client, self.stream, &epoch)).await;
        let result = match opened {
            Ok(checkpoints) => {
                let (applied, farthest) = (checkpoints.reached(), checkpoints.farthest());
                info!(stream = self.stream, applied, "following");
                let place =
                    Place { epoch, applied, farthest, lag_asked: None, behind_at: None, is_at_end: false };
                match self.check_anchor(&client, farthest).await {
                    Ok(()) => Box::pin(self.loop_over(&mut client, place)).await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error.into()),
        };
        discard(client);
        result
    }

    async fn loop_over(&self, client: &mut Connection, mut place: Place) -> Result<(), FollowError> {
        let reader = self.log.reader(self.stream, place.applied).await?;
        self.check_epoch(&place).await?;
        let max = self.pace.batch_events_max;
        let (mut reader, mut batch) = read(reader, max).await?;
        while !self.shutdown.is_draining() {
            let stands_still = self.measure(&mut place, batch.entries.first()).await?;
            let mut hole = None;
            if stands_still.is_some() || !batch.follows(place.applied) {
                hole = self.complete(&place, &mut batch, stands_still).await?;
            }
            if let (Some(hole), true) = (hole, batch.entries.is_empty()) {
                return Err(ApplyError::from(hole).into());
            }
            if batch.entries.is_empty() {
                if place.is_at_end {
                    self.working();
                }
                let next = select! {
                    biased;
                    next = self.next(reader) => next?,
                    () = self.shutdown.draining() => return Ok(()),
                };
                (reader, batch) = next;
                continue;
            }
            let begun = Instant::now();
            // While Postgres works on one batch, the log gives the next, which is decoded too.
            let pause = if batch.more { Duration::ZERO } else { self.pace.batch_interval };
            let next = AbortOnDropHandle::new(tokio::spawn(async move {
                sleep_until(begun + pause).await;
                read(reader, max).await
            }));
            let applying = Box::pin(apply(client, self.stream, &place.epoch, &batch.entries));
            let applied = self.pool.bounded(applying).await?;
            self.applied(&mut place, &applied, begun.elapsed()).await;
            if let Some(hole) = hole {
                return Err(ApplyError::from(hole).into());
            }
            if stands_still.is_some() {
                // What came from elsewhere is applied; a reader of another replica goes on.
                return Err(ReadError::Incomplete.into());
            }
            (reader, batch) =
                next.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        }
        Ok(())
    }

    /// Puts into a batch what its reader left out, from whichever replica holds that: a replica passes over what it cannot
    /// read. What nobody holds ends the batch, and is given. `up_to`: how far the stream goes, where nothing was read.
    async fn complete(
        &self,
        place: &Place,
        batch: &mut Batch,
        up_to: Option<u64>,
    ) -> Result<Option<Hole>, FollowError> {
        let mut found = batch.entries.split_off(0).into_iter().peekable();
        let mut expected = place.applied + 1;
        while let Some(next) = found.peek().map(|entry| entry.seq).or(up_to.map(|last| last + 1)) {
            if next < expected {
                // A reader that is farther back: another one goes on.
                return Err(ReadError::Incomplete.into());
            }
            if next == expected {
                match found.next() {
                    Some(entry) => batch.entries.push(entry),
                    None => break,
                }
            } else if batch.entries.len() >= self.pace.batch_events_max {
                // The next batch will not follow this one, and be completed too.
                break;
            } else {
                let Some(message) = self.log.again(self.stream, expected).await? else {
                    return Ok(Some(Hole { expected, found: next }));
                };
                warn!(stream = self.stream, seq = expected, "read again: a replica passes over this event");
                metrics::refetched(self.stream);
                batch.entries.push(entry::read(message)?);
            }
            expected += 1;
        }
        Ok(None)
    }

    /// Whether the log still holds what was applied last: after the loss of its end it gives out the same sequences again.
    async fn check_anchor(&self, client: &Connection, applied: u64) -> Result<(), FollowError> {
        let asking =
            async { Ok::<_, ApplyError>(checkpoints::copied_at(client, self.stream, applied).await?) };
        let copied = self.pool.bounded(asking).await?;
        let Some(copied) = copied else { return Ok(()) };
        match self.log.again(self.stream, applied).await? {
            Some(Ok(event)) if event.ts != copied => Err(FollowError::Rewritten { seq: applied }),
            Some(_) => Ok(()),
            // Applied already, and copied; but whoever reads the log by itself will miss it.
            None => {
                let last = self.last_seq(applied).await?;
                if last < applied {
                    return Err(FollowError::Behind { last, applied });
                }
                error!(
                    stream = self.stream,
                    seq = applied,
                    "the log has a hole where it was applied already"
                );
                Ok(())
            }
        }
    }

    /// What follows the end of the stream: as soon as there is something, with what came at the same time. Empty after a
    /// tick without anything.
    async fn next(&self, reader: Reader) -> Result<(Reader, Batch), FollowError> {
        let (reader, first) = reader.wait(self.pace.tick).await?;
        let first = Batch::decode(first)?;
        if !first.more || self.pace.batch_events_max == 1 {
            return Ok((reader, first));
        }
        let (reader, rest) = read(reader, self.pace.batch_events_max - 1).await?;
        let entries = first.entries.into_iter().chain(rest.entries).collect();
        Ok((reader, Batch { entries, more: rest.more }))
    }

    async fn applied(&self, place: &mut Place, applied: &Applied, took: Duration) {
        place.applied = applied.seq;
        self.working();
        metrics::applied(self.stream, applied, took);
        announce::applied(&self.log, self.stream, &place.epoch, applied).await;
    }

    fn working(&self) {
        self.health.set(self.stream, None);
        metrics::halted(self.stream, false);
    }

    /// The stream may have become another one before the reader was there, which ends with it later.
    async fn check_epoch(&self, place: &Place) -> Result<(), FollowError> {
        self.recheck.run(&self.log).await?;
        let found = self.log.epoch(self.stream);
        if found == place.epoch {
            return Ok(());
        }
        let (stored, found) = (place.epoch.to_string(), found.to_string());
        Err(ApplyError::EpochChanged { stored, found }.into())
    }

    /// Where the stream ends. Asks again where that is before `applied`: a new leader of a cluster may not know yet of all that
    /// it holds.
    async fn last_seq(&self, applied: u64) -> Result<u64, ReadError> {
        let mut last = self.log.last_seq(self.stream).await?;
        for _ in 1..LEADER_LOOKS {
            if last >= applied {
                break;
            }
            sleep(LEADER_SETTLES).await;
            last = self.log.last_seq(self.stream).await?;
        }
        Ok(last)
    }

    /// Now and then: how far the stream's end is away, and whether it is where it can be. Gives the end when the reader
    /// stands still before it: what comes next cannot be read by its replica, which may also be behind the others.
    async fn measure(&self, place: &mut Place, next: Option<&Entry>) -> Result<Option<u64>, FollowError> {
        if place.lag_asked.is_some_and(|at| at.elapsed() < LAG_INTERVAL) {
            return Ok(None);
        }
        place.lag_asked = Some(Instant::now());
        let applied = place.applied.max(place.farthest);
        let last = self.last_seq(applied).await?;
        if last < applied {
            return Err(FollowError::Behind { last, applied });
        }
        let seconds = next.and_then(|entry| announce::age(&entry.ts)).unwrap_or_default().as_secs_f64();
        metrics::lag(self.stream, last - place.applied, seconds);
        place.is_at_end = last == place.applied;
        let behind_at = (next.is_none() && last > place.applied).then_some(place.applied);
        let stands_still = behind_at.is_some() && behind_at == place.behind_at;
        place.behind_at = behind_at;
        Ok(stands_still.then_some(last))
    }
}

impl Batch {
    fn decode(run: Run) -> Result<Self, NotAnEvent> {
        let entries = run.events.into_iter().map(entry::read).collect::<Result<_, _>>()?;
        Ok(Self { entries, more: run.more })
    }
}

/// What the log has at this moment.
async fn read(reader: Reader, max: usize) -> Result<(Reader, Batch), FollowError> {
    let (reader, run) = reader.next(max).await?;
    Ok((reader, Batch::decode(run)?))
}
