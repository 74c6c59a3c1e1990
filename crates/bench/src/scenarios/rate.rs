//! A steady rate: what does it cost, in all processes, and how long does a delivery take?

use anyhow::ensure;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Options,
    accounting::usage,
    crowd::{self, Seat},
    installation::Installation,
    load::{Board, Latency, OpenLoop},
    median,
    reference::raw_log,
    report::{Goal, Row},
    scenarios::fanout::bare_hub,
};

const ROOMS: usize = 100;
const MEMBERS: usize = 20;
const DELIVERIES_PER_SECOND: f64 = 20_000.0;
const EVENTS_PER_SECOND: f64 = DELIVERIES_PER_SECOND / MEMBERS as f64;

/// CPU seconds for a million deliveries, of each process, and the deliveries' latency.
struct Measured {
    cpu: Vec<f64>,
    latency: Latency,
}

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let (mut bare, mut product, mut republished) = (vec![], vec![], vec![]);
    for _ in 0..options.rounds() {
        let hub = bare_hub().await?;
        let seats = crowd::bare_seats(hub.address, ROOMS, MEMBERS).await?;
        bare.push(measure(&options, &[hub.pid()], seats).await?);
        drop(hub);

        let installation = Installation::start().await?;
        let (front, projector) = tokio::try_join!(installation.front(), installation.projector())?;
        let rooms = crowd::rooms(&installation.log().await?, ROOMS, MEMBERS).await?;
        let seats = crowd::seats(front.address, &installation.tokens()?, &rooms).await?;
        let processes = [front.pid(), installation.nats.pid(), projector.pid(), installation.postgres.pid()];
        product.push(measure(&options, &processes, seats).await?);
        let url = installation.nats.url();
        republished.push(raw_log::republish(&url, ROOMS, EVENTS_PER_SECOND, options.span()).await?.p99_ms);
    }
    let middle = |of: &[Measured], figure: &dyn Fn(&Measured) -> f64| median(of.iter().map(figure).collect());
    let cpu_of = |process: usize| middle(&product, &|m| m.cpu[process]);
    let bare_p99 = middle(&bare, &|m| m.latency.p99_ms);
    let ms = |name: &str, figure: &dyn Fn(&Latency) -> f64| {
        Row::new(format!("rate.{name}"), middle(&product, &|m| figure(&m.latency)), "ms")
    };
    let unit = "CPU-s/million deliveries";
    Ok(vec![
        Row::new("rate.front", cpu_of(0), unit)
            .beside(middle(&bare, &|m| m.cpu[0]))
            .goal(Goal::RatioAtMost(1.3)),
        Row::new("rate.nats", cpu_of(1), unit),
        Row::new("rate.projector", cpu_of(2), unit),
        Row::new("rate.postgres", cpu_of(3), unit),
        Row::new("rate.all", middle(&product, &|m| m.cpu.iter().sum()), unit).goal(Goal::AtMost(22.0)),
        ms("p50", &|l| l.p50_ms),
        ms("p99", &|l| l.p99_ms).beside(median(republished) + bare_p99).goal(Goal::RatioAtMost(2.0)),
        ms("p999", &|l| l.p999_ms),
        Row::new("rate.bare.p99", bare_p99, "ms"),
    ])
}

async fn measure(options: &Options, processes: &[u32], seats: Vec<Vec<Seat>>) -> anyhow::Result<Measured> {
    let (board, mut readers) = (Board::new(), JoinSet::new());
    let load = OpenLoop::start(seats, EVENTS_PER_SECOND, &board, &mut readers);
    sleep(options.warm_up()).await;
    board.begin_timing();
    let cpu = || processes.iter().map(|pid| Ok(usage(*pid)?.cpu.as_secs_f64())).collect::<anyhow::Result<Vec<_>>>();
    let (before, deliveries) = (cpu()?, board.deliveries());
    sleep(options.span()).await;
    let (after, deliveries) = (cpu()?, board.deliveries() - deliveries);
    ensure!(!board.has_failed(), "a connection was lost");
    drop(load);
    let expected = DELIVERIES_PER_SECOND * options.span().as_secs_f64();
    ensure!(deliveries as f64 > expected * 0.9, "only {deliveries} of {expected} deliveries came in time");
    let millions = deliveries as f64 / 1e6;
    let cpu = before.iter().zip(after).map(|(before, after)| (after - before) / millions).collect();
    Ok(Measured { cpu, latency: board.latency() })
}
