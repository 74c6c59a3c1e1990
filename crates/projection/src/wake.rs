//! Says that a stream has something new: sooner than a tick would, and no more than that.

use std::{future, pin::Pin};

use futures_util::{Stream, StreamExt, stream::select_all};
use natterjack_eventlog::{FollowError, Log, PARTITIONS};

/// One sign of life of a stream. A projector that is busy has none: whatever the stream republished to it would cost
/// the log a delivery for every event.
pub struct Wake(Pin<Box<dyn Stream<Item = ()> + Send>>);

impl Wake {
    /// What is read from the log after this, by [`Log::run`], or else stirs it: nothing falls in between.
    pub async fn subscribe(log: &Log, stream: u16) -> Result<Self, FollowError> {
        let mut live = Vec::new();
        for subject in subjects(stream, log.streams()) {
            live.push(log.listen_once(&subject).await?);
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

/// The republished subjects of a stream, without the ephemeral signals beside them.
fn subjects(stream: u16, streams: u16) -> Vec<String> {
    let of = |partition: &str| {
        [
            format!("live.room.{partition}.*.state"),
            format!("live.room.{partition}.*.timeline"),
            format!("live.user.{partition}.*.feed"),
        ]
    };
    if streams == 1 {
        return of("*").into();
    }
    let own = (0..PARTITIONS).filter(|partition| u16::from(*partition) % streams == stream);
    own.flat_map(|partition| of(&format!("{partition:02x}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_heard_by_one_stream() {
        assert_eq!(subjects(0, 1).len(), 3);
        let mut all: Vec<_> = (0..3).flat_map(|stream| subjects(stream, 3)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3 * usize::from(PARTITIONS));
        assert!(subjects(1, 3).contains(&"live.room.3d.*.state".to_owned()));
    }
}
