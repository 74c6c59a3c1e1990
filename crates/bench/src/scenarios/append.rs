//! Appending: how many acknowledgements a second, and how long does one take? Through a front, in rooms with one person
//! each, beside a publisher that knows nothing but the stream. No projector runs. For throughput nats-server has a core to
//! itself, and the other one is shared by all that is on the publishing side: the front and its clients, or the publisher.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use natterjack_domain::RoomId;
use natterjack_eventlog::{Config, Log};
use natterjack_runtime::config::Reader;
use natterjack_stack::{NatsCluster, NatsServer, Tools};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Options,
    accounting::{own_usage, usage},
    client::Writer,
    cores,
    crowd::{self, Seat},
    installation::{Installation, Program},
    load::{self, OpenLoop},
    reference::publisher::{Load, Measured, Publisher, Timings},
    report::{Goal, Row, median},
};

const IN_FLIGHT: [usize; 3] = [1, 16, 256];
/// Each has a connection and a room of its own; with more in flight than this, each has several.
const SESSIONS: usize = 64;
/// What is in flight goes in so many batches of the raw publisher.
const BATCHES_AT_ONCE: [usize; 2] = [1, 2];
const STEADY_PER_SECOND: f64 = 500.0;
/// Short, so that product and reference take turns: a disk is not the same from minute to minute.
const SPAN: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(300);

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = on_one_node(&options, "append.one", "1").await?;
    rows.extend(on_one_node(&options, "append.three_streams", "3").await?);
    rows.extend(on_a_cluster(&options, "append.cluster").await?);
    Ok(rows)
}

async fn on_one_node(options: &Options, name: &str, streams: &str) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start_with(&[("STREAMS", streams)]).await?;
    let front = installation.front().await?;
    let servers = [installation.nats.pid()];
    compare(options, name, &front, &servers, installation.log_config()).await
}

/// Front and publisher speak to the same member, whether or not it leads.
async fn on_a_cluster(options: &Options, name: &str) -> anyhow::Result<Vec<Row>> {
    let cluster = NatsCluster::temporary(&Tools::find()?).await?;
    let url = cluster.members[0].url();
    let own = [("NATS_URL", url.as_str()), ("REPLICAS", "3")];
    let settings = own.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned()));
    let config = Config::read(&mut Reader::from_pairs(settings));
    natterjack_eventlog::provision(&config).await?;
    let installation = Installation::start().await?;
    let front = installation.front_with(cores::MEASURED, &own).await?;
    let servers: Vec<_> = cluster.members.iter().map(NatsServer::pid).collect();
    compare(options, name, &front, &servers, config).await
}

async fn compare(
    options: &Options,
    name: &str,
    front: &Program,
    servers: &[u32],
    config: Config,
) -> anyhow::Result<Vec<Row>> {
    let rooms = crowd::rooms(&Log::open(&config).await?, SESSIONS, 1).await?;
    let ids: Vec<_> = rooms.iter().map(|room| room.id).collect();
    let seats = async || {
        let seats = crowd::seats(front.address, &Installation::tokens()?, &rooms).await?;
        anyhow::Ok(seats.into_iter().flatten().collect::<Vec<_>>())
    };
    let raw = Publisher { config, rooms: ids, span: SPAN, warm_up: WARM_UP };
    let processes = Processes { front: front.pid(), servers: servers.to_vec() };
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let (mut product, mut costs, mut single) = (vec![], vec![], vec![]);
        let mut batched = if in_flight > 1 { vec![vec![]; BATCHES_AT_ONCE.len()] } else { vec![] };
        for _ in 0..options.turns().div_ceil(2) {
            single.push(raw.run(Load::InFlight(in_flight)).await?);
            for (runs, at_once) in batched.iter_mut().zip(BATCHES_AT_ONCE) {
                runs.push(raw.run(Load::Batches { messages: in_flight, at_once }).await?);
            }
            // On the front's core.
            let load = cores::during(cores::MEASURED, closed(seats().await?, in_flight));
            let (measured, spent) = with_cost(load, &processes).await?;
            product.push(measured);
            costs.push(spent);
        }
        let name = format!("{name}.{in_flight}");
        rows.extend(of_throughput(&name, in_flight, &product, &single, &batched));
        rows.extend(of_cost(&name, &costs));
    }
    let (mut product, mut costs, mut single) = (vec![], vec![], vec![]);
    for _ in 0..options.turns().div_ceil(2) {
        single.push(raw.run(Load::PerSecond(STEADY_PER_SECOND)).await?);
        let (measured, spent) = with_cost(open(seats().await?), &processes).await?;
        product.push(measured);
        costs.push(spent);
    }
    rows.push(
        Row::new(format!("{name}.steady.p50"), middle(&product, p50), "ms").beside(middle(&single, p50)),
    );
    let steady =
        Row::new(format!("{name}.steady.p99"), middle(&product, p99), "ms").beside(middle(&single, p99));
    rows.push(steady.goal(Goal::RatioAtMost(1.5)));
    rows.extend(of_cost(&format!("{name}.steady"), &costs));
    Ok(rows)
}

