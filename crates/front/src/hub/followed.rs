//! A topic that connections follow, be it a room or a feed.

use std::sync::Arc;

use natterjack_eventlog::Topic;
use tokio::sync::oneshot;

use super::{
    Handle,
    command::{Attach, Attached, ConnId},
    feed::Feed,
};

/// Cheap to clone.
#[derive(Clone)]
pub enum Followed {
    Room(Arc<Handle>),
    Feed(Arc<Feed>),
}

/// How far this front knows a topic.
pub struct Place {
    pub topic: Topic,
    /// Names the incarnation of the topic's stream.
    pub epoch: Arc<str>,
    pub head: u64,
}

impl Followed {
    pub fn place(&self) -> Place {
        match self {
            Self::Room(room) => room.place(),
            Self::Feed(feed) => feed.place(),
        }
    }

    /// Gives `None` when the topic has ended: open it again.
    pub async fn attach(&self, attach: Attach, attached: oneshot::Receiver<Attached>) -> Option<Attached> {
        match self {
            Self::Room(room) => room.attach(attach, attached).await,
            Self::Feed(feed) => feed.attach(attach),
        }
    }

    pub async fn detach(&self, conn: ConnId) {
        match self {
            Self::Room(room) => room.detach(conn).await,
            Self::Feed(feed) => feed.detach(conn),
        }
    }
}
