//! The front under simulated time: real sessions, hubs, tails and outboxes, on a log, a Postgres, sockets and clients that
//! follow from a seed, as does whatever goes wrong with them.
//!
//! `MODEL_SEED=7 cargo test -p natterjack-front --lib model -- --nocapture` runs one seed and prints what happens;
//! `MODEL_SEEDS=100000` runs so many. Start with [`play`].

#![allow(clippy::unwrap_used)]

pub mod outside;

mod client;
mod log;
mod people;
mod postgres;
mod socket;
mod weather;
mod world;

use std::time::Duration;

use natterjack_seeds::{Rng, eventually, every_seed, no_task_left};
use tokio::task::JoinSet;

use self::{client::Client, people::Fronts, world::World};

/// Once nothing is broken any more, everybody has everything within this.
const WHOLE_WITHIN: Duration = Duration::from_secs(15);
/// Once nobody is there any more, nothing is left within this.
const QUIET_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn whatever_happens_everybody_gets_every_event_once_and_in_order() {
    every_seed(play);
}

/// One run: people come, go, speak and sleep while things break; then everything is whole, and it is seen what they have.
async fn play(seed: u64, trace: bool) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let world = World::new(&mut rng, trace);
    let mut work = JoinSet::new();
    let fronts = Fronts::start(&world, &mut work);
    let clients: Vec<_> =
        (0..world.users().len()).map(|n| Client::new(n, &world, &fronts, rng.fork())).collect();
    for client in &clients {
        work.spawn(client.clone().live());
    }
    weather::storm(&world, &mut rng).await;
    world.make_whole();
    eventually(WHOLE_WITHIN, || clients.iter().find_map(Client::misses)).await?;
    for client in &clients {
        client.go();
    }
    fronts.clone().quiet_within(QUIET_WITHIN).await?;
    fronts.stop().await?;
    work.shutdown().await;
    drop((clients, fronts));
    no_task_left(QUIET_WITHIN).await?;
    world.fault().map_or(Ok(()), Err)
}
