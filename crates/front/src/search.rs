//! Searching messages: bounded in time, in number, and for each person.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use natterjack_domain::{RoomId, UserId};
use natterjack_readmodel::search::{self as query, Search};
use natterjack_wire::{ErrorCode, rest::HitList};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    config::SearchConfig,
    fault::Fault,
    hub::{Hub, OpenError, Refusal},
    store::Store,
};

/// Rooms that were left are left out, and the search is made again, so often at most.
const ATTEMPTS: usize = 4;

/// Cheap to clone.
#[derive(Clone)]
pub struct Searches {
    hub: Hub,
    store: Store,
    time_limit: Duration,
    /// So many at once: what is left of Postgres is for those who read.
    turns: Arc<Semaphore>,
}

impl Searches {
    pub fn new(hub: Hub, store: Store, config: &SearchConfig) -> Self {
        let turns = Arc::new(Semaphore::new(config.at_once));
        Self { hub, store, time_limit: config.time_limit, turns }
    }

    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// What `search.user` finds. The read models say of which rooms this is a member; the rooms of what was found say whether
    /// that still is so, as they do before anybody reads in them.
    pub async fn messages(&self, search: Search) -> Result<HitList, Fault> {
        let turn = timeout(self.time_limit, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ErrorCode::Busy)?;
        let mut left = vec![];
        for _ in 0..ATTEMPTS {
            let found = self.store.query(async |mut c| query::messages(&mut c, &search, &left).await).await?;
            let closed = self.closed(&found, search.user).await?;
            if closed.is_empty() {
                return Ok(found);
            }
            left.extend(closed);
        }
        Err(ErrorCode::ReadBehind.into())
    }

    /// The rooms of what was found in which `user` may not read any more.
    async fn closed(&self, found: &HitList, user: UserId) -> Result<Vec<RoomId>, Fault> {
        let mut rooms: Vec<_> = found.items.iter().map(|hit| hit.message.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let judged = try_join_all(rooms.into_iter().map(async |room| {
            let may_read = self.may_read(room, user).await?;
            Ok::<_, Fault>((!may_read).then_some(room))
        }));
        Ok(judged.await?.into_iter().flatten().collect())
    }

    async fn may_read(&self, room: RoomId, user: UserId) -> Result<bool, Fault> {
        let handle = match self.hub.room(room).await {
            Err(error) if matches!(*error, OpenError::NoSuchRoom) => return Ok(false),
            opened => opened?,
        };
        match handle.admit(user).await {
            Ok(()) => Ok(true),
            Err(Refusal::Rejected(_) | Refusal::TooSoon(_)) => Ok(false),
            Err(Refusal::CutOff(cut_off)) => Err(cut_off.into()),
        }
    }
}
