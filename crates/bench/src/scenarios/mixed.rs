//! What people do all day: rooms of very different sizes, a few who write and many who read, typing and read marks,
//! people who join and leave, connections that break and come back.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{EventId, RoomId, UserId, room::Event};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_wire::Fact;
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Options,
    accounting::usage,
    client::{Reader, Writer},
    crowd::{self, Room},
    installation::Installation,
    load::{self, Board, OpenLoop},
    report::Row,
};

const ROOMS: usize = 100;
const PEOPLE: usize = 1_000;
/// Of one person; how often a room is chosen follows Zipf's law.
const ROOMS_OF_ONE: usize = 3;
/// One in so many people writes; all others only read.
const WRITERS: usize = 10;
/// Frames that people send, of all kinds.
const ACTIONS_PER_SECOND: f64 = 150.0;
/// Of a hundred actions: so many are messages, then so many read marks; the rest is typing.
const MESSAGES: u32 = 60;
const READS: u32 = 25;
/// Between two connections that break and come back. Every fifth time its person leaves a room and joins it again.
const BREAK_EVERY: Duration = Duration::from_millis(50);
const OPENING_AT_ONCE: usize = 32;
/// How long the load lasts until it counts.
const WARM_UP: Duration = Duration::from_secs(1);

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let (front, projector) = tokio::try_join!(installation.front(), installation.projector())?;
    let town = Arc::new(Town::found(&installation, front.address).await?);
    let processes = [front.pid(), installation.nats.pid(), projector.pid(), installation.postgres.pid()];
    let cpu = || processes.map(|pid| usage(pid).map_or(f64::NAN, |usage| usage.cpu.as_secs_f64()));

    let load = town.talk();
    let breaking = tokio::spawn(town.clone().break_and_mend());
    sleep(WARM_UP).await;
    town.board.time(true);
    let (before, deliveries, broken) = (cpu(), town.board.deliveries(), *town.mended.lock());
    let span = Duration::from_secs(if options.quick { 4 } else { 20 });
    sleep(span).await;
    let (after, deliveries) = (cpu(), town.board.deliveries() - deliveries);
    let mended = *town.mended.lock() - broken;
    drop(load);
    ensure!(
        !breaking.is_finished(),
        "{:#}",
        breaking.await?.err().unwrap_or_else(|| anyhow::anyhow!("it ended"))
    );
    breaking.abort();
    ensure!(!town.board.has_failed(), "a connection was lost");
    ensure!(deliveries > 0, "nothing was delivered");

    let millions = deliveries as f64 / 1e6;
    let latency = town.board.latency();
    let mut rows = Vec::new();
    for (index, process) in ["front", "nats", "projector", "postgres"].into_iter().enumerate() {
        let cost = (after[index] - before[index]) / millions;
        rows.push(Row::new(format!("mixed.{process}"), cost, "CPU-s/million deliveries"));
    }
    let all = rows.iter().map(|row| row.value).sum();
    rows.extend([
        Row::new("mixed.all", all, "CPU-s/million deliveries"),
        Row::new("mixed.rate", deliveries as f64 / span.as_secs_f64(), "deliveries/s"),
        Row::new("mixed.reconnects", mended as f64 / span.as_secs_f64(), "connections/s"),
        Row::new("mixed.p50", latency.p50, "ms"),
        Row::new("mixed.p99", latency.p99, "ms"),
        Row::new("mixed.p999", latency.p999, "ms"),
    ]);
    Ok(rows)
}

/// Everybody and all rooms.
struct Town {
    people: Vec<Person>,
    board: Arc<Board>,
    mended: Mutex<usize>,
    front: std::net::SocketAddr,
    tokens: natterjack_identity::AccessTokens,
    log: natterjack_eventlog::Log,
}

struct Person {
    user: UserId,
    rooms: Vec<RoomId>,
    connection: Mutex<Option<Connection>>,
    /// The last event that was seen, and its room.
    seen: Arc<Mutex<Option<(RoomId, u64)>>>,
}

struct Connection {
    writer: Arc<Writer>,
    reading: JoinHandle<()>,
}

