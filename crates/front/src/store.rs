//! Postgres as the front sees it: the read models, and the second copy of the log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use natterjack_database::{Connection, Error, Pool};
use natterjack_domain::{MessageId, RoomId, UserId};
use natterjack_eventlog::{Event, Kind, Subject, Topic};
use natterjack_readmodel::{
    self as readmodel, AsOf, events,
    messages::{self, Known},
};
use natterjack_runtime::ops::Check;
use natterjack_wire::{Position, rest::Message};
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    streams: u16,
    /// Postgres was found to be away: reads for which the log can stand in do not even try.
    away: Arc<AtomicBool>,
    /// Stands in for Postgres.
    #[cfg(test)]
    pub(crate) model: Option<crate::model::outside::Copy>,
}

/// How often Postgres is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(500);

impl Store {
    pub fn new(pool: Pool, streams: u16) -> Self {
        Self {
            pool,
            streams,
            away: Arc::default(),
            #[cfg(test)]
            model: None,
        }
    }

    /// Runs queries on one connection, no longer than a statement may take.
    pub async fn query<T>(
        &self,
        queries: impl AsyncFnOnce(Connection) -> Result<T, readmodel::Error>,
    ) -> Result<T, readmodel::Error> {
        let bounded = self.pool.bounded(async { Ok::<_, Error>(queries(self.pool.get().await?).await) });
        bounded.await?
    }

    /// Looks after Postgres until `stop`.
    pub async fn watch(self, check: Check, stop: CancellationToken) {
        let mut every = interval(WATCH_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            match self.probe(0).await {
                Ok(_) => {
                    self.away.store(false, Ordering::Relaxed);
                    check.ready();
                }
                Err(error) => {
                    self.away.store(true, Ordering::Relaxed);
                    check.unready(error.to_string());
                }
            }
        }
    }

    /// Whether Postgres was away when it was last looked at.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// The same as [`Self::query`] where there is another way to know: nothing, at once, while Postgres is away.
    async fn try_query<T>(
        &self,
        epoch: &str,
        query: impl Future<Output = Result<AsOf<T>, readmodel::Error>>,
    ) -> Option<(u64, T)> {
        if self.is_away() {
            return None;
        }
        match query.await {
            Ok(found) if found.as_of.epoch == epoch => Some((found.as_of.seq, found.value)),
            Ok(_) => None,
            Err(error) => {
                if error.is_unavailable() {
                    self.away.store(true, Ordering::Relaxed);
                }
                tracing::debug!(%error, "reading from the log, since Postgres cannot be read");
                None
            }
        }
    }

    /// The state events of a room up to a position of its stream; none when Postgres cannot tell, or knows another
    /// incarnation of the stream.
    pub async fn room_state(&self, room: RoomId, epoch: &str) -> Option<(u64, Vec<Event>)> {
        let stream = Topic::Room(room).stream(self.streams);
        let (as_of, found) = self.try_query(epoch, self.state_events(stream, room)).await?;
        Some((as_of, found.into_iter().map(|event| stored(Topic::Room(room), event)).collect()))
    }

    /// Up to `limit` events of `topic` after `after`, and the position up to which they are complete.
    pub async fn events_after(
        &self,
        topic: Topic,
        epoch: &str,
        after: u64,
        limit: usize,
    ) -> Option<(u64, Vec<Event>)> {
        let stream = topic.stream(self.streams);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let found = self.try_query(epoch, self.topic_events(stream, topic, after, limit));
        let (as_of, events) = found.await?;
        Some((as_of, events.into_iter().map(|event| stored(topic, event)).collect()))
    }

    /// What `user` has to know of a message to change it.
    pub async fn message(
        &self,
        room: RoomId,
        mid: MessageId,
        user: UserId,
    ) -> Result<AsOf<Option<Known>>, readmodel::Error> {
        let stream = Topic::Room(room).stream(self.streams);
        self.query(async |c| messages::message(&c, stream, room, mid, user).await).await
    }

    /// What a message says.
    pub async fn said(
        &self,
        room: RoomId,
        user: UserId,
        mid: MessageId,
    ) -> Result<Option<Message>, readmodel::Error> {
        self.query(async |c| messages::one(&c, room, user, mid).await).await
    }

    /// Where a message stands: its room, and its sequence or that of the message that began its thread.
    pub async fn place(&self, mid: MessageId) -> Result<Option<(RoomId, u64)>, readmodel::Error> {
        self.query(async |c| messages::place(&c, mid).await).await
    }

    /// How many pinned messages a room has.
    pub async fn pins(&self, room: RoomId) -> Result<usize, readmodel::Error> {
        self.query(async |c| messages::pin_count(&c, room).await).await
    }

    /// The last message of somebody in a room, if it is among its newest, and when it was posted.
    pub async fn last_post(
        &self,
        room: RoomId,
        author: UserId,
    ) -> Result<Option<(MessageId, String)>, readmodel::Error> {
        self.query(async |c| readmodel::messages::last_of(&c, room, author).await).await
    }

    /// Up to where the read models reflect a stream.
    pub async fn checkpoint(&self, stream: u16) -> Result<Position, readmodel::Error> {
        self.query(async |c| readmodel::checkpoint(&c, stream).await).await
    }
}

fn stored(topic: Topic, event: events::LogEvent) -> Event {
    let kind = match event.kind {
        events::Kind::State => Kind::State,
        events::Kind::Timeline => Kind::Timeline,
        events::Kind::Feed => Kind::Feed,
    };
    Event {
        subject: Subject { topic, kind },
        seq: event.seq,
        last: None,
        ts: event.ts,
        known: event.known,
        body: event.body,
    }
}
