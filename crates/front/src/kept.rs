//! What people keep for themselves, on its way to their feeds.

mod paced;
mod receipts;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{EventId, MessageId, RoomId, UserId, user::Event};
use natterjack_eventlog::{NewEvent, Subject, Topic};
use natterjack_readmodel::kept;
use natterjack_wire::{
    ErrorCode, Fact, Position,
    rest::{AllRead, FeedChanged},
};

pub use self::{
    paced::{Paced, Pacing},
    receipts::{Receipts, Sign},
};
use crate::{config::KeptConfig, fault::Fault, hub::Hub, projected::Projected, store::Store};

/// Rooms that are marked as read at once.
const READ_PAGE: i64 = 200;
/// Appends that wait for their acknowledgement, of one request.
const READS_IN_FLIGHT: usize = 32;

/// Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) projected: Projected,
    pub(crate) config: Arc<KeptConfig>,
}

impl Keeper {
    pub fn new(hub: Hub, store: Store, projected: Projected, config: KeptConfig) -> Self {
        Self { hub, store, projected, config: Arc::new(config) }
    }

    /// Appends a fact to the feed of whose it is.
    pub async fn keep(&self, event: Event) -> Result<FeedChanged, Fault> {
        let user = event.user();
        let new = NewEvent::new(Subject::feed(user), EventId::random(), &Fact::User(event));
        let seq = self.hub.log().append(new).await?.seq;
        Ok(self.changed(user, seq))
    }

    /// The same about a room, of a member of it.
    pub async fn keep_of(&self, room: RoomId, event: Event) -> Result<FeedChanged, Fault> {
        self.hub.room(room).await?.admit(event.user()).await?;
        self.keep(event).await
    }

    pub(crate) fn changed(&self, user: UserId, seq: u64) -> FeedChanged {
        let epoch = self.hub.log().epoch_of(Topic::User(user)).to_string();
        FeedChanged { position: Position { epoch, seq } }
    }

    /// The stream of the person's feed, once the read models reflect `at_least` of it.
    pub async fn feed_of(&self, user: UserId, at_least: Option<u64>) -> Result<u16, Fault> {
        let (log, topic) = (self.hub.log(), Topic::User(user));
        if let Some(seq) = at_least {
            self.projected.wait(topic, &log.epoch_of(topic), seq).await?;
        }
        Ok(log.stream_of(topic))
    }

    /// Marks all rooms as read in which something is unread, each up to its last event that the read models know.
    pub async fn read_all(&self, user: UserId) -> Result<AllRead, Fault> {
        let (mut after, mut read) = (RoomId::from_uuid(uuid::Uuid::nil()), 0);
        loop {
            let page =
                self.store.query(async |c| kept::unread_rooms(&c, user, after, READ_PAGE).await).await?;
            let Some((last, _)) = page.last().copied() else { return Ok(AllRead { rooms: read }) };
            (after, read) = (last, read + page.len() as u64);
            let reads = page.into_iter().map(|(room, seq)| self.keep(Event::Read { id: user, room, seq }));
            stream::iter(reads).buffer_unordered(READS_IN_FLIGHT).try_for_each(async |_| Ok(())).await?;
        }
    }

    /// The room of a message that the person may read; to all others there is no such message.
    pub async fn readable(&self, user: UserId, mid: MessageId) -> Result<RoomId, Fault> {
        let (room, _) = self.store.place(mid).await?.ok_or(ErrorCode::MessageNotFound)?;
        match self.hub.room(room).await?.admit(user).await.map_err(Fault::from) {
            Ok(()) => Ok(room),
            Err(fault) if fault.code.is_transient() => Err(fault),
            Err(_) => Err(ErrorCode::MessageNotFound.into()),
        }
    }

    pub async fn save(&self, user: UserId, mid: MessageId) -> Result<FeedChanged, Fault> {
        let room = self.readable(user, mid).await?;
        let max = self.config.saved_max;
        if self.store.query(async |c| kept::saved_count(&c, user).await).await? >= max {
            return Err(Fault::from(ErrorCode::TooManySaved).because(format!("at most {max}")));
        }
        self.keep(Event::MessageSaved { id: user, room, mid, on: true }).await
    }

    /// Saves a message no longer; one that is not saved is no error.
    pub async fn forget(&self, user: UserId, mid: MessageId) -> Result<FeedChanged, Fault> {
        // What was saved a moment ago is to be found.
        let head = self.hub.log().heads(Topic::User(user)).await?.timeline;
        self.feed_of(user, Some(head)).await?;
        let room = self.store.query(async |c| kept::saved_in(&c, user, mid).await).await?;
        match room {
            None => Ok(self.changed(user, head)),
            Some(room) => self.keep(Event::MessageSaved { id: user, room, mid, on: false }).await,
        }
    }
}

/// Between two events of the same kind, where people make many.
pub const PACE: Duration = Duration::from_secs(1);