impl Town {
    async fn found(installation: &Installation, front: std::net::SocketAddr) -> anyhow::Result<Self> {
        let log = installation.log().await?;
        let mut rooms: Vec<Room> =
            (0..ROOMS).map(|_| Room { id: RoomId::random(), members: vec![UserId::random()] }).collect();
        let mut people = Vec::with_capacity(PEOPLE);
        for _ in 0..PEOPLE {
            let user = UserId::random();
            let mut own = Vec::new();
            while own.len() < ROOMS_OF_ONE {
                let room = &mut rooms[zipf()];
                if !own.contains(&room.id) {
                    own.push(room.id);
                    room.members.push(user);
                }
            }
            people.push(Person { user, rooms: own, connection: Mutex::default(), seen: Arc::default() });
        }
        stream::iter(&rooms)
            .map(|room| crowd::create(&log, room))
            .buffer_unordered(OPENING_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let (tokens, board) = (Installation::tokens()?, Board::new());
        let town = Self { people, board, mended: Mutex::default(), front, tokens, log };
        stream::iter(&town.people)
            .map(|person| town.connect(person))
            .buffer_unordered(OPENING_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(town)
    }

    async fn connect(&self, person: &Person) -> anyhow::Result<()> {
        let (mut reader, writer) = crowd::enter(self.front, &self.tokens, person.user).await?;
        for (id, room) in person.rooms.iter().enumerate() {
            writer.send(&format!(r#"{{"t":"sub","id":{id},"room":"{room}"}}"#))?;
            reader.until(&format!(r#""t":"ok","id":{id},"#)).await?;
        }
        let writer = Arc::new(writer);
        let reading = tokio::spawn(read(reader, writer.clone(), person.seen.clone(), self.board.clone()));
        *person.connection.lock() = Some(Connection { writer, reading });
        Ok(())
    }

    /// Has people do things at a steady rate, until dropped.
    fn talk(self: &Arc<Self>) -> OpenLoop {
        let town = self.clone();
        OpenLoop::every(Duration::from_secs_f64(1.0 / ACTIONS_PER_SECOND), move |at| {
            let mut random = rand::rng();
            let kind = random.random_range(0..100_u32);
            let writes = kind < MESSAGES;
            let step = if writes { WRITERS } else { 1 };
            let person = &town.people[random.random_range(0..PEOPLE / step) * step];
            let room = person.rooms[random.random_range(0..ROOMS_OF_ONE)];
            let seen = *person.seen.lock();
            let frame = match seen {
                _ if writes => load::message(room, at, load::next_number()),
                Some((room, seq)) if kind < MESSAGES + READS => {
                    format!(r#"{{"t":"read","room":"{room}","seq":{seq}}}"#)
                }
                _ => format!(r#"{{"t":"typing","room":"{room}","on":true}}"#),
            };
            if let Some(connection) = &*person.connection.lock() {
                // One that is just breaking.
                let _ = connection.writer.send(&frame);
            }
        })
    }

    /// Breaks one connection after the other, and has its person come back.
    async fn break_and_mend(self: Arc<Self>) -> anyhow::Result<()> {
        let mut every = interval(BREAK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0_usize.. {
            every.tick().await;
            // Never one who writes: what is lost with a connection is not what is timed.
            let person = &self.people[turn % (PEOPLE / WRITERS) * WRITERS + 1];
            let gone = person.connection.lock().take();
            if let Some(gone) = gone {
                gone.reading.abort();
            }
            if turn.is_multiple_of(5) {
                let (room, user) = (person.rooms[0], person.user);
                self.tell(room, Event::MemberLeft { by: user, user, reason: None }).await?;
                self.tell(room, Event::MemberJoined { by: user, user, invite: None }).await?;
            }
            self.connect(person).await?;
            *self.mended.lock() += 1;
        }
        Ok(())
    }

    async fn tell(&self, room: RoomId, event: Event) -> anyhow::Result<()> {
        self.log.append(NewEvent::new(Subject::state(room), EventId::random(), &Fact::Room(event))).await?;
        Ok(())
    }
}

/// The first room is chosen twice as often as the second, three times as often as the third, and so on.
fn zipf() -> usize {
    let total: f64 = (1..=ROOMS).map(|rank| 1.0 / rank as f64).sum();
    let mut left = rand::rng().random_range(0.0..total);
    for rank in 1..ROOMS {
        left -= 1.0 / rank as f64;
        if left < 0.0 {
            return rank - 1;
        }
    }
    ROOMS - 1
}

async fn read(
    mut reader: Reader,
    writer: Arc<Writer>,
    seen: Arc<Mutex<Option<(RoomId, u64)>>>,
    board: Arc<Board>,
) {
    loop {
        let (mut pinged, mut last) = (false, None);
        let read = reader.read(|payload| {
            // Only a ping bears nothing.
            pinged |= payload.is_empty();
            if board.note(payload) {
                last = place(payload);
            }
        });
        if read.await.is_err() || pinged && writer.pong().is_err() {
            board.fail();
            return;
        }
        if last.is_some() {
            *seen.lock() = last;
        }
    }
}

/// `{"t":"ev","room":"…","seq":…,`
fn place(event: &[u8]) -> Option<(RoomId, u64)> {
    let text = std::str::from_utf8(event.get(..120.min(event.len()))?).ok()?;
    let (room, rest) = text.strip_prefix(r#"{"t":"ev","room":""#)?.split_once(r#"","seq":"#)?;
    Some((room.parse().ok()?, rest.split_once(',')?.0.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_event_is_read() {
        let room = RoomId::random();
        let event =
            format!(r#"{{"t":"ev","room":"{room}","seq":17,"prev":3,"ts":"2026-11-21T12:00:00Z","e":{{}}}}"#);
        assert_eq!(place(event.as_bytes()), Some((room, 17)));
        assert_eq!(place(br#"{"t":"eph"}"#), None);
    }

    #[test]
    fn the_first_room_is_the_largest() {
        let mut chosen = [0; ROOMS];
        for _ in 0..20_000 {
            chosen[zipf()] += 1;
        }
        assert!(chosen[0] > chosen[1] && chosen[1] > chosen[9] && chosen[9] > chosen[99], "{chosen:?}");
    }
}
