//! A client that keeps to docs/protocol.md, and to nothing else: it sleeps, goes, comes back to another front, and
//! watches that the fronts keep to it too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use natterjack_domain::{ClientId, RoomId, UserId, room};
use natterjack_eventlog::{Kind, Subject, Topic};
use natterjack_wire::{Fact, StoredEvent};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use natterjack_seeds::Rng;

use super::{people::Fronts, socket::PipeEnd, world::World};

/// How often it thinks of something to do.
const ACTS_EVERY: Duration = Duration::from_millis(100);

/// Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    name: usize,
    user: UserId,
    world: World,
    fronts: Fronts,
    known: Mutex<Known>,
    going: CancellationToken,
}

struct Known {
    rng: Rng,
    next_id: u64,
    is_welcome: bool,
    feed: Option<Place>,
    rooms: BTreeMap<RoomId, Following>,
}

/// Where the client is in a topic.
#[derive(Debug, Clone)]
struct Place {
    epoch: String,
    last: u64,
    /// Events that it should have got, where the front could not know yet: it has to start anew.
    missed: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Following {
    place: Option<Place>,
    is_on: bool,
    /// It has ended, but what was on its way then may still come, until the next answer.
    trails: bool,
    was_reset: bool,
    /// The request that waits for its answer, and from where on it asked.
    asked: Option<(u64, u64)>,
    /// The last event of this subscription that came over the wire.
    came: u64,
    /// Where the front was when it began.
    head: u64,
    /// Left by this event.
    left: Option<u64>,
    ask_again: Option<Instant>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    t: &'a str,
    id: Option<u64>,
    room: Option<RoomId>,
    seq: Option<u64>,
    prev: Option<u64>,
    epoch: Option<&'a str>,
    head: Option<u64>,
    recovered: Option<bool>,
    code: Option<u16>,
    #[serde(borrow)]
    e: Option<&'a RawValue>,
}

enum Act {
    Nothing,
    Go,
    Sleep(Duration),
}

impl Client {
    pub fn new(name: usize, world: &World, fronts: &Fronts, rng: Rng) -> Self {
        let rooms = world.rooms().iter().map(|room| (*room, Following::default())).collect();
        let known = Known { rng, next_id: 1, is_welcome: false, feed: None, rooms };
        Self(Arc::new(Inner {
            name,
            user: world.users()[name],
            world: world.clone(),
            fronts: fronts.clone(),
            known: Mutex::new(known),
            going: CancellationToken::new(),
        }))
    }

    /// For good.
    pub fn go(&self) {
        self.0.going.cancel();
    }

    pub async fn live(self) {
        let going = self.0.going.clone();
        let life = async {
            loop {
                let pause = self.0.known.lock().rng.millis(0, 400);
                sleep(pause).await;
                let ends = self.0.fronts.connect(self.0.user, &mut self.0.known.lock().rng);
                self.converse(ends.0, &ends.1).await;
                self.0.known.lock().disconnected();
                self.say("is not connected");
            }
        };
        going.run_until_cancelled(life).await;
    }

    async fn converse(&self, from: PipeEnd, to: &PipeEnd) {
        let (slow, piece) = {
            let mut known = self.0.known.lock();
            let resume = known.feed.as_ref().map(|feed| json!({"epoch": feed.epoch, "seq": feed.last}));
            let mut hello = json!({"t": "hello"});
            if let Some(resume) = resume.filter(|_| !known.rng.permille(100)) {
                hello["resume"] = resume;
            }
            self.send(to, &hello);
            (known.rng.permille(150).then(|| known.rng.millis(1, 30)), 16 << known.rng.below(9))
        };
        let (mut input, mut acts_at) = (vec![], Instant::now());
        loop {
            select! {
                biased;
                () = sleep_until(acts_at) => {
                    match self.act(to) {
                        Act::Nothing => {}
                        Act::Go => return,
                        Act::Sleep(time) => sleep(time).await,
                    }
                    acts_at = Instant::now() + ACTS_EVERY;
                }
                bytes = from.read(piece) => {
                    if bytes.is_empty() {
                        return;
                    }
                    input.extend(bytes);
                    while let Some((opcode, text)) = take_frame(&mut input) {
                        if opcode == 1 {
                            self.hear(&text);
                        } else if opcode == 8 {
                            return;
                        }
                    }
                    if let Some(slow) = slow.filter(|_| !self.0.world.lock().whole) {
                        sleep(slow).await;
                    }
                }
            }
        }
    }

