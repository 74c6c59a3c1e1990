//! Keeps a server running: starts it again, with growing pauses, when it ends by itself.

use std::{future::Future, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{NatsServer, Postgres, StartError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that ran this long has recovered: the next failure begins with the first pause again.
const STEADY: Duration = Duration::from_secs(30);

/// What can be supervised.
pub trait Server: Send + Sync + 'static {
    /// For log lines and messages.
    fn name(&self) -> &'static str;
    fn pid(&self) -> u32;
    /// Cancel safe.
    fn exited(&self) -> impl Future<Output = String> + Send;
    /// On the same port with the same data.
    fn restart(&mut self) -> impl Future<Output = Result<(), StartError>> + Send;
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

impl Server for NatsServer {
    fn name(&self) -> &'static str {
        "nats-server"
    }
    fn pid(&self) -> u32 {
        self.pid()
    }
    async fn exited(&self) -> String {
        self.exited().await.to_string()
    }
    async fn restart(&mut self) -> Result<(), StartError> {
        self.restart().await
    }
    async fn stop(&self) {
        self.stop().await;
    }
}

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }
    fn pid(&self) -> u32 {
        self.pid()
    }
    async fn exited(&self) -> String {
        self.exited().await.to_string()
    }
    async fn restart(&mut self) -> Result<(), StartError> {
        self.restart().await
    }
    async fn stop(&self) {
        self.stop_fast().await;
    }
}

/// How a supervised server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `restarts`: how often it was started again so far.
    Up { pid: u32, restarts: u32 },
    /// It ended and is not back yet.
    Down { reason: String },
    /// It was told to stop, and has.
    Stopped,
}

/// A server under supervision. Dropping it stops the supervision and kills the server.
#[derive(Debug)]
pub struct Supervised {
    status: watch::Receiver<Status>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Takes over a server that is running.
    pub fn new(server: impl Server) -> Self {
        let (status_sender, status) = watch::channel(Status::Up { pid: server.pid(), restarts: 0 });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(supervise(server, status_sender, stopped));
        Self { status, stop: Some(stop), task }
    }

    /// The present status and its changes; changes that follow closely may be seen as one.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends the supervision and stops the server in good order.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn supervise(
    mut server: impl Server,
    status: watch::Sender<Status>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut restarts: u32 = 0;
    loop {
        let up_since = Instant::now();
        let reason = tokio::select! {
            _ = &mut stopped => {
                server.stop().await;
                status.send_replace(Status::Stopped);
                return;
            }
            reason = server.exited() => reason,
        };
        tracing::error!(server = server.name(), reason, "ended by itself: starting it again");
        status.send_replace(Status::Down { reason });
        let first = if up_since.elapsed() > STEADY { Duration::ZERO } else { FIRST_PAUSE };
        tokio::select! {
            _ = &mut stopped => {
                status.send_replace(Status::Stopped);
                return;
            }
            () = revive(&mut server, &status, first) => {}
        }
        restarts = restarts.saturating_add(1);
        let pid = server.pid();
        tracing::info!(server = server.name(), pid, restarts, "running again");
        status.send_replace(Status::Up { pid, restarts });
    }
}

/// Tries until the server runs.
async fn revive(server: &mut impl Server, status: &watch::Sender<Status>, first: Duration) {
    let mut pause = first;
    loop {
        sleep(pause).await;
        let Err(error) = server.restart().await else {
            return;
        };
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        tracing::error!(server = server.name(), %error, retry_ms = pause.as_millis(), "did not start");
        status.send_replace(Status::Down { reason: error.to_string() });
    }
}
