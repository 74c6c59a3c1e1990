//! The projector by itself: how fast does it catch up, how far behind is it at a high rate, how fast does a replay go?
//!
//! The log does not sync each message here, so that it can be filled fast and can give 5,000 events/s; reading from
//! it costs the same. Postgres is durable. All servers, the projector and the raw writer in its place have both cores.
//! Starting a process and preparing its statements does not count, for either; nor does making the files of a new
//! Postgres' write-ahead log, which is why a first round goes before the one that counts.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use async_nats::jetstream::{self, context::PublishAckFuture};
use natterjack_database::Client;
use natterjack_domain::RoomId;
use natterjack_eventlog::Subject;
use natterjack_stack::Durability;
use tokio::{
    select,
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Options,
    accounting::usage,
    cores, crowd,
    installation::{Installation, Program},
    load::{self, Latency},
    reference::{
        raw_log,
        raw_rows::{Rows, Way},
    },
    report::{Goal, Row, median},
};

const ROOMS: usize = 100;
const MEMBERS: usize = 20;
const EVENTS_PER_SECOND: f64 = 5_000.0;
/// Publishes without an acknowledgement yet, while the log is filled.
const IN_FLIGHT: usize = 1_000;
/// The projector and the best raw writer, one after the other.
const TURNS: usize = 3;
const RAW_BATCHES: [usize; 2] = [1_000, 5_000];
/// Each look costs Postgres a tenth of a millisecond.
const POLL: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_mins(2);
/// A replay says so often how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let (stored, replayed): (usize, usize) =
        if options.quick { (200_000, 200_000) } else { (500_000, 1_000_000) };
    let installation = Installation::start_on(Durability::None, &[]).await?;
    for server in [installation.postgres.pid(), installation.nats.pid()] {
        cores::put(server, cores::EITHER)?;
    }
    let rooms = crowd::rooms(&installation.log().await?, ROOMS, MEMBERS).await?;
    let rooms: Vec<RoomId> = rooms.into_iter().map(|room| room.id).collect();
    let mut source = Source::connect(&installation, rooms).await?;
    source.fill(stored).await?;

    let mut client = installation.admin().await?;
    catch_up(&installation, &client).await?;
    let mut raw = Raw::of(&installation, &client).await?;
    let ways = raw.all_ways().await?;
    let best = ways.iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).context("ways are known")?;
    let mut turns = Vec::new();
    let mut projector = None;
    for _ in 0..TURNS {
        let bound = raw.write(best.way, best.batch).await?;
        drop(projector.take());
        empty(&client).await?;
        let (caught_up, program) = catch_up(&installation, &client).await?;
        turns.push((caught_up, bound));
        projector = Some(program);
    }
    let projector = projector.context("there were turns")?;
    let mut rows = caught_up(&turns);
    rows.extend(ways.into_iter().map(|raw| {
        let name = format!("projector.raw.{}.{}", raw.way.name(), raw.batch);
        Row::new(name, raw.per_second, "events/s")
    }));

    rows.extend(lag(&options, &installation, &mut source, &projector, &client).await?);
    source.fill(replayed.saturating_sub(source.published)).await?;
    reached(&client, source.last).await?;
    drop(projector);
    rows.push(replay(&installation, &mut client).await?);
    Ok(rows)
}

/// Publishes messages straight into the log.
struct Source {
    jetstream: jetstream::Context,
    rooms: Vec<RoomId>,
    published: usize,
    /// Sequence of the last event whose acknowledgement was waited for.
    last: u64,
}

impl Source {
    async fn connect(installation: &Installation, rooms: Vec<RoomId>) -> anyhow::Result<Self> {
        let client = async_nats::connect(installation.nats.url()).await?;
        let context = jetstream::context::ContextBuilder::new().max_ack_inflight(4 * IN_FLIGHT);
        Ok(Self { jetstream: context.build(client), rooms, published: 0, last: 0 })
    }

    async fn publish(&mut self) -> anyhow::Result<PublishAckFuture> {
        let room = self.rooms[self.published % self.rooms.len()];
        self.published += 1;
        let (id, body) = raw_log::event(room, load::now())?;
        let subject = Subject::timeline(room).to_string();
        Ok(self.jetstream.publish_with_headers(subject, raw_log::headers(&id), body).await?)
    }