    /// What nobody made it do.
    fn act(&self, to: &PipeEnd) -> Act {
        let whole = self.0.world.lock().whole;
        let mut known = self.0.known.lock();
        if !known.is_welcome {
            return Act::Nothing;
        }
        let room = self.0.world.rooms()[known.rng.index(self.0.world.rooms().len())];
        match if whole { 1_000 } else { known.rng.below(1_000) } {
            0..25 => return Act::Go,
            25..50 => return Act::Sleep(known.rng.millis(50, 3_000)),
            50..80 if known.rooms[&room].is_on && known.rooms[&room].asked.is_none() => {
                let id = known.id();
                known.rooms.get_mut(&room).unwrap().asked = Some((id, 0));
                self.send(to, &json!({"t": "unsub", "id": id, "room": room}));
            }
            // Once more, though it follows already; or from farther back than it has to.
            80..110 if known.rooms[&room].asked.is_none() => known.ask(self, to, room),
            110..150 => {
                let (id, cid) =
                    (known.id(), ClientId::from_uuid(uuid::Uuid::from_u128(known.rng.number().into())));
                self.send(to, &json!({"t": "send", "id": id, "room": room, "cid": cid, "body": "said"}));
            }
            150..170 => {
                self.send(to, &json!({"t": "read", "room": room, "seq": self.0.world.lock().now().head()}));
            }
            170..180 if self.0.world.lock().now().is_member(room, self.0.user) => {
                let user = self.0.user;
                self.0.world.append_state(room, room::Event::MemberLeft { by: user, user, reason: None });
            }
            _ => {}
        }
        for room in self.0.world.rooms() {
            let following = &known.rooms[room];
            let idle = (!following.is_on || following.left.is_some()) && following.asked.is_none();
            if idle
                && following.ask_again.is_none_or(|at| at <= Instant::now())
                && self.0.world.lock().now().is_member(*room, self.0.user)
            {
                known.ask(self, to, *room);
            }
        }
        Act::Nothing
    }

    fn send(&self, to: &PipeEnd, frame: &serde_json::Value) {
        let text = frame.to_string();
        self.0.world.say(format_args!("client {} > {text}", self.0.name));
        let mut bytes = vec![0x81, 0xfe];
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        // Masked by zeros.
        bytes.extend([0; 4]);
        bytes.extend(text.as_bytes());
        // The front may have gone.
        let _ = to.write(&bytes);
    }

    fn hear(&self, text: &[u8]) {
        let text = str::from_utf8(text).unwrap();
        self.0.world.say(format_args!("client {} < {text}", self.0.name));
        let frame: Frame<'_> = serde_json::from_str(text).unwrap();
        let mut known = self.0.known.lock();
        let wrong = match (frame.t, frame.room) {
            ("welcome", _) => known.welcomed(self, &frame),
            ("ok", Some(_)) => known.answered(self, &frame),
            ("ev", Some(room)) => known.event(self, room, &frame),
            ("u", _) => known.feed_event(self, &frame),
            ("reset", Some(room)) => {
                known.reset(room);
                Ok(())
            }
            ("reset", None) => {
                known.feed_reset(self, frame.epoch.unwrap());
                Ok(())
            }
            ("err", _) => known.refused(&frame),
            _ => Ok(()),
        };
        drop(known);
        if let Err(wrong) = wrong {
            self.0.world.blame(format!("client {}: {wrong}: {text}", self.0.name));
        }
    }

    fn say(&self, what: &str) {
        self.0.world.say(format_args!("client {} {what}", self.0.name));
    }

    /// What it should have and has not, once everything is whole.
    pub fn misses(&self) -> Option<String> {
        let (known, world) = (self.0.known.lock(), self.0.world.lock());
        let log = world.now();
        let behind = |topic: Topic, place: Option<&Place>| {
            let head = log.heads(topic, u64::MAX);
            let head = head.state.max(head.timeline);
            let fits =
                |place: &Place| place.epoch == *log.epoch && place.last >= head && place.missed.is_empty();
            (!place.is_some_and(fits))
                .then(|| format!("{topic} is at {head} of {}, the client at {place:?}", log.epoch))
        };
        if !known.is_welcome {
            return Some(format!("client {} is not connected", self.0.name));
        }
        let rooms = known.rooms.iter().filter(|(room, _)| log.is_member(**room, self.0.user));
        let room = rooms.into_iter().find_map(|(room, following)| {
            behind(Topic::Room(*room), following.place.as_ref())
                .or_else(|| (!following.is_on).then(|| format!("it does not follow {room}")))
        });
        let wrong = behind(Topic::User(self.0.user), known.feed.as_ref()).or(room)?;
        Some(format!("client {}: {wrong}", self.0.name))
    }

