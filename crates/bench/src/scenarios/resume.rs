//! Missed events: from the front's tail, from Postgres, from the log; and what reading much costs those who write.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use natterjack_database::Client;
use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::Log;
use natterjack_identity::AccessTokens;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_postgres::Statement;

use crate::{
    Options,
    client::{Reader, Writer},
    cores,
    crowd::{self, Room, Seat},
    http::Http,
    installation::{Installation, Program},
    load::{self, Latency, OpenLoop, Worker},
    report::{Goal, Row, median},
    turns::TURN,
};

const MISSED: usize = 50;
/// A tail that `MISSED` events do not fit into, so that they are read elsewhere.
const SHORT_TAIL: &[(&str, &str)] = &[("TAIL_EVENTS", "16")];
/// How long Postgres may take to be found away, or the projector to come up.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);

/// Writers beside the readers of deep history.
const WRITERS: usize = 30;
const APPENDS_PER_SECOND: f64 = 300.0;
/// What the readers ask for, together: all kinds of requests take turns.
const REQUESTS_PER_SECOND: f64 = 30.0;
const READERS: usize = 8;
/// An append that takes longer is lost.
const ACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = resuming(&options).await?;
    rows.extend(beside_writers(&options).await?);
    Ok(rows)
}

/// One person who comes back to one room, again and again.
struct Return {
    reader: Reader,
    writer: Writer,
    room: RoomId,
    after: u64,
    epoch: String,
}

