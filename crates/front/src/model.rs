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
mod rng;
mod socket;
mod weather;
mod world;

use std::{cell::RefCell, ops::Range, panic, sync::Once, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{client::Client, people::Fronts, rng::Rng, world::World};

/// Seeds of every run of the tests.
const SEEDS: u64 = 1_000;
/// Once nothing is broken any more, everybody has everything within this.
const WHOLE_WITHIN: Duration = Duration::from_secs(15);
/// Once nobody is there any more, nothing is left within this.
const QUIET_WITHIN: Duration = Duration::from_secs(10);

thread_local! {
    /// What tasks of this thread's runs died of.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(vec![]) };
}

#[test]
fn whatever_happens_everybody_gets_every_event_once_and_in_order() {
    note_panics();
    if let Some(seed) = number("MODEL_SEED") {
        return assert_eq!(run(seed, true), Ok(()), "seed {seed}");
    }
    let seeds = number("MODEL_SEEDS").unwrap_or(SEEDS);
    let begun = std::time::Instant::now();
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failed = thread::scope(|scope| {
        let parts: Vec<_> =
            (0..threads).map(|n| scope.spawn(move || first_failure(n..seeds, threads))).collect();
        parts.into_iter().filter_map(|part| part.join().unwrap()).min()
    });
    println!("{seeds} seeds in {:?}", begun.elapsed());
    if let Some((seed, why)) = failed {
        panic!("seed {seed}: {why}\nMODEL_SEED={seed} runs it again and prints what happens");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn first_failure(seeds: Range<u64>, step: u64) -> Option<(u64, String)> {
    seeds.step_by(usize::try_from(step).unwrap()).find_map(|seed| Some((seed, run(seed, false).err()?)))
}

/// A task that panics would only be missing.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
}

fn run(seed: u64, trace: bool) -> Result<(), String> {
    PANICS.take();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(play(seed, trace));
    drop(runtime);
    match PANICS.take().first() {
        Some(panic) => Err(panic.clone()),
        None => result,
    }
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
    let left = || Some(Handle::current().metrics().num_alive_tasks()).filter(|left| *left > 0);
    eventually(QUIET_WITHIN, || left().map(|left| format!("{left} tasks are left behind"))).await?;
    world.fault().map_or(Ok(()), Err)
}

/// Waits until nothing is wrong any more; what still is, after `limit`.
async fn eventually(limit: Duration, mut wrong: impl FnMut() -> Option<String>) -> Result<(), String> {
    let begun = Instant::now();
    while let Some(wrong) = wrong() {
        if begun.elapsed() > limit {
            return Err(wrong);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
