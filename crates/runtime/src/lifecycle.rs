//! Orderly shutdown in two steps: *drain* (finish what was begun, take on nothing new), then *stop* (at once).
//!
//! A [`Shutdown`] is made by whoever runs a component and handed down; it is never global, so a test can
//! run several components in one process and stop them one by one.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::config::Reader;

/// How long a shutdown may take.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// From the first signal until whatever still runs is told to stop at once.
    pub drain_limit: Duration,
    /// From then until the process no longer waits for it.
    pub stop_limit: Duration,
}

impl Config {
    /// Reads `NATTERJACK_DRAIN_SECS` and `NATTERJACK_STOP_SECS`.
    pub fn read(r: &mut Reader) -> Self {
        Self {
            drain_limit: r.secs("NATTERJACK_DRAIN_SECS", 15),
            stop_limit: r.secs("NATTERJACK_STOP_SECS", 5),
        }
    }
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every task finished while draining.
    Drained,
    /// Some tasks had to be told to stop at once, and did.
    Stopped,
    /// Some tasks still run; the process should exit anyway.
    Abandoned,
}

/// Tells tasks when to drain and when to stop, and waits for them. Clones are the same shutdown.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins draining; a second call changes nothing.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Tells everything to stop at once (which includes draining).
    pub fn stop(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Waits until draining begins. Cancel safe.
    pub async fn draining(&self) {
        self.soft.cancelled().await;
    }

    /// Waits until everything must stop at once. Cancel safe.
    pub async fn stopping(&self) {
        self.hard.cancelled().await;
    }

    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    pub fn is_stopping(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// The token behind [`Shutdown::draining`], for code that wants one.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// The token behind [`Shutdown::stopping`].
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Whether an essential task ended before draining began.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Runs a task that [`Shutdown::finish`] waits for. It may end at any time.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Runs a task without which the process is of no use: when it ends, or panics, before draining
    /// began, the whole process drains and [`Shutdown::failed`] becomes true.
    pub fn spawn_essential<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let alarm = Alarm { name, shutdown: self.clone() };
        self.tasks.spawn(async move {
            let _alarm = alarm;
            task.await
        })
    }

    /// Begins draining at the first SIGINT or SIGTERM of this process and stops at the second.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        // Not tracked: it waits for a second signal that need never come.
        tokio::spawn(async move {
            let mut received = async || {
                select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                }
            };
            let signal = received().await;
            info!(signal, "draining");
            shutdown.drain();
            let signal = received().await;
            warn!(signal, "stopping at once");
            shutdown.stop();
        });
        Ok(())
    }

    /// Waits until draining begins and then for all tasks, within the limits. Call it once, last.
    pub async fn finish(&self, limits: Config) -> Ending {
        self.draining().await;
        self.tasks.close();
        select! {
            () = self.tasks.wait() => return Ending::Drained,
            () = self.stopping() => {}
            () = sleep(limits.drain_limit) => warn!(tasks = self.tasks.len(), "not drained in time"),
        }
        self.stop();
        if timeout(limits.stop_limit, self.tasks.wait()).await.is_ok() {
            return Ending::Stopped;
        }
        error!(tasks = self.tasks.len(), "tasks do not stop");
        Ending::Abandoned
    }
}

/// Dropped when its task ends in any way.
struct Alarm {
    name: &'static str,
    shutdown: Shutdown,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.shutdown.is_draining() {
            error!(task = self.name, "an essential task ended");
            self.shutdown.failed.store(true, Ordering::Release);
            self.shutdown.drain();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LIMITS: Config =
        Config { drain_limit: Duration::from_secs(15), stop_limit: Duration::from_secs(5) };

    #[tokio::test]
    async fn tasks_that_heed_the_drain_end_cleanly() {
        let shutdown = Shutdown::new();
        let inner = shutdown.clone();
        shutdown.spawn(async move { inner.draining().await });
        shutdown.drain();
        assert_eq!(shutdown.finish(LIMITS).await, Ending::Drained);
        assert!(!shutdown.is_stopping() && !shutdown.failed());
    }

    #[tokio::test]
    async fn the_deadline_stops_what_does_not_drain() {
        let shutdown = Shutdown::new();
        let inner = shutdown.clone();
        shutdown.spawn(async move { inner.stopping().await });
        shutdown.drain();
        let limits = Config { drain_limit: Duration::ZERO, ..LIMITS };
        assert_eq!(shutdown.finish(limits).await, Ending::Stopped);
    }

    #[tokio::test]
    async fn a_stuck_task_is_abandoned() {
        let shutdown = Shutdown::new();
        shutdown.spawn(pending::<()>());
        shutdown.stop();
        let limits = Config { stop_limit: Duration::ZERO, ..LIMITS };
        assert_eq!(shutdown.finish(limits).await, Ending::Abandoned);
    }

    #[tokio::test]
    async fn an_essential_task_that_panics_drains_the_rest() {
        let shutdown = Shutdown::new();
        let inner = shutdown.clone();
        shutdown.spawn(async move { inner.draining().await });
        shutdown.spawn_essential("probe", async { panic!("on purpose") });
        assert_eq!(shutdown.finish(LIMITS).await, Ending::Drained);
        assert!(shutdown.failed());
    }
}
