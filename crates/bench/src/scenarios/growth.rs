//! What a front's cost does not depend on: rooms and events that it does not serve.

use std::time::Instant;

use anyhow::ensure;
use natterjack_domain::UserId;
use natterjack_eventlog::Log;
use natterjack_identity::AccessTokens;
use tokio::task::JoinSet;

use crate::{
    Options,
    accounting::usage,
    crowd::{self, Room},
    installation::{Installation, Program},
    load::{Board, OpenLoop},
    reference::raw_log::Republish,
    report::{Goal, Row, median},
    turns::{Side, TURN},
};

const ROOMS: usize = 10;
const MEMBERS: usize = 20;
/// In the rooms that the front serves.
const EVENTS_PER_SECOND: f64 = 200.0;
/// Elsewhere.
const TIMES: f64 = 10.0;
const ELSEWHERE_ROOMS: usize = 100;
/// Rooms that each joining is timed in; nobody on the front has had them open.
const JOINED: usize = 50;

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let front = installation.front().await?;
    let (log, tokens) = (installation.log().await?, Installation::tokens()?);
    let mut rows = vec![traffic(&options, &installation, &front, &log, &tokens).await?];
    rows.extend(rooms(&options, &front, &log, &tokens).await?);
    Ok(rows)
}

/// The front's CPU time at a light load, while ten times as much happens in rooms that it does not serve.
async fn traffic(
    options: &Options,
    installation: &Installation,
    front: &Program,
    log: &Log,
    tokens: &AccessTokens,
) -> anyhow::Result<Row> {
    let own = crowd::rooms(log, ROOMS, MEMBERS).await?;
    let seats = crowd::seats(front.address, tokens, &own).await?;
    let (board, mut readers) = (Board::new(), JoinSet::new());
    let _load = OpenLoop::start(seats, EVENTS_PER_SECOND, &board, &mut readers);
    let url = installation.nats.url();
    let elsewhere = Republish::start(&url, ELSEWHERE_ROOMS, EVENTS_PER_SECOND * TIMES).await?;
    let side = || Side::new(&board, &[front.pid()]);
    let (mut without, mut with) = (side(), side());
    let mut heard = 0;
    for _ in 0..options.turns() * 2 {
        without.turn().await?;
        let before = elsewhere.side.board.deliveries();
        elsewhere.side.board.send(true);
        with.turn().await?;
        elsewhere.side.board.send(false);
        heard += elsewhere.side.board.deliveries() - before;
    }
    let expected = EVENTS_PER_SECOND * TIMES * TURN.as_secs_f64() * options.turns() as f64 * 2.0;
    ensure!(heard as f64 > 0.9 * expected, "only {heard} of {expected} events came elsewhere");
    let cpu = |side: &Side| side.cpu_per_million().first().copied().unwrap_or(f64::NAN);
    Ok(Row::new("growth.cpu", cpu(&with), "CPU-s/million deliveries, 10x the events elsewhere")
        .beside(cpu(&without))
        .goal(Goal::RatioAtMost(1.1)))
}

/// Memory for rooms that nobody has open, and the time to join one among few and among many.
async fn rooms(
    options: &Options,
    front: &Program,
    log: &Log,
    tokens: &AccessTokens,
) -> anyhow::Result<Vec<Row>> {
    let many = if options.quick { 2_000 } else { 10_000 };
    let few = joining(front, log, tokens).await?;
    let memory = usage(front.pid())?.memory_bytes;
    crowd::rooms(log, many, 2).await?;
    let grown = usage(front.pid())?.memory_bytes.saturating_sub(memory);
    let joined = joining(front, log, tokens).await?;
    Ok(vec![
        Row::new("growth.memory", grown as f64 / many as f64, "bytes/room that is not open")
            .goal(Goal::AtMost(8.0)),
        Row::new("growth.join", joined, "ms, among many rooms").beside(few).goal(Goal::RatioAtMost(1.5)),
    ])
}

/// Milliseconds from asking for a room that nobody has open until it is followed.
async fn joining(front: &Program, log: &Log, tokens: &AccessTokens) -> anyhow::Result<f64> {
    let user = UserId::random();
    let (mut reader, writer) = crowd::enter(front.address, tokens, user).await?;
    let mut times = vec![];
    for room in crowd::rooms_of(log, JOINED, &[user]).await? {
        let Room { id, .. } = room;
        let begun = Instant::now();
        crowd::follow(&mut reader, &writer, id).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