    /// A fresh look over REST: somewhere at `at_least` or later.
    fn snapshot(&self, epoch: &str, at_least: u64, rng: &mut Rng) -> Place {
        let world = self.0.world.lock();
        let head = world.now().head();
        let later = if *world.now().epoch == *epoch { head.saturating_sub(at_least) } else { 0 };
        Place { epoch: epoch.to_owned(), last: at_least + rng.below(later + 1), missed: BTreeSet::new() }
    }
}

type Checked = Result<(), String>;

impl Known {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn disconnected(&mut self) {
        self.is_welcome = false;
        for following in self.rooms.values_mut() {
            // What a front does not know yet, no other one will ever say: docs/adr/0017.
            let place = following.place.take().map(|place| Place { missed: BTreeSet::new(), ..place });
            *following = Following { place, ..Following::default() };
        }
    }

    fn ask(&mut self, client: &Client, to: &PipeEnd, room: RoomId) {
        let id = self.id();
        let mut sub = json!({"t": "sub", "id": id, "room": room});
        let following = self.rooms.get_mut(&room).unwrap();
        if !following.is_on && self.rng.permille(50) {
            following.place = None;
        }
        if let Some(place) = &mut following.place {
            place.missed.clear();
            if !following.is_on && self.rng.permille(100) {
                // A copy of the page that slept for long.
                place.last = self.rng.below(place.last + 1);
            }
            sub["after"] = place.last.into();
            sub["epoch"] = place.epoch.clone().into();
        }
        following.was_reset = false;
        following.asked = Some((id, following.place.as_ref().map_or(0, |place| place.last)));
        if self.rng.permille(500) {
            sub["limit"] = self.rng.below(30).into();
        }
        client.send(to, &sub);
    }

    fn welcomed(&mut self, client: &Client, frame: &Frame<'_>) -> Checked {
        let (epoch, head) = (frame.epoch.unwrap(), frame.seq.unwrap());
        self.is_welcome = true;
        if frame.recovered != Some(true) {
            self.feed = Some(client.snapshot(epoch, head, &mut self.rng));
        } else if self.feed.as_ref().is_none_or(|feed| feed.epoch != epoch) {
            return Err("it resumes what was not asked for".into());
        }
        Ok(())
    }

    /// To a `sub` or an `unsub`.
    fn answered(&mut self, client: &Client, frame: &Frame<'_>) -> Checked {
        let following = self.rooms.get_mut(&frame.room.unwrap()).unwrap();
        let Some(head) = frame.head else {
            *following = Following { place: following.place.take(), trails: true, ..Following::default() };
            return Ok(());
        };
        let Some((_, after)) = following.asked.take().filter(|(id, _)| Some(*id) == frame.id) else {
            return Err("an answer to no question".into());
        };
        let epoch = frame.epoch.unwrap();
        if frame.recovered == Some(true) {
            if following.was_reset {
                // The request was on its way.
                following.place = Some(client.snapshot(epoch, head, &mut self.rng));
            } else if following.place.as_ref().is_none_or(|place| place.epoch != epoch) {
                return Err("it resumes what was not asked for".into());
            }
            following.came = after;
        } else {
            following.place = Some(client.snapshot(epoch, head, &mut self.rng));
            following.came = head;
        }
        following.is_on = true;
        following.trails = false;
        following.was_reset = false;
        following.head = head;
        following.left = None;
        Ok(())
    }

    fn refused(&mut self, frame: &Frame<'_>) -> Checked {
        let again = self.rng.millis(100, 500);
        for following in self.rooms.values_mut() {
            if following.asked.is_some_and(|(id, _)| Some(id) == frame.id) {
                following.asked = None;
                following.trails |= following.is_on;
                following.is_on = false;
                following.ask_again = Some(Instant::now() + again);
                return match frame.code {
                    // Transient, or the front's fold is behind: nothing that it may not say.
                    Some(3001 | 3002 | 3006 | 5002 | 5004) => Ok(()),
                    _ => Err("an unexpected refusal".into()),
                };
            }
        }
        Ok(())
    }

