use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use natterjack_domain::{ClientId, RoomId};
use serde_json::{Value, json};

use crate::{Account, Closed, Socket};

/// A client that follows rooms as `docs/protocol.md` says: it keeps its position in each, resumes on any front, sends
/// again what was not acknowledged, and fails the test when an event comes twice, out of order, or not at all.
pub struct Follower {
    pub account: Account,
    fronts: Vec<String>,
    next_front: usize,
    socket: Option<Socket>,
    pub rooms: BTreeMap<RoomId, Followed>,
    unsettled: BTreeMap<ClientId, Value>,
    next_id: u64,
    pub reconnects: usize,
    pub resets: usize,
}

/// What a client knows of a room.
#[derive(Default)]
pub struct Followed {
    pub last: u64,
    epoch: Option<String>,
    /// Events applied: sequence and event.
    pub events: Vec<(u64, Value)>,
    posted: HashSet<String>,
    /// Messages that the log holds twice: they count once. None come from fronts within the log's dedupe window.
    pub repeats: usize,
}

/// Between attempts to connect.
const COME_BACK: Duration = Duration::from_millis(20);

impl Followed {
    /// Ids of the messages, in order.
    pub fn messages(&self) -> Vec<(u64, String)> {
        let posted = self.events.iter().filter(|(_, e)| e["type"] == "message.posted");
        posted.map(|(seq, e)| (*seq, e["id"].as_str().unwrap_or_default().to_owned())).collect()
    }

    fn apply(&mut self, frame: &Value) {
        let number = |name: &str| frame[name].as_u64().expect("a sequence");
        let (seq, prev) = (number("seq"), number("prev"));
        if seq <= self.last {
            return;
        }
        assert!(prev <= self.last, "a gap: {frame} after {}", self.last);
        self.last = seq;
        if frame["e"]["type"] == "message.posted" {
            let id = frame["e"]["id"].as_str().expect("an id").to_owned();
            if !self.posted.insert(id) {
                self.repeats += 1;
                return;
            }
        }
        self.events.push((seq, frame["e"].clone()));
    }
}

impl Follower {
    /// `fronts`: base URLs; each reconnect goes to the next one.
    pub fn new(account: Account, fronts: &[String], rooms: &[RoomId]) -> Self {
        Self {
            account,
            fronts: fronts.to_vec(),
            next_front: 0,
            socket: None,
            rooms: rooms.iter().map(|room| (*room, Followed::default())).collect(),
            unsettled: BTreeMap::new(),
            next_id: 1,
            reconnects: 0,
            resets: 0,
        }
    }

    /// Begins with another front than the first.
    #[must_use]
    pub fn beginning_at(self, front: usize) -> Self {
        Self { next_front: front, ..self }
    }

    /// Whether all that was sent has been acknowledged.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Drops the connection without a word.
    pub fn disconnect(&mut self) {
        self.socket = None;
    }

    /// Sends a message, now or after the next reconnect.
    pub async fn post(&mut self, room: RoomId, body: &str) -> ClientId {
        let cid = ClientId::random();
        let frame = json!({ "t": "send", "id": self.id(), "room": room, "cid": cid, "body": body });
        self.unsettled.insert(cid, frame.clone());
        if let Some(socket) = &mut self.socket
            && socket.send(&frame).await.is_err()
        {
            self.socket = None;
        }
        cid
    }

    /// Takes the next frame; connects first where there is no connection. Cancel safe.
    pub async fn step(&mut self) {
        if self.socket.is_none() {
            self.connect().await;
            return;
        }
        let Some(socket) = &mut self.socket else { return };
        match socket.next().await {
            Ok(frame) => self.take(&frame),
            Err(Closed(_)) => self.socket = None,
        }
    }

    /// Steps until `done`.
    pub async fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let running = async {
            while !done(self) {
                self.step().await;
            }
        };
        let ended = tokio::time::timeout(2 * crate::PATIENCE, running).await.is_ok();
        let at: Vec<_> = self.rooms.values().map(|room| (room.last, room.events.len())).collect();
        assert!(
            ended,
            "{} waited for {what}; unsettled {}, rooms at {at:?}",
            self.account.username,
            self.unsettled.len()
        );
    }

    async fn connect(&mut self) {
        let socket = loop {
            let front = &self.fronts[self.next_front % self.fronts.len()];
            self.next_front += 1;
            if let Some(socket) = self.account.try_connect(front).await {
                break socket;
            }
            tokio::time::sleep(COME_BACK).await;
        };
        self.reconnects += 1;
        self.socket = Some(socket);
        self.subscribe_all().await;
        let frames: Vec<_> = self.unsettled.values().cloned().collect();
        for frame in frames {
            self.tell(&frame).await;
        }
    }

    async fn subscribe_all(&mut self) {
        let rooms: Vec<_> = self.rooms.keys().copied().collect();
        for room in rooms {
            let id = self.id();
            let followed = &self.rooms[&room];
            let mut frame = json!({ "t": "sub", "id": id, "room": room, "after": followed.last });
            if let Some(epoch) = &followed.epoch {
                frame["epoch"] = json!(epoch);
            }
            self.tell(&frame).await;
        }
    }

    async fn tell(&mut self, frame: &Value) {
        if let Some(socket) = &mut self.socket
            && socket.send(frame).await.is_err()
        {
            self.socket = None;
        }
    }

    fn take(&mut self, frame: &Value) {
        match frame["t"].as_str() {
            Some("ev") => {
                let room = id(&frame["room"]);
                if let Some(cid) = frame["e"]["cid"].as_str() {
                    self.settle(cid);
                }
                self.rooms.get_mut(&room).expect("a room that was asked for").apply(frame);
            }
            Some("ok") if frame["mid"].is_string() => self.settle_request(&frame["id"]),
            Some("ok") if frame["room"].is_string() => {
                let followed = self.rooms.get_mut(&id(&frame["room"])).expect("a room that was asked for");
                assert_ne!(frame["recovered"], false, "the gap was too large for this test: {frame}");
                followed.epoch = frame["epoch"].as_str().map(str::to_owned);
            }
            // Sent again with the same id: a transient error loses nothing.
            Some("err") if frame["retry_ms"].is_u64() => self.socket = None,
            Some("reset") => {
                self.resets += 1;
                self.socket = None;
            }
            Some("err") => panic!("{frame}"),
            _ => {}
        }
    }

    fn settle(&mut self, cid: &str) {
        if let Ok(cid) = cid.parse::<ClientId>() {
            self.unsettled.remove(&cid);
        }
    }

    fn settle_request(&mut self, id: &Value) {
        self.unsettled.retain(|_, frame| frame["id"] != *id);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

fn id(value: &Value) -> RoomId {
    value.as_str().and_then(|text| text.parse().ok()).expect("a room id")
}

/// Fails the test unless all followers saw the same messages in the same order in every room.
pub fn assert_same_order(followers: &[Follower]) -> HashMap<RoomId, Vec<(u64, String)>> {
    let mut seen: HashMap<RoomId, Vec<(u64, String)>> = HashMap::new();
    for follower in followers {
        for (room, followed) in &follower.rooms {
            let messages = followed.messages();
            assert_eq!(followed.repeats, 0, "{} got a message twice", follower.account.username);
            let first = seen.entry(*room).or_insert_with(|| messages.clone());
            assert_eq!(*first, messages, "{} saw another order", follower.account.username);
        }
    }
    seen
}
