//! What the log republishes, and ephemeral signals between nodes.

use std::{pin::Pin, task::Poll, time::Duration};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{sync::watch, time::timeout};

use crate::{
    Log,
    connection::Link,
    event::{Event, NotAnEvent},
    subject::Topic,
};

#[derive(Debug)]
pub enum Signal {
    Event(Event),
    /// Stored, but unreadable: there is a hole in the chain that cannot be filled.
    Unreadable(NotAnEvent),
    /// A JSON [`natterjack_wire::frame::Ephemeral`] from some node; not stored.
    Ephemeral(Bytes),
}

/// Everything live about one topic. At most once: gaps show in the events' `last` and in [`Log::link`].
pub struct Live {
    subscriber: Subscriber,
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("there is no connection to nats-server")]
    Unavailable,
    #[error("subscribing failed")]
    Subscribe(#[from] async_nats::SubscribeError),
}

#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    #[error("there is no connection to nats-server")]
    Unavailable,
    #[error("sending the signal failed")]
    Publish(#[from] async_nats::PublishError),
}

/// A signal that cannot be handed over within this is as good as lost.
const SIGNAL_LIMIT: Duration = Duration::from_secs(1);

impl Log {
    /// Follows a topic. To miss nothing, ask for its [`Log::heads`] afterwards.
    pub async fn follow(&self, topic: Topic) -> Result<Live, FollowError> {
        Ok(Live { subscriber: self.subscribe(topic.live()).await? })
    }

    /// Health of the connection that carries live events.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.live.link.clone()
    }

    /// Whether appends can be sent at this moment.
    pub fn is_writable(&self) -> bool {
        self.publish.link.borrow().connected
    }

    /// Sends an ephemeral signal to all who follow `topic`. At most once, no acknowledgement.
    pub async fn signal(&self, topic: Topic, body: Bytes) -> Result<(), SignalError> {
        self.broadcast(topic.ephemeral(), body).await
    }

    /// Sends to all who [`Log::listen`] to `subject`, which begins with `live.`.
    pub async fn broadcast(&self, subject: String, body: Bytes) -> Result<(), SignalError> {
        debug_assert!(subject.starts_with("live."));
        if !self.is_writable() {
            // The client would keep it until the connection is back; by then it is stale.
            return Err(SignalError::Unavailable);
        }
        let sent = timeout(SIGNAL_LIMIT, self.publish.client.publish(subject, body)).await;
        Ok(sent.map_err(|_| SignalError::Unavailable)??)
    }

    /// Fails at once without a connection: the client would keep the request, and stop taking others.
    async fn subscribe(&self, subject: String) -> Result<Subscriber, FollowError> {
        if !self.live.link.borrow().connected {
            return Err(FollowError::Unavailable);
        }
        let subscribed = timeout(self.config.read_timeout, self.live.client.subscribe(subject)).await;
        Ok(subscribed.map_err(|_| FollowError::Unavailable)??)
    }

    /// Messages sent by [`Log::broadcast`] to `subject`, which may have wildcards: subject and body of each.
    pub async fn listen(
        &self,
        subject: &str,
    ) -> Result<impl Stream<Item = (String, Bytes)> + Unpin + use<>, FollowError> {
        let subscriber = self.subscribe(subject.to_owned()).await?;
        Ok(subscriber.map(|message| (message.subject.to_string(), message.payload)))
    }
}

impl Stream for Live {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Signal>> {
        self.subscriber.poll_next_unpin(cx).map(|message| message.map(read))
    }
}

pub(crate) fn read(message: Message) -> Signal {
    if message.subject.ends_with(".eph") {
        return Signal::Ephemeral(message.payload);
    }
    match Event::from_message(message) {
        Ok(event) => Signal::Event(event),
        Err(error) => Signal::Unreadable(error),
    }
}
