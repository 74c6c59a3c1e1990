//! A steady rate: what does it cost, in all processes, and how long does a delivery take?

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::{
    Options, crowd,
    installation::Installation,
    load::{Board, OpenLoop},
    reference::raw_log,
    report::{Goal, Row},
    scenarios::fanout::bare_hub,
    turns::{Side, TURN},
};

const ROOMS: usize = 100;
const MEMBERS: usize = 20;
const DELIVERIES_PER_SECOND: f64 = 20_000.0;
const EVENTS_PER_SECOND: f64 = DELIVERIES_PER_SECOND / MEMBERS as f64;

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let mut readers = JoinSet::new();
    let hub = bare_hub().await?;
    let seats = crowd::bare_seats(hub.address, ROOMS, MEMBERS).await?;
    let board = Board::new();
    let mut bare = Side::new(&board, &[hub.pid()]);
    let _bare_load = OpenLoop::start(seats, EVENTS_PER_SECOND, &board, &mut readers);

    let installation = Installation::start().await?;
    let (front, projector) = tokio::try_join!(installation.front(), installation.projector())?;
    let rooms = crowd::rooms(&installation.log().await?, ROOMS, MEMBERS).await?;
    let seats = crowd::seats(front.address, &Installation::tokens()?, &rooms).await?;
    let processes = [front.pid(), installation.nats.pid(), projector.pid(), installation.postgres.pid()];
    let board = Board::new();
    let mut product = Side::new(&board, &processes);
    let _load = OpenLoop::start(seats, EVENTS_PER_SECOND, &board, &mut readers);

    let mut republish = raw_log::Republish::start(&installation.nats.url(), ROOMS, EVENTS_PER_SECOND).await?;
    for _ in 0..options.turns() {
        bare.turn().await?;
        product.turn().await?;
        republish.side.turn().await?;
    }
    for side in [&bare, &product] {
        let (found, expected) = (side.deliveries_per_second(), DELIVERIES_PER_SECOND);
        ensure!(found > 0.9 * expected, "{found} of {expected} deliveries/s within {} s", TURN.as_secs());
    }
    let found = republish.side.deliveries_per_second();
    ensure!(
        found > 0.9 * EVENTS_PER_SECOND,
        "nats-server alone gave {found} of {EVENTS_PER_SECOND} events/s"
    );
    let (cpu, bare_cpu) = (product.cpu_per_million(), bare.cpu_per_million());
    let (latency, bare_latency, republished) =
        (product.board.latency(), bare.board.latency(), republish.side.board.latency());
    let unit = "CPU-s/million deliveries";
    let names = ["front", "nats", "projector", "postgres"];
    let mut rows: Vec<Row> =
        names.iter().zip(&cpu).map(|(name, cpu)| Row::new(format!("rate.{name}"), *cpu, unit)).collect();
    rows[0] = rows[0].clone().beside(bare_cpu[0]).goal(Goal::RatioAtMost(1.3));
    rows.extend([
        Row::new("rate.all", cpu.iter().sum(), unit).beside(bare_cpu[0]).goal(Goal::AtMost(22.0)),
        Row::new("rate.p50", latency.p50, "ms").beside(republished.p50 + bare_latency.p50),
        Row::new("rate.p99", latency.p99, "ms")
            .beside(republished.p99 + bare_latency.p99)
            .goal(Goal::RatioAtMost(2.0)),
        Row::new("rate.p999", latency.p999, "ms").beside(republished.p999 + bare_latency.p999),
    ]);
    Ok(rows)
}
