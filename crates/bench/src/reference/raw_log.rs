//! nats-server by itself: the same stream, the same subjects and the same headers as the product's, without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use natterjack_domain::{ClientId, MessageBody, MessageId, RoomId, UserId, message};
use natterjack_eventlog::{Subject, VERSION_HEADER};
use natterjack_wire::{Fact, StoredEvent};
use parking_lot::Mutex;
use tokio::time::{interval, sleep};

use crate::load::{self, Latency, TEXT_CHARS};

/// A stored message with a text of the usual length, which begins with `at`, and its dedupe id.
pub fn event(room: RoomId, at: u64) -> anyhow::Result<(String, Bytes)> {
    let (by, cid) = (UserId::random(), ClientId::random());
    let id = MessageId::derive(room, by, cid);
    let text = format!("{at:016x}{:.<rest$}", "", rest = TEXT_CHARS - 16);
    let body = MessageBody::parse(&text, TEXT_CHARS).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let fact = Fact::Message(message::Event::Posted { id, by, cid, body, reply_to: None });
    Ok((id.to_string(), StoredEvent::new(id.into(), &fact).encode()))
}

/// The headers that the product gives an event.
pub fn headers(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers.insert(VERSION_HEADER, "1");
    headers
}

/// How long it takes from the time at which an event was to be published until it comes back republished, at
/// `per_second` events over `rooms` rooms for `span`.
pub async fn republish(url: &str, rooms: usize, per_second: f64, span: Duration) -> anyhow::Result<Latency> {
    let publisher = async_nats::connect(url).await?;
    let jetstream = jetstream::new(publisher);
    let subscriber = async_nats::connect(url).await?;
    let latency = Arc::new(Mutex::new(load::histogram()));
    let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId::random()).collect();
    for room in &rooms {
        let mut live = subscriber.subscribe(format!("live.{}", Subject::timeline(*room))).await?;
        let latency = latency.clone();
        tokio::spawn(async move {
            while let Some(message) = live.next().await {
                let start = memchr::memmem::find(&message.payload, br#""body":""#).map(|at| at + 8);
                let at = start.and_then(|start| message.payload.get(start..start + 16));
                let at = at.and_then(|hex| u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
                if let Some(at) = at {
                    latency.lock().saturating_record(load::now().saturating_sub(at));
                }
            }
        });
    }
    subscriber.flush().await?;
    let warm_up = Duration::from_secs(1);
    let (begun, mut turn, mut due) = (Instant::now(), 0, load::now());
    let mut tick = interval(Duration::from_millis(1));
    let mut timed = false;
    while begun.elapsed() < warm_up + span {
        if !timed && begun.elapsed() > warm_up {
            latency.lock().reset();
            timed = true;
        }
        tick.tick().await;
        while due <= load::now() {
            let room = rooms[turn % rooms.len()];
            let (id, body) = event(room, due)?;
            drop(jetstream.publish_with_headers(Subject::timeline(room).to_string(), headers(&id), body).await?);
            turn += 1;
            due += (1e9 / per_second) as u64;
        }
    }
    sleep(Duration::from_millis(200)).await;
    let result = latency.lock();
    (!result.is_empty()).then(|| Latency::of(&result)).context("nothing was republished")
}

