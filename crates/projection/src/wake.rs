//! Says that a stream has something new: sooner than a tick would, and no more than that.

use std::{future, pin::Pin};

use futures_util::{Stream, StreamExt, stream::select_all};
use natterjack_eventlog::{FollowError, Log};

/// What is republished of all streams, without the ephemeral signals beside it. To be woken by another stream is harmless;
/// to name the partitions of one would take two hundred subscriptions each time.
const SUBJECTS: [&str; 3] = ["live.room.*.*.state", "live.room.*.*.timeline", "live.user.*.*.feed"];

/// One sign of life of a stream. A projector that is busy has none: whatever the stream republished to it would cost
/// the log a delivery for every event.
pub struct Wake(Pin<Box<dyn Stream<Item = ()> + Send>>);

impl Wake {
    /// What is read from the log after this, by [`Log::run`], or else stirs it: nothing falls in between, unless a
    /// replica that lags gives the answer; then the limit of the wait helps.
    pub async fn subscribe(log: &Log) -> Result<Self, FollowError> {
        let mut live = Vec::new();
        for subject in SUBJECTS {
            live.push(log.listen_once(subject).await?);
        }
        Ok(Self(Box::pin(select_all(live).map(drop))))
    }

    /// Waits for the next event that the stream republishes. Ephemeral, like all that is live: use it with a limit.
    pub async fn stirred(mut self) {
        if self.0.next().await.is_none() {
            future::pending::<()>().await;
        }
    }
}