    async fn fill(&mut self, count: usize) -> anyhow::Result<()> {
        let mut pending = VecDeque::new();
        for _ in 0..count {
            pending.push_back(self.publish().await?);
            if pending.len() == IN_FLIGHT {
                let oldest = pending.pop_front().context("some are pending")?;
                self.last = oldest.await?.sequence;
            }
        }
        for ack in pending {
            self.last = ack.await?.sequence;
        }
        Ok(())
    }
}

/// Takes away what the projector has made.
async fn empty(client: &Client) -> anyhow::Result<()> {
    const MADE: &str = "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
                        WHERE schemaname IN ('log', 'read') AND tablename <> 'refinery_schema_history'";
    let made: String = client.query_one(MADE, &[]).await?.try_get(0)?;
    Ok(client.batch_execute(&format!("TRUNCATE {made}")).await?)
}

/// Up to where all tables reflect the stream: they move together.
async fn checkpoint(client: &Client) -> anyhow::Result<u64> {
    let row = client.query_opt("SELECT seq FROM read.checkpoints WHERE stream = 0", &[]).await?;
    Ok(row.map(|row| row.try_get::<_, i64>(0)).transpose()?.unwrap_or(0).try_into()?)
}

/// CPU seconds of the projector, Postgres and nats-server.
fn cpu_of(installation: &Installation, projector: &Program) -> anyhow::Result<[f64; 3]> {
    let cpu = |pid| anyhow::Ok(usage(pid)?.cpu.as_secs_f64());
    Ok([cpu(projector.pid())?, cpu(installation.postgres.pid())?, cpu(installation.nats.pid())?])
}

/// What writing the rows once came to.
struct Rate {
    per_second: f64,
    /// CPU seconds for a million events: of the projector, Postgres and nats-server.
    cpu: [f64; 3],
}

/// From the projector's first transaction until everything that was stored is applied.
async fn catch_up(installation: &Installation, client: &Client) -> anyhow::Result<(Rate, Program)> {
    client.batch_execute("CHECKPOINT").await?;
    let end = installation.log().await?.last_seq(0).await?;
    let projector = installation.projector_on(cores::EITHER).await?;
    let first = reached(client, 1).await?;
    let cpu = || cpu_of(installation, &projector);
    let (begun, before) = (Instant::now(), cpu()?);
    reached(client, end).await?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), cpu()?);
    let events = (end - first) as f64;
    let cpu = std::array::from_fn(|index| (after[index] - before[index]) / events * 1e6);
    Ok((Rate { per_second: events / seconds, cpu }, projector))
}

/// The medians of the turns, each beside that of the raw writer.
fn caught_up(turns: &[(Rate, RawRate)]) -> Vec<Row> {
    let figure = |of: fn(&(Rate, RawRate)) -> f64| median(turns.iter().map(of).collect());
    let row = |name, value| Row::new(name, value, "CPU-s/million events");
    vec![
        Row::new("projector.catch_up", figure(|(rate, _)| rate.per_second), "events/s")
            .beside(figure(|(_, raw)| raw.per_second))
            .goal(Goal::RatioAtLeast(0.8)),
        row("projector.catch_up.projector", figure(|(rate, _)| rate.cpu[0])),
        row("projector.catch_up.postgres", figure(|(rate, _)| rate.cpu[1]))
            .beside(figure(|(_, raw)| raw.cpu)),
        row("projector.catch_up.nats", figure(|(rate, _)| rate.cpu[2])),
    ]
}

/// Waits until the checkpoint is at `seq` or beyond.
async fn reached(client: &Client, seq: u64) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        let reached = checkpoint(client).await?;
        if reached >= seq {
            return Ok(reached);
        }
        ensure!(begun.elapsed() < LIMIT, "the projector does not catch up");
        sleep(POLL).await;
    }
}

/// The same rows without the projector.
struct Raw {
    rows: Rows,
    client: Client,
    postgres: u32,
}

struct RawRate {
    way: Way,
    batch: usize,
    per_second: f64,
    /// Postgres' CPU seconds for a million events.
    cpu: f64,
}

impl Raw {
    /// With the rows that the projector has made.
    async fn of(installation: &Installation, made: &Client) -> anyhow::Result<Self> {
        let (rows, client) = (Rows::read(made).await?, installation.second_database("raw").await?);
        Ok(Self { rows, client, postgres: installation.postgres.pid() })
    }