async fn resuming(options: &Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    // Then a resume and the bare statement go from one core to the other equally often.
    cores::put(installation.postgres.pid(), cores::EITHER)?;
    let projector = installation.projector().await?;
    let (log, user) = (installation.log().await?, UserId::random());
    let room = crowd::rooms_of(&log, 1, &[user]).await?.pop().context("a room was made")?;
    crowd::say(&log, std::slice::from_ref(&room), 500).await?;
    let tokens = Installation::tokens()?;
    let times = if options.quick { 300 } else { 2_000 };

    let front = installation.front().await?;
    let mut warm = Return::enter(&front, &tokens, &room).await?;
    crowd::say(&log, std::slice::from_ref(&room), MISSED).await?;
    let tail = warm.times(times).await?;
    drop((warm, front));

    let front = installation.front_with(cores::MEASURED, SHORT_TAIL).await?;
    let mut cold = Return::enter(&front, &tokens, &room).await?;
    crowd::say(&log, std::slice::from_ref(&room), MISSED).await?;
    projected(&installation, &log).await?;
    drop(projector);
    let sql = Sql::prepare(&installation, room.id, cold.after).await?;
    let (mut store, mut bare) = (load::histogram(), load::histogram());
    for _ in 0..10 {
        bare += sql.times(times / 10).await?;
        store += cold.times(times / 10).await?;
    }
    let read = front.metric(r#"natterjack_front_replayed_events_total{source="postgres"}"#).await?;
    ensure!(read >= (times * MISSED) as f64, "the events did not come from Postgres");

    installation.postgres.stop_fast().await;
    let away = async {
        while front.metric(r#"natterjack_front_replayed_events_total{source="log"}"#).await? < 1.0 {
            cold.once().await?;
        }
        anyhow::Ok(())
    };
    timeout(SETTLE_LIMIT, away).await.context("Postgres is not found away")??;
    let of_log = cold.times(times / 4).await?;

    let (tail, store, bare, of_log) =
        (Latency::of(&tail), Latency::of(&store), Latency::of(&bare), Latency::of(&of_log));
    Ok(vec![
        Row::new("resume.tail", tail.p50, "ms").goal(Goal::AtMost(0.2)),
        Row::new("resume.tail.p99", tail.p99, "ms"),
        Row::new("resume.postgres", store.p50, "ms").beside(bare.p50).goal(Goal::RatioAtMost(2.0)),
        Row::new("resume.postgres.p99", store.p99, "ms").beside(bare.p99),
        Row::new("resume.log", of_log.p50, "ms"),
        Row::new("resume.log.p99", of_log.p99, "ms"),
    ])
}

impl Return {
    async fn enter(front: &Program, tokens: &AccessTokens, room: &Room) -> anyhow::Result<Self> {
        let (mut reader, writer) = crowd::enter(front.address, tokens, room.members[0]).await?;
        let room = room.id;
        let ok = crowd::follow(&mut reader, &writer, room).await?;
        let ok: serde_json::Value = serde_json::from_str(&ok)?;
        let after = ok["head"].as_u64().context("no head")?;
        let epoch = ok["epoch"].as_str().context("no epoch")?.to_owned();
        let mut this = Self { reader, writer, room, after, epoch };
        this.leave().await?;
        Ok(this)
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        self.writer.send(&format!(r#"{{"t":"unsub","id":2,"room":"{}"}}"#, self.room))?;
        self.reader.until(r#""t":"ok","id":2"#).await?;
        Ok(())
    }

    async fn times(&mut self, times: usize) -> anyhow::Result<Histogram<u64>> {
        let mut histogram = load::histogram();
        for _ in 0..times {
            histogram.saturating_record(u64::try_from(self.once().await?.as_nanos())?);
        }
        Ok(histogram)
    }

    /// From the request until the last event has come.
    async fn once(&mut self) -> anyhow::Result<Duration> {
        let (room, after, epoch) = (self.room, self.after, &self.epoch);
        let begun = Instant::now();
        self.writer
            .send(&format!(r#"{{"t":"sub","id":1,"room":"{room}","after":{after},"epoch":"{epoch}"}}"#))?;
        let mut events = 0;
        while events < MISSED {
            self.reader.read(|payload| events += usize::from(payload.starts_with(br#"{"t":"ev""#))).await?;
        }
        let took = begun.elapsed();
        ensure!(events == MISSED, "{events} events");
        self.leave().await?;
        Ok(took)
    }
}

/// The bare statement of the same page.
struct Sql {
    client: Client,
    statement: Statement,
    room: RoomId,
    after: i64,
}

impl Sql {
    async fn prepare(installation: &Installation, room: RoomId, after: u64) -> anyhow::Result<Self> {
        let client = installation.client("natterjack_front").await?;
        let statement = client
            .prepare("SELECT seq, kind, ts, known, body FROM log.events WHERE topic = $1 AND seq > $2 ORDER BY seq LIMIT 50")
            .await?;
        Ok(Self { client, statement, room, after: i64::try_from(after)? })
    }

    async fn times(&self, times: usize) -> anyhow::Result<Histogram<u64>> {
        let mut histogram = load::histogram();
        for _ in 0..times {
            let begun = Instant::now();
            let rows = self.client.query(&self.statement, &[self.room.as_uuid(), &self.after]).await?;
            histogram.saturating_record(u64::try_from(begun.elapsed().as_nanos())?);
            ensure!(rows.len() == MISSED, "{} rows", rows.len());
        }
        Ok(histogram)
    }
}

/// Waits until Postgres holds all that the log holds.
async fn projected(installation: &Installation, log: &Log) -> anyhow::Result<()> {
    let client = installation.client("natterjack_front").await?;
    let head = i64::try_from(log.last_seq(0).await?)?;
    let caught_up = async {
        let sql = "SELECT FROM read.checkpoints WHERE seq >= $1";
        while client.query_opt(sql, &[&head]).await?.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(SETTLE_LIMIT, caught_up).await.context("the projector does not catch up")?
}

/// What those who write feel of others who read far back, in every way that a client can.
async fn beside_writers(options: &Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let (front, _projector) = tokio::try_join!(installation.front(), installation.projector())?;
    // What readers do to writers is what counts, not what a log on a single core can do.
    cores::put(installation.nats.pid(), cores::EITHER)?;
    let (log, tokens, user) = (installation.log().await?, Installation::tokens()?, UserId::random());
    let deep = crowd::rooms_of(&log, 200, &[user]).await?;
    crowd::say(&log, &deep, if options.quick { 100 } else { 500 }).await?;
    let head = log.last_seq(0).await?;
    projected(&installation, &log).await?;

    let rooms = crowd::rooms(&log, WRITERS, 1).await?;
    let seats = crowd::seats(front.address, &tokens, &rooms).await?;
    let writers = Writers::start(seats.into_iter().flatten().collect());
    let epoch = log.epoch(0).to_string();
    let deep = deep.iter().map(|room| room.id).collect();
    let mut past = Past { front: front.address, tokens, user, rooms: deep, epoch, head, reach: head };
    let mut rows = vec![];
    for (name, asks) in WITH_POSTGRES {
        rows.extend(writers.compare(options, &past, asks, name).await?);
    }
    installation.postgres.stop_fast().await;
    // The log is read only so far back.
    past.reach = 10_000.min(head);
    // Its last checkpoint keeps the disk busy for a moment, and the front has to notice.
    sleep(Duration::from_secs(3)).await;
    for (name, asks) in WITHOUT_POSTGRES {
        rows.extend(writers.compare(options, &past, asks, name).await?);
    }
    Ok(rows)
}

/// People who send messages at a steady rate, and how long each waited for its acknowledgement.
struct Writers {
    turn: Arc<Mutex<Arc<Turn>>>,
    _load: OpenLoop,
    _readers: JoinSet<()>,
}

/// When an append was to be sent, and in which turn.
type Sent = (u64, Arc<Turn>);

/// The appends that were to be sent during a while.
struct Turn {
    sent: AtomicU64,
    latency: Mutex<Histogram<u64>>,
}

impl Turn {
    fn new() -> Arc<Self> {
        Arc::new(Self { sent: AtomicU64::new(0), latency: Mutex::new(load::histogram()) })
    }
}

impl Writers {
    fn start(seats: Vec<Seat>) -> Self {
        let turn = Arc::new(Mutex::new(Turn::new()));
        let under_way: Arc<Mutex<HashMap<u64, Sent>>> = Arc::default();
        let (mut readers, mut writers) = (JoinSet::new(), vec![]);
        for Seat { room, mut reader, writer, .. } in seats {
            writers.push((room, writer));
            let under_way = under_way.clone();
            readers.spawn(async move {
                let note = |payload: &[u8]| {
                    let sent = load::acknowledged(payload).and_then(|id| under_way.lock().remove(&id));
                    if let Some((at, turn)) = sent {
                        turn.latency.lock().saturating_record(load::now().saturating_sub(at));
                    }
                };
                while reader.read(note).await.is_ok() {}
            });
        }
        let (mut next, current) = (0, turn.clone());
        let load = OpenLoop::every(Duration::from_secs_f64(1.0 / APPENDS_PER_SECOND), move |at| {
            let (room, writer) = &writers[next % writers.len()];
            let (n, turn) = (load::next_number(), current.lock().clone());
            turn.sent.fetch_add(1, Relaxed);
            under_way.lock().insert(n, (at, turn));
            // What could not be sent is not acknowledged either.
            let _ = writer.send(&load::message(*room, at, n));
            next += 1;
        });
        Self { turn, _load: load, _readers: readers }
    }

    /// How long the appends took that were sent meanwhile. Each has to be acknowledged.
    async fn beside(&self, what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Histogram<u64>> {
        let (turn, begun) = (Turn::new(), Instant::now());
        *self.turn.lock() = turn.clone();
        what.await?;
        *self.turn.lock() = Turn::new();
        let due = APPENDS_PER_SECOND * begun.elapsed().as_secs_f64();
        let sent = turn.sent.load(Relaxed);
        ensure!((sent as f64 - due).abs() < due / 20.0, "{sent} appends were sent where {due:.0} were due");
        let acknowledged = async {
            while turn.latency.lock().len() < sent {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let acknowledged = timeout(ACKNOWLEDGED_LIMIT, acknowledged).await;
        let latency = turn.latency.lock().clone();
        acknowledged.with_context(|| format!("{} of {sent} appends were acknowledged", latency.len()))?;
        Ok(latency)
    }

    /// The 99th percentile of appends with readers and without them, by turns.
    async fn compare(
        &self,
        options: &Options,
        past: &Past,
        asks: &'static [Ask],
        name: &str,
    ) -> anyhow::Result<Vec<Row>> {
        let readers = (0..READERS).map(|turn| DeepReader::enter(past, asks, turn));
        let readers = &mut try_join_all(readers).await?[..];
        let (mut with, mut without, mut reads) = (vec![], vec![], load::histogram());
        load::at_rate(readers, REQUESTS_PER_SECOND, TURN, &mut reads).await?;
        reads.reset();
        for _ in 0..options.turns() * 3 {
            let rest = async {
                sleep(TURN).await;
                Ok(())
            };
            without.push(self.beside(rest).await?);
            with.push(self.beside(load::at_rate(readers, REQUESTS_PER_SECOND, TURN, &mut reads)).await?);
        }
        // Of each turn, and of the turns the middle one: a disk that stands still for a moment takes a turn, not the day.
        let p99 =
            |turns: Vec<Histogram<u64>>| median(turns.iter().map(|turn| Latency::of(turn).p99).collect());
        Ok(vec![
            Row::new(name, p99(with), "ms, median of the turns")
                .beside(p99(without))
                .goal(Goal::RatioAtMost(1.5)),
            Row::new(
                format!("{name}.reads"),
                Latency::of(&reads).p50,
                "ms, median of what the readers ask for",
            ),
        ])
    }
}

/// What a reader asks for, anywhere in the past of any room.
#[derive(Clone, Copy)]
enum Ask {
    Resume,
    History,
    Rooms,
    Events,
}

const WITH_POSTGRES: &[(&str, &[Ask])] = &[
    ("resume.append_p99", &[Ask::Resume, Ask::History, Ask::Rooms, Ask::Events]),
    ("resume.append_p99.resume", &[Ask::Resume]),
    ("resume.append_p99.history", &[Ask::History]),
    ("resume.append_p99.rooms", &[Ask::Rooms]),
    ("resume.append_p99.events", &[Ask::Events]),
];
const WITHOUT_POSTGRES: &[(&str, &[Ask])] =
    &[("resume.append_p99.without_postgres", &[Ask::Resume, Ask::Events, Ask::Events, Ask::Events])];

/// Where there is much to read, and whose it is.
struct Past {
    front: SocketAddr,
    tokens: AccessTokens,
    user: UserId,
    rooms: Vec<RoomId>,
    epoch: String,
    head: u64,
    /// How far back raw events are asked for.
    reach: u64,
}

struct DeepReader<'a> {
    past: &'a Past,
    http: Http,
    reader: Reader,
    writer: Writer,
    asks: &'static [Ask],
    turn: usize,
}

impl<'a> DeepReader<'a> {
    async fn enter(past: &'a Past, asks: &'static [Ask], turn: usize) -> anyhow::Result<Self> {
        let (reader, writer) = crowd::enter(past.front, &past.tokens, past.user).await?;
        let http = Http::connect(past.front, &crowd::token(&past.tokens, past.user)).await?;
        Ok(Self { past, http, reader, writer, asks, turn })
    }
}

impl Worker for DeepReader<'_> {
    async fn work(&mut self) -> anyhow::Result<()> {
        let Past { rooms, epoch, head, reach, .. } = self.past;
        let room = rooms[rand::random_range(0..rooms.len())];
        let after = rand::random_range(0..*head);
        self.turn += 1;
        match self.asks[self.turn % self.asks.len()] {
            Ask::Resume => {
                let after = head - rand::random_range(0..*reach);
                let writer = &self.writer;
                writer.send(&format!(
                    r#"{{"t":"sub","id":1,"room":"{room}","after":{after},"epoch":"{epoch}"}}"#
                ))?;
                self.reader.until(r#""t":"ok","id":1"#).await?;
                writer.send(&format!(r#"{{"t":"unsub","id":2,"room":"{room}"}}"#))?;
                self.reader.until(r#""t":"ok","id":2"#).await?;
            }
            Ask::History => {
                let cursor =
                    natterjack_readmodel::Cursor::History { before_seq: i64::try_from(after)? }.encode();
                self.http.get(&format!("/v1/rooms/{room}/messages?cursor={cursor}")).await?;
            }
            Ask::Rooms => {
                self.http.get("/v1/rooms?limit=50").await?;
            }
            Ask::Events => {
                let after = head - rand::random_range(0..*reach);
                self.http.get(&format!("/v1/rooms/{room}/events?after={after}&limit=500")).await?;
            }
        }
        Ok(())
    }
}
