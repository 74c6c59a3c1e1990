//! The log as a projector has it: `natterjack_eventlog::Log` with the same words, over the world.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use natterjack_eventlog::{Event, Link, NotAnEvent, ReadError, Run, SignalError, StreamError, Topic};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::world::World;

const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Log {
    world: World,
    epoch: Arc<std::sync::Mutex<Arc<str>>>,
}

/// Lives on one replica, which may stand still.
pub struct Reader {
    world: World,
    at: u64,
    gaps: u64,
    /// What its replica has does not grow.
    frozen_at: Option<u64>,
    incarnation: u64,
}

impl Log {
    pub fn new(world: &World) -> Self {
        let epoch = world.lock().epoch.clone();
        Self { world: world.clone(), epoch: Arc::new(std::sync::Mutex::new(epoch)) }
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.world.lock().link.subscribe()
    }

    pub fn epoch(&self, _: u16) -> Arc<str> {
        self.epoch.lock().unwrap().clone()
    }

    pub async fn recheck(&self) -> Result<bool, StreamError> {
        let missing = |_| StreamError::Missing { name: "CHAT-0".into() };
        let found = self.world.ask_log(|state| state.epoch.clone()).await.map_err(missing)?;
        let mut known = self.epoch.lock().unwrap();
        let changed = *known != found;
        *known = found;
        Ok(changed)
    }

    pub async fn last_seq(&self, _: u16) -> Result<u64, ReadError> {
        self.world.ask_log(|state| state.events.last().map_or(0, |event| event.seq)).await
    }

    pub async fn again(&self, _: u16, seq: u64) -> Result<Option<Result<Event, NotAnEvent>>, ReadError> {
        let find = |state: &mut super::world::State| {
            state.events.iter().find(|event| event.seq == seq).map(|event| Ok(event.clone()))
        };
        self.world.ask_log(find).await
    }

    pub async fn reader(&self, _: u16, after: u64) -> Result<Reader, ReadError> {
        let Link { connected, gaps } = *self.world.lock().link.borrow();
        if !connected {
            return Err(ReadError::Unavailable);
        }
        let incarnation = self.world.ask_log(|state| state.incarnation).await?;
        let frozen_at = self.world.ask_log(|state| {
            let odds = state.odds.freezes;
            state.rng.permille(odds).then(|| state.events.last().map_or(0, |event| event.seq))
        });
        let frozen_at = frozen_at.await?;
        Ok(Reader { world: self.world.clone(), at: after, gaps, frozen_at, incarnation })
    }

    #[expect(clippy::unused_async, reason = "as the log's")]
    pub async fn signal(&self, _: Topic, _: Bytes) -> Result<(), SignalError> {
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "as the log's")]
    pub async fn broadcast(&self, _: String, _: Bytes) -> Result<(), SignalError> {
        Err(SignalError::Unavailable)
    }
}

impl Reader {
    pub async fn next(mut self, max: usize) -> Result<(Self, Run), ReadError> {
        let run = self.pull(max).await?;
        Ok((self, run))
    }

    pub async fn wait(mut self, limit: Duration) -> Result<(Self, Run), ReadError> {
        let begun = Instant::now();
        loop {
            let run = self.pull(1).await?;
            if !run.events.is_empty() || begun.elapsed() >= limit {
                return Ok((self, run));
            }
            let written = self.world.lock().written.clone();
            tokio::select! {
                biased;
                () = written.notified() => {}
                () = sleep(limit.saturating_sub(begun.elapsed())) => {}
            }
        }
    }

    async fn pull(&mut self, max: usize) -> Result<Run, ReadError> {
        let ends = {
            let mut state = self.world.lock();
            let link = *state.link.borrow();
            let odds = state.odds.reader_ends;
            !link.connected || link.gaps != self.gaps || state.rng.permille(odds)
        };
        if ends {
            return Err(ReadError::Unavailable);
        }
        let (at, frozen_at, incarnation) = (self.at, self.frozen_at, self.incarnation);
        let run = self.world.ask_log(|state| {
            if state.incarnation != incarnation {
                // Its consumer is gone with the stream.
                return None;
            }
            let short = state.odds.short;
            let max = if state.rng.permille(short) { 1 + state.rng.index(max) } else { max };
            let there = state
                .events
                .iter()
                .filter(|event| event.seq > at && frozen_at.is_none_or(|last| event.seq <= last));
            let there: Vec<&Event> = there.collect();
            let events: Vec<_> =
                there.iter().take(max).map(|event| Ok::<Event, NotAnEvent>((*event).clone())).collect();
            Some(Run { more: there.len() > events.len(), events })
        });
        let run = run.await?.ok_or(ReadError::Refused("404".into()))?;
        if let Some(Ok(last)) = run.events.last() {
            self.at = last.seq;
        }
        if self.world.lock().link.borrow().gaps != self.gaps {
            return Err(ReadError::Unavailable);
        }
        Ok(run)
    }
}

impl World {
    /// A question to the log: it takes its time, fails, or is never answered.
    pub async fn ask_log<T>(
        &self,
        answer: impl FnOnce(&mut super::world::State) -> T,
    ) -> Result<T, ReadError> {
        let (there, back, hangs, fails) = {
            let mut state = self.lock();
            let odds = state.odds;
            let rng = &mut state.rng;
            (
                rng.micros(odds.read_ms * 500),
                rng.micros(odds.read_ms * 500),
                rng.permille(odds.read_hangs),
                rng.permille(odds.read_fails),
            )
        };
        sleep(there).await;
        if hangs || !self.lock().link.borrow().connected {
            sleep(READ_TIMEOUT).await;
            return Err(ReadError::Timeout);
        }
        let answer = answer(&mut self.lock());
        sleep(back).await;
        if fails { Err(ReadError::Incomplete) } else { Ok(answer) }
    }
}
