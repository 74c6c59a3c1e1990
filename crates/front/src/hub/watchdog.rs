//! Compares the heads of all served topics with the log: what is republished is sent at most once, and a
//! lost last event shows nowhere else. Also notices when the log is another one.

use std::{sync::Arc, time::Duration};

use natterjack_domain::RoomId;
use natterjack_eventlog::{HEADS_MAX_SUBJECTS, Heads, Topic};
use natterjack_wire::frame::ResetReason;
use tokio::{
    select,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Handle, Hub, opened};
use crate::outside::HashMap;

/// Between two rounds, however many gaps there are.
const PAUSE: Duration = Duration::from_millis(50);
/// Nothing waits long for Postgres.
const COPIES_LIMIT: Duration = Duration::from_millis(500);

impl Hub {
    /// Runs until `stop`: a round after every gap of the connection, and one in each period.
    pub async fn watch(self, stop: CancellationToken) {
        let (mut link, mut feeds) = (self.0.log.link(), self.0.feeds.link());
        let mut period = interval(self.0.config.heads_period);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                biased;
                () = stop.cancelled() => return,
                _ = period.tick() => {}
                changed = link.changed() => if changed.is_err() { return },
                changed = feeds.changed() => if changed.is_err() { return },
            }
            feeds.mark_unchanged();
            if !link.borrow_and_update().connected {
                continue;
            }
            // Each time: a stream can be made again without any connection being lost.
            match self.0.log.recheck().await {
                Ok(replaced) => {
                    if replaced {
                        tracing::error!("the log was replaced: every client starts anew");
                    }
                    self.abandon_replaced().await;
                }
                // The next round tries again.
                Err(error) => tracing::warn!(%error, "the streams cannot be checked"),
            }
            self.compare_heads().await;
            self.0.feeds.compare_heads().await;
            self.note_copies().await;
            sleep(PAUSE).await;
        }
    }

    /// Has a served room look into the log where it has not heard of a change to it: the word of it has come another way.
    pub(super) fn look_up(&self, room: RoomId, state_head: u64) {
        let handle = self.0.rooms.lock().get(&room).and_then(opened);
        if let Some(handle) = handle {
            // Of no connection: one change is not all.
            handle.check(Heads { state: state_head, timeline: 0 }, 0);
        }
    }

    /// What Postgres has a copy of was in the log, which is known to have lost it then.
    async fn note_copies(&self) {
        for stream in 0..self.0.log.streams() {
            if self.0.store.is_away() {
                return;
            }
            if let Ok(Ok(copied)) = timeout(COPIES_LIMIT, self.0.store.probe(stream)).await {
                self.0.log.has_been_at(stream, &copied.epoch, copied.seq);
            }
        }
    }

    fn served(&self) -> Vec<Arc<Handle>> {
        let rooms = self.0.rooms.lock();
        rooms.values().filter_map(opened).collect()
    }

    async fn compare_heads(&self) {
        let mut by_stream: HashMap<u16, Vec<Arc<Handle>>> = HashMap::default();
        for handle in self.served() {
            by_stream.entry(self.0.log.stream_of(handle.topic)).or_default().push(handle);
        }
        for (stream, handles) in by_stream {
            for some in handles.chunks(HEADS_MAX_SUBJECTS / 2) {
                let topics: Vec<Topic> = some.iter().map(|handle| handle.topic).collect();
                let connection = self.0.log.connection();
                match self.0.log.heads_of(stream, &topics).await {
                    Ok(heads) => {
                        for (handle, heads) in some.iter().zip(heads) {
                            handle.check(heads, connection);
                        }
                    }
                    Err(error) => tracing::debug!(%error, "heads cannot be compared"),
                }
            }
        }
    }

    /// Where the log is another one, nothing that is known of a topic holds: also of one that was being opened when that
    /// was found.
    async fn abandon_replaced(&self) {
        for handle in self.served() {
            if handle.epoch != self.0.log.epoch_of(handle.topic) {
                handle.abandon(ResetReason::EpochChanged).await;
            }
        }
        self.0.feeds.abandon_replaced();
    }
}
