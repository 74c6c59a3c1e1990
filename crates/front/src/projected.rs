//! How far the read models are: for reads that have to see what was just written.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use natterjack_eventlog::{Log, Topic};
use natterjack_wire::{ErrorCode, Position};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{fault::Fault, store::Store};

/// Postgres is asked when the projector's word did not come, which is sent at most once.
const ASK_EVERY: Duration = Duration::from_millis(250);
const LISTEN_RETRY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Projected {
    known: Arc<HashMap<u16, watch::Sender<Position>>>,
    store: Store,
    streams: u16,
    limit: Duration,
}

impl Projected {
    pub fn new(streams: u16, store: Store, limit: Duration) -> Self {
        let nowhere = || watch::Sender::new(Position { epoch: String::new(), seq: 0 });
        Self {
            known: Arc::new((0..streams).map(|stream| (stream, nowhere())).collect()),
            store,
            streams,
            limit,
        }
    }

    /// Listens to the projector until `stop`.
    pub async fn listen(self, log: Log, stop: CancellationToken) {
        let heard = async {
            loop {
                match log.listen("live.projected.*").await {
                    Ok(mut words) => {
                        while let Some((subject, body)) = words.next().await {
                            self.note(&subject, &body);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the projector cannot be heard"),
                }
                sleep(LISTEN_RETRY).await;
            }
        };
        select! {
            () = stop.cancelled() => {}
            () = heard => {}
        }
    }

    fn note(&self, subject: &str, body: &[u8]) {
        let stream = subject.rsplit('.').next().and_then(|index| index.parse().ok());
        if let (Some(stream), Ok(position)) = (stream, serde_json::from_slice::<Position>(body))
            && let Some(known) = self.known.get(&stream)
        {
            let _ = known.send_replace(position);
        }
    }

    /// Waits until the read models reflect `seq` of the stream of `topic`; not for ever.
    pub async fn wait(&self, topic: Topic, epoch: &str, seq: u64) -> Result<(), Fault> {
        let stream = topic.stream(self.streams);
        let Some(known) = self.known.get(&stream) else { return Ok(()) };
        let reached = |position: &Position| position.seq >= seq && position.epoch == epoch;
        let mut heard = known.subscribe();
        if reached(&heard.borrow_and_update()) {
            return Ok(());
        }
        let deadline = Instant::now() + self.limit;
        loop {
            let position = self.store.checkpoint(stream).await?;
            if reached(&position) {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                let detail = format!("it is at {} of {seq}", position.seq);
                return Err(Fault::from(ErrorCode::ReadBehind).because(detail));
            }
            if let Ok(Ok(_)) = timeout_at(deadline.min(now + ASK_EVERY), heard.wait_for(reached)).await {
                return Ok(());
            }
        }
    }
}
