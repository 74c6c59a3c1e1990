//! The event log on NATS JetStream: subjects, appending, live events, reading, set-up of the streams.
//!
//! It knows nothing of Postgres and of clients, and keeps no state but its connections. Start with
//! [`Log`]: [`Log::append`] for the way in, [`Log::follow`] for what is live, [`Log::tail`] for what is stored about one
//! topic, [`Log::reader`] for all that is stored.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use async_nats::jetstream;
use tokio::time::sleep;

mod append;
mod batch;
mod config;
mod connection;
mod definition;
mod event;
mod feeds;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hearing;
mod lane;
mod live;
pub mod metrics;
mod read;
mod reader;
mod soundness;
mod subject;

use lane::Lane;
use soundness::{Found, Soundness};

pub use append::{AppendError, Appended, NewEvent, Pending};
pub use config::Config;
pub use connection::Link;
pub use definition::{SERVER_VERSION_MIN, StreamError, stream_config, stream_name};
pub use event::{Event, NotAnEvent, VERSION_HEADER};
pub use feeds::{FeedId, Feeds};
pub use live::{FollowError, Live, Signal, SignalError};
pub use read::{HEADS_MAX_SUBJECTS, Heads, ReadError};
pub use reader::{Reader, Run};
pub use soundness::{Damage, Trouble};
pub use subject::{InvalidSubject, Kind, PARTITIONS, Subject, Topic};

/// A handle to the log; clones share their connections. Publishing, live events and reading have a connection
/// each, so that none waits behind another.
#[derive(Clone)]
pub struct Log {
    config: Arc<Config>,
    publish: connection::Connection,
    jetstream: jetstream::Context,
    /// One for each stream.
    lanes: Arc<[Arc<Lane>]>,
    live: connection::Connection,
    hearing: Arc<hearing::Hearing>,
    replay: connection::Connection,
    epochs: Arc<RwLock<Vec<Arc<str>>>>,
    soundness: Arc<Soundness>,
}

/// A new leader of a cluster may not know yet of all that it holds: who finds less than there was asks so many times, and
/// waits so long after each.
pub const LEADER_LOOKS: usize = 6;
pub const LEADER_SETTLES: Duration = Duration::from_millis(300);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("connecting to nats-server failed")]
    Connect(#[from] async_nats::ConnectError),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl OpenError {
    /// Whether the log is only away, or has no leader for now: it may be opened later as it is.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Stream(StreamError::Lookup { .. }))
    }
}

/// Makes what is missing of the streams, and checks what is there. Idempotent.
pub async fn provision(config: &Config) -> Result<(), OpenError> {
    let connection = connection::connect(config, "provision").await?;
    definition::provision(&jetstream::new(connection.client), config).await?;
    Ok(())
}

impl Log {
    /// Connects, and checks the server and the streams.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let publish = connection::connect(config, "publish").await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(config.read_timeout)
            .ack_timeout(config.ack_timeout)
            .max_ack_inflight(config.appends_in_flight)
            .backpressure_on_inflight(true)
            .build(publish.client.clone());
        let found = definition::verify(&jetstream, config).await?;
        let live = connection::connect(config, "live").await?;
        let lane = |_| Lane::new(config.replicas == 1, config.appends_in_flight);
        let log = Self {
            config: Arc::new(config.clone()),
            lanes: (0..config.streams).map(lane).collect(),
            publish,
            jetstream,
            hearing: hearing::Hearing::of(&live.client),
            live,
            replay: connection::connect(config, "replay").await?,
            epochs: Arc::new(RwLock::new(found.iter().map(|found| found.epoch.as_str().into()).collect())),
            soundness: Arc::new(Soundness::new(config.streams)),
        };
        log.examine(&log.soundness.marks(), &found).await;
        Ok(log)
    }

    pub fn streams(&self) -> u16 {
        self.config.streams
    }

    /// The stream that holds `topic`.
    pub fn stream_of(&self, topic: Topic) -> u16 {
        topic.stream(self.config.streams)
    }

    /// Names the stream's incarnation: sequences of different epochs cannot be compared.
    pub fn epoch(&self, stream: u16) -> Arc<str> {
        let epochs = self.epochs.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        epochs[usize::from(stream)].clone()
    }

    pub fn epoch_of(&self, topic: Topic) -> Arc<str> {
        self.epoch(self.stream_of(topic))
    }

    /// Checks server and streams again, as after a reconnect; `true` when an epoch has changed.
    pub async fn recheck(&self) -> Result<bool, StreamError> {
        let checked = self.check().await;
        self.soundness.asked(&checked);
        checked
    }

    async fn check(&self) -> Result<bool, StreamError> {
        let mut known = self.soundness.marks();
        let mut found = definition::verify(&self.jetstream, &self.config).await?;
        for _ in 1..LEADER_LOOKS {
            if !self.is_cut_back(&known, &found) {
                break;
            }
            sleep(LEADER_SETTLES).await;
            found = definition::verify(&self.jetstream, &self.config).await?;
        }
        let changed = self.note_epochs(&found);
        if changed {
            known = self.soundness.marks();
        }
        self.examine(&known, &found).await;
        Ok(changed)
    }

    fn note_epochs(&self, found: &[Found]) -> bool {
        let mut epochs = self.epochs.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut changed = false;
        for (index, (known, found)) in epochs.iter_mut().zip(found).enumerate() {
            if **known != *found.epoch {
                changed = true;
                *known = found.epoch.as_str().into();
                self.soundness.forget(index);
            }
        }
        changed
    }
}
