//! As fast as it goes: how many deliveries does a second of the server's CPU time make?

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::ensure;
use tokio::time::sleep;

use crate::{
    Options, accounting::usage,
    cores,
    crowd::{self, Seat},
    installation::{Installation, Program},
    load::{self, Board},
    median,
    report::{Goal, Row},
};

pub async fn hot(options: Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = compare(&options, "fanout.hot", Shape { rooms: 1, members: 1_000, senders: 16 }, 0.7).await?;
    rows.extend(compare(&options, "fanout.single", Shape { rooms: 1, members: 1_000, senders: 1 }, 0.8).await?);
    Ok(rows)
}

pub async fn rooms(options: Options) -> anyhow::Result<Vec<Row>> {
    compare(&options, "rooms.small", Shape { rooms: 100, members: 20, senders: 1 }, 0.8).await
}

/// Rooms, people in each, and how many of these have a message in flight.
#[derive(Clone, Copy)]
struct Shape {
    rooms: usize,
    members: usize,
    senders: usize,
}

async fn compare(options: &Options, name: &str, shape: Shape, least: f64) -> anyhow::Result<Vec<Row>> {
    let (mut product, mut bare, mut per_second) = (vec![], vec![], vec![]);
    for _ in 0..options.rounds() {
        let measured = of_bare_hub(options, shape).await?;
        bare.push(measured.deliveries / measured.cpu_secs / 1e3);
        let measured = of_product(options, shape).await?;
        product.push(measured.deliveries / measured.cpu_secs / 1e3);
        per_second.push(measured.deliveries / options.span().as_secs_f64() / 1e3);
    }
    Ok(vec![
        Row::new(name, median(product), "thousand deliveries/CPU-s")
            .beside(median(bare))
            .goal(Goal::RatioAtLeast(least)),
        Row::new(format!("{name}.throughput"), median(per_second), "thousand deliveries/s"),
    ])
}

struct Measured {
    deliveries: f64,
    cpu_secs: f64,
}

async fn of_bare_hub(options: &Options, shape: Shape) -> anyhow::Result<Measured> {
    let hub = bare_hub().await?;
    let seats = crowd::bare_seats(hub.address, shape.rooms, shape.members).await?;
    measure(options, &hub, seats, shape).await
}

async fn of_product(options: &Options, shape: Shape) -> anyhow::Result<Measured> {
    let installation = Installation::start().await?;
    let (front, _projector) = tokio::try_join!(installation.front(), installation.projector())?;
    let rooms = crowd::rooms(&installation.log().await?, shape.rooms, shape.members).await?;
    let seats = crowd::seats(front.address, &installation.tokens()?, &rooms).await?;
    measure(options, &front, seats, shape).await
}

/// Starts the bare hub on the measured core and waits until it listens.
pub async fn bare_hub() -> anyhow::Result<Program> {
    let port = natterjack_stack::ports::free()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let hub = Program::of_this_program(cores::MEASURED, &["bench-hub", &address.to_string()], port)?;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        ensure!(usage(hub.pid())?.memory_bytes > 0, "the bare hub does not start");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(hub)
}

async fn measure(
    options: &Options,
    server: &Program,
    seats: Vec<Vec<Seat>>,
    shape: Shape,
) -> anyhow::Result<Measured> {
    let board: Arc<Board> = Board::new();
    let _readers = load::closed(seats, shape.senders, &board);
    sleep(options.warm_up()).await;
    let (cpu, deliveries) = (usage(server.pid())?.cpu, board.deliveries());
    sleep(options.span()).await;
    let (cpu, deliveries) = (usage(server.pid())?.cpu - cpu, board.deliveries() - deliveries);
    ensure!(!board.has_failed(), "a connection was lost");
    ensure!(deliveries > 0, "nothing was delivered");
    Ok(Measured { deliveries: deliveries as f64, cpu_secs: cpu.as_secs_f64() })
}
