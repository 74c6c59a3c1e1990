//! Two people in a room.

use async_nats::jetstream;
use natterjack_domain::{ClientId, MessageBody, MessageId, RoomId, UserId, message};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_stack::NatsServer;
use natterjack_testkit::{Account, Front, Site, Socket, eventually};
use natterjack_wire::Fact;
use serde_json::{Value, json};

pub struct World<N = NatsServer> {
    pub site: Site<N>,
    pub front: Front,
    pub ada: Account,
    pub bob: Account,
    pub room: RoomId,
}

pub async fn world<N>(site: Site<N>) -> World<N> {
    let front = site.front().await;
    let url = front.url();
    let (ada, bob) = (site.register(&url, "ada").await, site.register(&url, "bob").await);
    let room = ada.create_room(&url, "Marsh", "public").await;
    bob.join(&url, room).await;
    World { site, front, ada, bob, room }
}

/// Has the log announce what it stores, or not.
pub async fn announce(site: &Site, does: bool) {
    let streams = jetstream::new(async_nats::connect(site.nats.url()).await.unwrap());
    let log = site.log_config();
    for stream in 0..log.streams {
        let mut config = natterjack_eventlog::stream_config(stream, &log);
        config.republish = config.republish.filter(|_| does);
        streams.update_stream(config).await.unwrap();
    }
}

impl<N> World<N> {
    /// Ada says these things; gives their sequences.
    pub async fn say(&self, texts: &[&str]) -> Vec<u64> {
        let url = self.front.url();
        // Nats-server may have been away a moment ago.
        let mut socket = eventually("a connection", async || self.ada.try_connect(&url).await).await;
        let mut seqs = vec![];
        for text in texts {
            seqs.push(number(&socket.post(self.room, text).await["seq"]));
        }
        seqs
    }
}

/// What a front would append for somebody who says something.
pub fn posted(room: RoomId, by: UserId, text: &str) -> NewEvent {
    let cid = ClientId::random();
    let id = MessageId::derive(room, by, cid);
    let body = MessageBody::parse(text, 8_000).unwrap();
    let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
    NewEvent::new(Subject::timeline(room), id.into(), &fact)
}

/// The texts of a room as `account` is told them from its beginning on, over a front that tells all of them.
pub async fn told(account: &Account, front: &str, room: RoomId) -> Vec<String> {
    let (answer, texts) = resume(account, front, room, 0).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// Follows `room` after `after`; the answer, and the texts of the events that came with it.
pub async fn resume(account: &Account, front: &str, room: RoomId, after: u64) -> (Value, Vec<String>) {
    let mut socket = account.connect(front).await;
    let answer = socket.subscribe(room, json!({ "after": after })).await;
    (answer, pending(&mut socket).await)
}

/// The texts of the events that are on their way.
async fn pending(socket: &mut Socket) -> Vec<String> {
    let id = socket.request_id();
    socket.send(&json!({ "t": "ping", "n": id })).await.unwrap();
    let mut texts = vec![];
    loop {
        let frame = socket.until(|frame| frame["t"] == "ev" || frame["id"] == id).await;
        if frame["id"] == id {
            return texts;
        }
        texts.push(frame["e"]["body"].as_str().unwrap_or_default().to_owned());
    }
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}