fn of_throughput(
    name: &str,
    in_flight: usize,
    product: &[Measured],
    single: &[Measured],
    batched: &[Vec<Measured>],
) -> Vec<Row> {
    let ways = std::iter::once(single).chain(batched.iter().map(Vec::as_slice));
    let best = ways.max_by(|a, b| middle(a, per_second).total_cmp(&middle(b, per_second))).unwrap_or(single);
    let row = Row::new(name, middle(product, per_second), "acks/s").beside(middle(best, per_second));
    let row = if in_flight == 256 { row.goal(Goal::RatioAtLeast(0.9)) } else { row };
    let mut rows = vec![row, Row::new(format!("{name}.raw_single"), middle(single, per_second), "acks/s")];
    for (at_once, runs) in BATCHES_AT_ONCE.iter().zip(batched) {
        rows.push(Row::new(format!("{name}.raw_batches_{at_once}"), middle(runs, per_second), "acks/s"));
    }
    rows.push(Row::new(format!("{name}.p50"), middle(product, p50), "ms").beside(middle(best, p50)));
    rows.push(Row::new(format!("{name}.p99"), middle(product, p99), "ms").beside(middle(best, p99)));
    rows
}

/// Microseconds of CPU time for each acknowledgement.
struct Cost {
    front: f64,
    nats: f64,
    /// They share a core with the front for throughput, and with nats-server at the steady rate.
    clients: f64,
}

struct Processes {
    front: u32,
    servers: Vec<u32>,
}

impl Processes {
    fn cpu(&self) -> anyhow::Result<[Duration; 3]> {
        let servers =
            self.servers.iter().map(|pid| Ok(usage(*pid)?.cpu)).sum::<anyhow::Result<Duration>>()?;
        Ok([usage(self.front)?.cpu, servers, own_usage(std::process::id())?.cpu])
    }
}

/// Warm-up included: what is divided by is all that was acknowledged.
async fn with_cost(
    load: impl Future<Output = anyhow::Result<(Measured, u64)>>,
    processes: &Processes,
) -> anyhow::Result<(Measured, Cost)> {
    let before = processes.cpu()?;
    let (measured, acknowledged) = load.await?;
    let after = processes.cpu()?;
    let micros = |of: usize| (after[of] - before[of]).as_secs_f64() * 1e6 / acknowledged as f64;
    Ok((measured, Cost { front: micros(0), nats: micros(1), clients: micros(2) }))
}

fn of_cost(name: &str, costs: &[Cost]) -> [Row; 3] {
    let row = |of: &str, figure: fn(&Cost) -> f64| {
        Row::new(format!("{name}.cpu.{of}"), median(costs.iter().map(figure).collect()), "µs/ack")
    };
    [row("front", |cost| cost.front), row("nats", |cost| cost.nats), row("clients", |cost| cost.clients)]
}

fn middle(of: &[Measured], figure: fn(&Measured) -> f64) -> f64 {
    median(of.iter().map(figure).collect())
}

