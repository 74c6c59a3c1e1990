//! nats-server by itself: the same stream, the same subjects and the same headers as the product's, without it.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use natterjack_domain::{ClientId, MessageBody, MessageId, RoomId, UserId, message};
use natterjack_eventlog::{Subject, VERSION_HEADER};
use natterjack_wire::{Fact, StoredEvent};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    load::{Board, OpenLoop, TEXT_CHARS},
    turns::Side,
};

/// A stored message with a text of the usual length, which begins with `at`, and its dedupe id.
pub fn event(room: RoomId, at: u64) -> anyhow::Result<(String, Bytes)> {
    let (by, cid) = (UserId::random(), ClientId::random());
    let id = MessageId::derive(room, by, cid);
    let text = format!("{at:016x}{:.<rest$}", "", rest = TEXT_CHARS - 16);
    let body = MessageBody::parse(&text, TEXT_CHARS).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
    Ok((id.to_string(), StoredEvent::new(id.into(), &fact).encode()))
}

/// The headers that the product gives an event.
pub fn headers(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers.insert(VERSION_HEADER, "1");
    headers
}

/// Publishes at a steady rate while it is its turn, and times how long each event takes until it comes back
/// republished, from the moment at which it was to be published.
pub struct Republish {
    pub side: Side,
    _tasks: JoinSet<()>,
}

impl Republish {
    /// `per_second` events over `rooms` rooms.
    pub async fn start(url: &str, rooms: usize, per_second: f64) -> anyhow::Result<Self> {
        let jetstream = jetstream::new(async_nats::connect(url).await?);
        let subscriber = async_nats::connect(url).await?;
        let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId::random()).collect();
        let (board, mut tasks) = (Board::new(), JoinSet::new());
        for room in &rooms {
            let mut live = subscriber.subscribe(format!("live.{}", Subject::timeline(*room))).await?;
            let board = board.clone();
            tasks.spawn(async move {
                while let Some(message) = live.next().await {
                    board.seen(&message.payload);
                }
            });
        }
        subscriber.flush().await?;
        let side = Side::new(&board, &[]);
        tasks.spawn(publish(jetstream, rooms, per_second, board));
        Ok(Self { side, _tasks: tasks })
    }
}

async fn publish(jetstream: jetstream::Context, rooms: Vec<RoomId>, per_second: f64, board: Arc<Board>) {
    let (sender, mut due) = mpsc::channel(1_024);
    let sending = board.sending();
    let _clock = OpenLoop::every(Duration::from_secs_f64(1.0 / per_second), move |at| {
        if *sending.borrow() {
            // A publisher that cannot keep up shows in what comes back.
            let _ = sender.try_send(at);
        }
    });
    for room in rooms.iter().cycle() {
        let Some(at) = due.recv().await else { return };
        let Ok((id, body)) = event(*room, at) else { return };
        // Nobody waits for the acknowledgement: what is timed is the event that comes back.
        let sent = jetstream.publish_with_headers(Subject::timeline(*room).to_string(), headers(&id), body);
        let _ = sent.await;
    }
}
