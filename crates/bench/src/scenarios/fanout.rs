//! As fast as it goes: how many deliveries does a second of the server's CPU time make?

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use tokio::time::sleep;

use crate::{
    Options,
    accounting::usage,
    cores,
    crowd::{self, Seat},
    installation::{Installation, Program},
    load::{self, Board},
    report::{Goal, Row},
    turns::Side,
};

/// Rooms, people in each, and how many of these have a message in flight.
#[derive(Clone, Copy)]
struct Shape {
    rooms: usize,
    members: usize,
    senders: usize,
}

pub async fn hot(options: Options) -> anyhow::Result<Vec<Row>> {
    let shape = Shape { rooms: 1, members: 1_000, senders: 16 };
    let mut rows = compare(&options, "fanout.hot", shape, 0.7).await?;
    rows.extend(compare(&options, "fanout.single", Shape { senders: 1, ..shape }, 0.8).await?);
    Ok(rows)
}

pub async fn rooms(options: Options) -> anyhow::Result<Vec<Row>> {
    compare(&options, "rooms.small", Shape { rooms: 100, members: 20, senders: 1 }, 0.8).await
}

async fn compare(options: &Options, name: &str, shape: Shape, least: f64) -> anyhow::Result<Vec<Row>> {
    let hub = bare_hub().await?;
    let seats = crowd::bare_seats(hub.address, shape.rooms, shape.members).await?;
    let (mut bare, _bare_load) = side(&hub, seats, shape);

    let installation = Installation::start().await?;
    let (front, _projector) = tokio::try_join!(installation.front(), installation.projector())?;
    let rooms = crowd::rooms(&installation.log().await?, shape.rooms, shape.members).await?;
    let seats = crowd::seats(front.address, &Installation::tokens()?, &rooms).await?;
    let (mut product, _load) = side(&front, seats, shape);

    for _ in 0..options.turns() {
        bare.turn().await?;
        product.turn().await?;
    }
    Ok(vec![
        Row::new(name, product.deliveries_per_cpu_second() / 1e3, "thousand deliveries/CPU-s")
            .beside(bare.deliveries_per_cpu_second() / 1e3)
            .goal(Goal::RatioAtLeast(least)),
        Row::new(
            format!("{name}.throughput"),
            product.deliveries_per_second() / 1e3,
            "thousand deliveries/s",
        )
        .beside(bare.deliveries_per_second() / 1e3),
    ])
}

fn side(server: &Program, seats: Vec<Vec<Seat>>, shape: Shape) -> (Side, tokio::task::JoinSet<()>) {
    let board = Board::new();
    let readers = load::closed(seats, shape.senders, &board);
    (Side::new(&board, &[server.pid()]), readers)
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