fn per_second(measured: &Measured) -> f64 {
    measured.per_second
}

fn p50(measured: &Measured) -> f64 {
    measured.latency.p50
}

fn p99(measured: &Measured) -> f64 {
    measured.latency.p99
}

async fn closed(seats: Vec<Seat>, in_flight: usize) -> anyhow::Result<(Measured, u64)> {
    let (acks, sessions) = (Acks::new(), in_flight.min(SESSIONS));
    let mut readers = JoinSet::new();
    for seat in seats.into_iter().take(sessions) {
        readers.spawn(keep_sending(seat, in_flight / sessions, acks.clone()));
    }
    measure(&acks).await
}

async fn keep_sending(mut seat: Seat, in_flight: usize, acks: Arc<Acks>) {
    acks.send(&seat.writer, seat.room, in_flight);
    loop {
        let mut acknowledged = 0;
        if seat.reader.read(|payload| acknowledged += usize::from(acks.see(payload))).await.is_err() {
            return acks.fail();
        }
        acks.send(&seat.writer, seat.room, acknowledged);
    }
}

async fn open(seats: Vec<Seat>) -> anyhow::Result<(Measured, u64)> {
    let (acks, mut readers, mut writers) = (Acks::new(), JoinSet::new(), Vec::new());
    for mut seat in seats {
        let acks = acks.clone();
        writers.push((seat.room, seat.writer));
        readers.spawn(async move {
            while seat
                .reader
                .read(|payload| {
                    acks.see(payload);
                })
                .await
                .is_ok()
            {}
            acks.fail();
        });
    }
    let (sent, mut turn) = (acks.clone(), 0_usize);
    let load = OpenLoop::every(Duration::from_secs_f64(1.0 / STEADY_PER_SECOND), move |at| {
        let (room, writer) = &writers[turn % writers.len()];
        sent.send_at(writer, *room, at);
        turn += 1;
    });
    let (measured, acknowledged) = measure(&acks).await?;
    drop(load);
    ensure!(measured.per_second > STEADY_PER_SECOND * 0.95, "only {} acks/s", measured.per_second);
    Ok((measured, acknowledged))
}

async fn measure(acks: &Acks) -> anyhow::Result<(Measured, u64)> {
    sleep(WARM_UP).await;
    acks.timings.begin();
    sleep(SPAN).await;
    let measured = acks.timings.end(SPAN);
    ensure!(!acks.failed.load(Relaxed), "a send was refused, or a connection was lost");
    Ok((measured.context("nothing was acknowledged")?, acks.acknowledged.load(Relaxed)))
}

/// What was sent and is not acknowledged yet, and how long the others took.
struct Acks {
    sent: Mutex<HashMap<u64, u64>>,
    timings: Timings,
    acknowledged: AtomicU64,
    failed: AtomicBool,
}

impl Acks {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sent: Mutex::default(),
            timings: Timings::new(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// Sends so many now, in one write: what is acknowledged together goes on together.
    fn send(&self, writer: &Writer, room: RoomId, count: usize) {
        let at = load::now();
        if count > 0 && writer.send_all((0..count).map(|_| self.next(room, at))).is_err() {
            self.fail();
        }
    }

    fn send_at(&self, writer: &Writer, room: RoomId, at: u64) {
        if writer.send(&self.next(room, at)).is_err() {
            self.fail();
        }
    }

    fn next(&self, room: RoomId, at: u64) -> String {
        let n = load::next_number();
        self.sent.lock().insert(n, at);
        load::message(room, at, n)
    }

    /// Whether the frame is an acknowledgement.
    fn see(&self, payload: &[u8]) -> bool {
        if payload.starts_with(br#"{"t":"err""#) {
            self.fail();
        }
        let sent = load::acknowledged(payload).and_then(|n| self.sent.lock().remove(&n));
        let Some(at) = sent else { return false };
        self.acknowledged.fetch_add(1, Relaxed);
        self.timings.record(at);
        true
    }

    fn fail(&self) {
        self.failed.store(true, Relaxed);
    }
}