    async fn all_ways(&mut self) -> anyhow::Result<Vec<RawRate>> {
        let mut rates = Vec::new();
        for way in Way::ALL {
            for batch in RAW_BATCHES {
                rates.push(self.write(way, batch).await?);
            }
        }
        Ok(rates)
    }

    /// The raw writer is this process, which elsewhere has to keep off one of the cores.
    async fn write(&mut self, way: Way, batch: usize) -> anyhow::Result<RawRate> {
        let before = usage(self.postgres)?.cpu;
        let writing = self.rows.write(&mut self.client, way, batch);
        let per_second = cores::during(cores::EITHER, writing).await?;
        let cpu = (usage(self.postgres)?.cpu - before).as_secs_f64() / self.rows.len() as f64 * 1e6;
        Ok(RawRate { way, batch, per_second, cpu })
    }
}

/// How long an event takes from its acknowledgement until a reader sees what it did.
async fn lag(
    options: &Options,
    installation: &Installation,
    source: &mut Source,
    projector: &Program,
    client: &Client,
) -> anyhow::Result<Vec<Row>> {
    // What was written before is not to be synced now.
    client.batch_execute("CHECKPOINT").await?;
    let (acks, acked) = mpsc::unbounded_channel();
    let cpu = || cpu_of(installation, projector);
    let before = cpu()?;
    let span = Duration::from_secs(if options.quick { 2 } else { 6 });
    let (sent, histogram) = tokio::try_join!(steadily(source, span, acks), seen(client, acked))?;
    let after = cpu()?;
    ensure!(
        sent as f64 > EVENTS_PER_SECOND * span.as_secs_f64() * 0.95,
        "only {sent} events were stored in time"
    );
    let latency = Latency::of(&histogram);
    let mut rows = vec![
        Row::new("projector.lag.p50", latency.p50, "ms"),
        Row::new("projector.lag.p99", latency.p99, "ms"),
        Row::new("projector.lag.max", histogram.max() as f64 / 1e6, "ms").goal(Goal::AtMost(1_000.0)),
    ];
    for (index, name) in ["projector", "postgres", "nats"].into_iter().enumerate() {
        let per_million = (after[index] - before[index]) / sent as f64 * 1e6;
        rows.push(Row::new(format!("projector.lag.{name}"), per_million, "CPU-s/million events"));
    }
    Ok(rows)
}

/// Publishes at the rate; tells for each event when it was acknowledged.
async fn steadily(
    source: &mut Source,
    span: Duration,
    acks: mpsc::UnboundedSender<(u64, u64)>,
) -> anyhow::Result<usize> {
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < span {
        tick.tick().await;
        while (sent as f64) < begun.elapsed().as_secs_f64() * EVENTS_PER_SECOND {
            let (ack, acks) = (source.publish().await?, acks.clone());
            tokio::spawn(async move {
                if let Ok(ack) = ack.await {
                    let _ = acks.send((ack.sequence, load::now()));
                }
            });
            sent += 1;
        }
    }
    Ok(sent)
}

/// Looks at the checkpoint until every event that was acknowledged is behind it.
async fn seen(
    client: &Client,
    mut acked: mpsc::UnboundedReceiver<(u64, u64)>,
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let mut histogram = load::histogram();
    let (mut waiting, mut open) = (Vec::new(), true);
    let mut look = interval(POLL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while open || !waiting.is_empty() {
        select! {
            ack = acked.recv(), if open => match ack {
                Some(ack) => waiting.push(ack),
                None => open = false,
            },
            _ = look.tick() => {
                let (seq, now) = (checkpoint(client).await?, load::now());
                waiting.retain(|(stored, at)| {
                    let there = *stored <= seq;
                    if there {
                        histogram.saturating_record(now.saturating_sub(*at));
                    }
                    !there
                });
            }
        }
    }
    Ok(histogram)
}

/// Makes the read models again from the second copy of the log.
async fn replay(installation: &Installation, client: &mut Client) -> anyhow::Result<Row> {
    client.batch_execute("CHECKPOINT").await?;
    let (begun, mut events, mut told) = (Instant::now(), 0, Instant::now());
    let pool = installation.pool("natterjack_migrator");
    natterjack_projection::rebuild(&pool, |progress| {
        events = progress.done;
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            eprintln!("   replayed {} of {}", progress.done, progress.total);
        }
    })
    .await?;
    Ok(Row::new("projector.replay", events as f64 / begun.elapsed().as_secs_f64(), "events/s"))
}
