use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use natterjack_domain::{ClientId, RoomId};
use natterjack_wire::ErrorCode;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    Account, Closed, Socket,
    history::{Happened, Received, Recorder},
    site::answer,
};

/// A client that follows rooms as `docs/protocol.md` says: it keeps its position in each, resumes on any front, sends
/// again what was not acknowledged, and fails the test when an event comes twice, out of order, or not at all.
///
/// One that [records](Follower::recording) fails no test: it writes down what comes, and goes on as a client has to.
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
    recorder: Option<Recorder>,
    /// Subscriptions that are not answered yet.
    asked: HashMap<u64, RoomId>,
    /// Which message each request was to send: its own event may come before the answer.
    sent: HashMap<u64, (RoomId, ClientId)>,
    heard: Instant,
    is_pinged: bool,
    /// Events that came although they had come before.
    pub seen_again: usize,
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
    /// No member: the room is not followed.
    pub is_away: bool,
    /// Where it last joined by itself.
    joined: u64,
    /// The server said so: what it knew counts no more.
    begins_anew: bool,
}

/// What becomes of an event that comes.
#[derive(PartialEq)]
enum Applied {
    Counted,
    /// Seen already, or a message that was posted before.
    Dropped,
    /// Something before it is missing.
    Early,
}

/// Between attempts to connect.
const COME_BACK: Duration = Duration::from_millis(20);
/// A recording client whose front says nothing for so long asks for a sign of life, and gives up after as long again.
const QUIET: Duration = Duration::from_secs(2);
/// The longest that a recording client waits for anything that it asks for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Followed {
    /// Ids of the messages, in order.
    pub fn messages(&self) -> Vec<(u64, String)> {
        let posted = self.events.iter().filter(|(_, e)| e["type"] == "message.posted");
        posted.map(|(seq, e)| (*seq, e["id"].as_str().unwrap_or_default().to_owned())).collect()
    }

    fn apply(&mut self, frame: &Value) -> Applied {
        let number = |name: &str| frame[name].as_u64().expect("a sequence");
        let (seq, prev) = (number("seq"), number("prev"));
        if seq <= self.last {
            return Applied::Dropped;
        }
        if prev > self.last {
            return Applied::Early;
        }
        self.last = seq;
        if frame["e"]["type"] == "message.posted" {
            let id = frame["e"]["id"].as_str().expect("an id").to_owned();
            if !self.posted.insert(id) {
                self.repeats += 1;
                return Applied::Dropped;
            }
        }
        self.events.push((seq, frame["e"].clone()));
        Applied::Counted
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
            recorder: None,
            asked: HashMap::new(),
            sent: HashMap::new(),
            heard: Instant::now(),
            is_pinged: false,
            seen_again: 0,
        }
    }

    /// Writes down what happens instead of judging it.
    #[must_use]
    pub fn recording(self, recorder: Recorder) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    /// Begins with another front than the first.
    #[must_use]
    pub fn beginning_at(mut self, front: usize) -> Self {
        self.begin_at(front);
        self
    }

    /// Connects to that front next.
    pub fn begin_at(&mut self, front: usize) {
        self.next_front = front;
    }

    /// Whether all that was sent has been acknowledged.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Messages that are not acknowledged yet.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Drops the connection without a word.
    pub fn disconnect(&mut self) {
        self.closed(None);
    }

    /// Sends a message, now or after the next reconnect.
    pub async fn post(&mut self, room: RoomId, body: &str) -> ClientId {
        let cid = ClientId::random();
        let id = self.id();
        let frame = json!({ "t": "send", "id": id, "room": room, "cid": cid, "body": body });
        self.sent.insert(id, (room, cid));
        self.unsettled.insert(cid, frame.clone());
        self.tell(&frame).await;
        cid
    }

    /// Takes the next frame; connects first where there is no connection. Cancel safe while connected.
    pub async fn step(&mut self) {
        while self.socket.is_none() {
            if self.connect().await {
                return;
            }
            sleep(COME_BACK).await;
        }
        let Some(socket) = &mut self.socket else { return };
        match socket.next().await {
            Ok(frame) => self.take(&frame),
            Err(Closed(code)) => self.closed(code),
        }
    }

    /// Does what a client does for a while, also on connections that say nothing.
    pub async fn stay(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.socket.is_none() && !self.connect().await {
                sleep(COME_BACK).await;
            }
            let silent = self.heard + QUIET;
            let Some(socket) = &mut self.socket else { continue };
            tokio::select! {
                frame = socket.next() => match frame {
                    Ok(frame) => self.take(&frame),
                    Err(Closed(code)) => self.closed(code),
                },
                () = sleep_until(silent.min(end)) => {
                    if Instant::now() >= silent {
                        self.ask_for_life().await;
                    }
                }
            }
        }
    }

    /// Joins a room or leaves it. On failure nobody knows what came of it, and it is to be tried again.
    pub async fn change(&mut self, room: RoomId, joins: bool) -> Result<(), ()> {
        let url = format!("{}/v1/rooms/{room}/{}", self.front(), if joins { "join" } else { "leave" });
        let request = self.account.request(reqwest::Method::POST, &url).timeout(ANSWERS_WITHIN);
        let Ok((StatusCode::OK, body)) = answer(request).await else { return Err(()) };
        let (name, seq) = (room.to_string(), body["position"]["seq"].as_u64().unwrap_or_default());
        let happened =
            if joins { Happened::Joined { room: name, seq } } else { Happened::Left { room: name, seq } };
        self.note(|| happened);
        let followed = self.rooms.entry(room).or_default();
        followed.is_away = !joins;
        if joins {
            followed.joined = seq;
            self.subscribe(room).await;
        }
        Ok(())
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

    fn front(&self) -> &str {
        &self.fronts[self.next_front % self.fronts.len()]
    }

    /// Tries the front whose turn it is; the next one when that fails.
    async fn connect(&mut self) -> bool {
        let opening = timeout(ANSWERS_WITHIN, self.account.try_connect(self.front())).await;
        let Ok(Some(socket)) = opening else {
            self.next_front += 1;
            return false;
        };
        self.reconnects += 1;
        self.socket = Some(socket);
        (self.heard, self.is_pinged) = (Instant::now(), false);
        let user = self.account.user.to_string();
        self.note(|| Happened::Open { user });
        let rooms: Vec<_> = self.rooms.iter().filter(|(_, followed)| !followed.is_away).collect();
        let rooms: Vec<_> = rooms.into_iter().map(|(room, _)| *room).collect();
        for room in rooms {
            self.subscribe(room).await;
        }
        let frames: Vec<_> = self.unsettled.values().cloned().collect();
        for frame in frames {
            self.tell(&frame).await;
        }
        true
    }

    async fn subscribe(&mut self, room: RoomId) {
        let id = self.id();
        let followed = &self.rooms[&room];
        let mut frame = json!({ "t": "sub", "id": id, "room": room });
        if !followed.begins_anew {
            frame["after"] = json!(followed.last);
            if let Some(epoch) = &followed.epoch {
                frame["epoch"] = json!(epoch);
            }
        }
        self.asked.insert(id, room);
        self.tell(&frame).await;
    }

    async fn tell(&mut self, frame: &Value) {
        let Some(socket) = &mut self.socket else { return };
        if let Some(recorder) = &mut self.recorder
            && let Some(happened) = asked(frame)
        {
            recorder.note(&self.fronts[self.next_front % self.fronts.len()], happened);
        }
        if !matches!(timeout(ANSWERS_WITHIN, socket.send(frame)).await, Ok(Ok(()))) {
            self.closed(None);
        }
    }

    async fn ask_for_life(&mut self) {
        if self.is_pinged {
            self.closed(None);
            return;
        }
        (self.heard, self.is_pinged) = (Instant::now(), true);
        let ping = json!({ "t": "ping", "n": self.id() });
        self.tell(&ping).await;
    }

    /// The connection is gone; the next one goes to the next front.
    fn closed(&mut self, code: Option<u16>) {
        if self.socket.take().is_some() {
            self.note(|| Happened::Close { code });
            self.asked.clear();
            self.next_front += 1;
        }
    }

    fn note(&mut self, happened: impl FnOnce() -> Happened) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(&self.fronts[self.next_front % self.fronts.len()], happened());
        }
    }

    fn take(&mut self, frame: &Value) {
        (self.heard, self.is_pinged) = (Instant::now(), false);
        match frame["t"].as_str() {
            Some("ev") => self.take_event(frame),
            Some("ok") if frame["mid"].is_string() => self.acknowledged(frame),
            Some("ok") if frame["room"].is_string() => self.subscribed(frame),
            Some("reset") => {
                self.resets += 1;
                let room = frame["room"].as_str().map(str::to_owned);
                let reason = frame["reason"].as_str().unwrap_or_default().to_owned();
                if let Some(room) = room.as_deref().filter(|_| self.recorder.is_some()) {
                    self.followed(room).begins_anew = true;
                }
                self.note(|| Happened::Reset { room, reason });
                self.closed(None);
            }
            Some("err") => self.refused(frame),
            _ => {}
        }
    }

    fn take_event(&mut self, frame: &Value) {
        if let Some(cid) = frame["e"]["cid"].as_str() {
            self.settle(cid);
        }
        let user = self.account.user.to_string();
        let left = frame["e"]["type"] == "room.member_left" && frame["e"]["user"] == user;
        let followed = self.followed(frame["room"].as_str().unwrap_or_default());
        let applied = followed.apply(frame);
        // That it left before it joined again may be told late.
        followed.is_away |= left && followed.last > followed.joined;
        let last = followed.last;
        let dropped = applied != Applied::Counted;
        self.seen_again += usize::from(applied == Applied::Dropped);
        self.note(|| Happened::Receive(Received { dropped, ..Received::of(frame) }));
        if applied == Applied::Early {
            assert!(self.recorder.is_some(), "a gap: {frame} after {last}");
            self.closed(None);
        }
    }

    fn acknowledged(&mut self, frame: &Value) {
        let Some((room, cid)) = self.sent.get(&request(frame)).copied() else { return };
        self.unsettled.remove(&cid);
        let (room, mid) = (room.to_string(), text(&frame["mid"]));
        let seq = frame["seq"].as_u64().unwrap_or_default();
        self.note(|| Happened::Ack { room, cid: cid.to_string(), seq, mid });
    }

    fn subscribed(&mut self, frame: &Value) {
        self.asked.remove(&request(frame));
        let (epoch, head) = (text(&frame["epoch"]), frame["head"].as_u64().unwrap_or_default());
        let recovered = frame["recovered"].as_bool();
        let is_judge = self.recorder.is_none();
        let followed = self.followed(frame["room"].as_str().unwrap_or_default());
        assert!(!is_judge || recovered != Some(false), "the gap was too large for this test: {frame}");
        if std::mem::take(&mut followed.begins_anew) || recovered == Some(false) {
            followed.last = head;
        }
        followed.epoch = Some(epoch.clone());
        let room = text(&frame["room"]);
        self.note(|| Happened::Subbed { room, epoch, head, recovered });
    }

    fn refused(&mut self, frame: &Value) {
        let code = frame["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        let transient = ErrorCode::ALL.iter().any(|known| known.number() == code && known.is_transient());
        assert!(transient || self.recorder.is_some(), "{frame}");
        if let Some((room, cid)) = self.sent.get(&request(frame)).copied() {
            self.note(|| Happened::Refused { room: room.to_string(), cid: Some(cid.to_string()), code });
            if !transient {
                self.unsettled.remove(&cid);
            }
        } else if let Some(room) = self.asked.remove(&request(frame)) {
            self.note(|| Happened::Refused { room: room.to_string(), cid: None, code });
            self.rooms.entry(room).or_default().is_away |= !transient;
        }
        if transient {
            // Sent again with the same id: a transient error loses nothing.
            self.closed(None);
        }
    }

    fn followed(&mut self, room: &str) -> &mut Followed {
        let room = room.parse().expect("a room id");
        self.rooms.get_mut(&room).expect("a room that was asked for")
    }

    fn settle(&mut self, cid: &str) {
        if let Ok(cid) = cid.parse::<ClientId>() {
            self.unsettled.remove(&cid);
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// What is written down of a request.
fn asked(frame: &Value) -> Option<Happened> {
    let room = text(&frame["room"]);
    match frame["t"].as_str()? {
        "sub" => Some(Happened::Sub {
            room,
            after: frame["after"].as_u64(),
            epoch: frame["epoch"].as_str().map(str::to_owned),
        }),
        "send" => Some(Happened::Send { room, cid: text(&frame["cid"]), body: text(&frame["body"]) }),
        _ => None,
    }
}

/// The number of the request that a frame answers.
fn request(frame: &Value) -> u64 {
    frame["id"].as_u64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
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
