//! Says that a stream may have something new: sooner than a tick would, and no more than that.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::select_all};
use natterjack_eventlog::{FollowError, Log, PARTITIONS};
use tokio::{sync::Notify, time::sleep};
use tracing::debug;

const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Notifies `wake` of every event that the stream republishes; many at once are one. Does not end by itself.
pub async fn listen(log: Log, stream: u16, wake: Arc<Notify>) {
    loop {
        match notify(&log, stream, &wake).await {
            Ok(()) => debug!(stream, "the live subscription ended"),
            Err(error) => debug!(stream, error = &error as &dyn std::error::Error, "cannot subscribe"),
        }
        sleep(RETRY_DELAY).await;
    }
}

async fn notify(log: &Log, stream: u16, wake: &Notify) -> Result<(), FollowError> {
    let mut live = Vec::new();
    for subject in subjects(stream, log.streams()) {
        live.push(log.listen(&subject).await?);
    }
    let mut live = select_all(live);
    while live.next().await.is_some() {
        wake.notify_one();
    }
    Ok(())
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
