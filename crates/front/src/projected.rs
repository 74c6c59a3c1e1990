//! How far the read models are: for reads that have to see what was just written.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use natterjack_eventlog::Topic;
use natterjack_wire::{ErrorCode, Position};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{fault::Fault, outside::Log, store::Store};

/// Postgres is asked, once for all who wait, when the projector's word did not come: it is sent at most once.
const ASK_EVERY: Duration = Duration::from_millis(250);
const LISTEN_RETRY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Projected {
    /// One for each stream.
    known: Arc<[watch::Sender<Position>]>,
    /// Somebody waits.
    wanted: Arc<Notify>,
    log: Log,
    store: Store,
    limit: Duration,
}

impl Projected {
    pub fn new(log: Log, store: Store, limit: Duration) -> Self {
        let nowhere = || watch::Sender::new(Position { epoch: String::new(), seq: 0 });
        let known = (0..log.streams()).map(|_| nowhere()).collect();
        Self { known, wanted: Arc::default(), log, store, limit }
    }

    /// Listens to the projector, and asks Postgres for those who wait, until `stop`.
    pub async fn listen(self, stop: CancellationToken) {
        select! {
            () = stop.cancelled() => {}
            () = self.hear() => {}
            () = self.ask() => {}
        }
    }

    async fn hear(&self) {
        loop {
            match self.log.listen("live.projected.*").await {
                Ok(mut words) => {
                    while let Some((subject, body)) = words.next().await {
                        let stream = subject.rsplit('.').next().and_then(|index| index.parse().ok());
                        let position = serde_json::from_slice(&body);
                        if let (Some(stream), Ok(position)) = (stream, position) {
                            self.note(stream, position);
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "the projector cannot be heard"),
            }
            sleep(LISTEN_RETRY).await;
        }
    }

    async fn ask(&self) {
        loop {
            let awaited: Vec<_> =
                (0..self.known.len()).filter(|stream| self.known[*stream].receiver_count() > 0).collect();
            if awaited.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            for stream in awaited {
                match self.store.checkpoint(u16::try_from(stream).unwrap_or(u16::MAX)).await {
                    Ok(position) => self.note(stream, position),
                    Err(error) => tracing::debug!(%error, "nobody knows how far the read models are"),
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn note(&self, stream: usize, position: Position) {
        if let Some(known) = self.known.get(stream) {
            known.send_replace(position);
        }
    }

    /// Waits until the read models reflect `seq` of the stream of `topic`; not for ever.
    pub async fn wait(&self, topic: Topic, epoch: &str, seq: u64) -> Result<(), Fault> {
        let stream = topic.stream(u16::try_from(self.known.len()).unwrap_or(u16::MAX));
        let reached = |position: &Position| position.seq >= seq && position.epoch == epoch;
        let mut heard = self.known[usize::from(stream)].subscribe();
        if reached(&heard.borrow_and_update()) {
            return Ok(());
        }
        self.wanted.notify_one();
        if let Ok(Ok(_)) = timeout(self.limit, heard.wait_for(reached)).await {
            return Ok(());
        }
        if self.store.is_away() {
            return Err(ErrorCode::DatabaseUnavailable.into());
        }
        // What the log does not hold is not waited for: the asker made it up.
        if let Ok(last) = self.log.last_seq(stream).await
            && last < seq
        {
            let detail = format!("at_least is {seq}, but the log ends at {last}");
            return Err(Fault::from(ErrorCode::RequestInvalid).because(detail));
        }
        let detail = format!("it is at {} of {seq}", heard.borrow().seq);
        Err(Fault::from(ErrorCode::ReadBehind).because(detail))
    }
}