    fn event(&mut self, client: &Client, room: RoomId, frame: &Frame<'_>) -> Checked {
        let (seq, prev) = (frame.seq.unwrap(), frame.prev.unwrap());
        let following = self.rooms.get_mut(&room).unwrap();
        if following.trails {
            return Ok(());
        }
        if !following.is_on {
            return Err("an event of a room that it does not follow".into());
        }
        // A front may be behind what it has read for this client, or what another front told it: then it repeats that.
        if seq <= following.came && seq <= following.head {
            return Err(format!("not in order: {} came before", following.came));
        }
        following.came = seq;
        if let Some(left) = following.left {
            let world = client.0.world.lock();
            let mut since = world.now().after(Topic::Room(room), left, u64::MAX);
            let current = following.place.as_ref().is_some_and(|place| place.epoch == *world.now().epoch);
            if current && !since.any(|stored| concerns(&stored.event.body, client.0.user, "member_joined")) {
                return Err(format!("an event after it left by {left}"));
            }
        }
        if frame.e.is_some_and(|e| concerns(e.get().as_bytes(), client.0.user, "member_left")) {
            following.left = Some(seq);
        }
        let Some(place) = &mut following.place else { return Err("an event without a position".into()) };
        place.advance(client, Topic::Room(room), seq, prev, frame.e)
    }

    fn feed_event(&mut self, client: &Client, frame: &Frame<'_>) -> Checked {
        let feed = self.feed.as_mut().ok_or("an event before the welcome")?;
        feed.advance(client, Topic::User(client.0.user), frame.seq.unwrap(), frame.prev.unwrap(), frame.e)
    }

    fn reset(&mut self, room: RoomId) {
        let following = self.rooms.get_mut(&room).unwrap();
        *following = Following { asked: following.asked, was_reset: true, ..Following::default() };
    }

    fn feed_reset(&mut self, client: &Client, epoch: &str) {
        let head = {
            let world = client.0.world.lock();
            let heads = world.now().heads(Topic::User(client.0.user), u64::MAX);
            if *world.now().epoch == *epoch { heads.timeline } else { 0 }
        };
        self.feed = Some(client.snapshot(epoch, head, &mut self.rng));
    }
}

impl Place {
    /// The client's one rule; and what the log says to it.
    fn advance(
        &mut self,
        client: &Client,
        topic: Topic,
        seq: u64,
        prev: u64,
        e: Option<&RawValue>,
    ) -> Checked {
        if seq <= self.last {
            return Ok(());
        }
        let world = client.0.world.lock();
        let log = world.now();
        let current = *log.epoch == *self.epoch;
        if prev > self.last && current {
            return Err(format!("{prev} is missing after {}", self.last));
        }
        if current {
            let stored = log.get(seq).filter(|stored| stored.event.subject.topic == topic);
            let stored = &stored.ok_or("the log holds no such event")?.event;
            let said = e.map(|e| e.get().as_bytes());
            if said != Some(&*stored.body).filter(|_| stored.known) {
                return Err("it is not what the log holds".into());
            }
            for missed in log.after(topic, self.last, seq - 1) {
                let Subject { kind, .. } = missed.event.subject;
                if kind == stored.subject.kind || kind == Kind::Feed {
                    return Err(format!("{} was left out", missed.event.seq));
                }
                self.missed.insert(missed.event.seq);
            }
        }
        self.last = seq;
        Ok(())
    }
}

/// Whether an event says that `user` came or went.
fn concerns(body: &[u8], user: UserId, what: &str) -> bool {
    if !String::from_utf8_lossy(body).contains(what) {
        return false;
    }
    match StoredEvent::decode(body).map(StoredEvent::fact) {
        Ok(Fact::Room(room::Event::MemberLeft { user: who, .. })) => what == "member_left" && who == user,
        Ok(Fact::Room(room::Event::MemberJoined { user: who, .. })) => what == "member_joined" && who == user,
        _ => false,
    }
}

/// The first frame of what came, if all of it is there: its opcode and what it bears.
fn take_frame(input: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (header, len) = match *input.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(input.get(2..10)?.try_into().unwrap())).unwrap()),
        short => (2, usize::from(short)),
    };
    if input.len() < header + len {
        return None;
    }
    let frame: Vec<u8> = input.drain(..header + len).collect();
    Some((frame[0] & 0xf, frame[header..].to_vec()))
}
