//! Running a model under simulated time, once for each of many seeds (docs/adr/0017).
//!
//! For development only. Start with [`every_seed`].

#![allow(clippy::unwrap_used)]

mod rng;

use std::{cell::RefCell, ops::Range, panic, sync::Once, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep},
};

pub use rng::Rng;

/// Seeds of every run of the tests.
const SEEDS: u64 = 1_000;

thread_local! {
    /// What tasks of this thread's runs died of.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(vec![]) };
}

/// Plays a thousand seeds; fails the test with the first that goes wrong. `MODEL_SEEDS` asks for another number of them,
/// `MODEL_SEED` for one, which is then to be traced: the second argument of `play`.
pub fn every_seed<F>(play: impl Fn(u64, bool) -> F + Sync)
where
    F: Future<Output = Result<(), String>>,
{
    note_panics();
    if let Some(seed) = number("MODEL_SEED") {
        return assert_eq!(run(seed, true, &play), Ok(()), "seed {seed}");
    }
    let seeds = number("MODEL_SEEDS").unwrap_or(SEEDS);
    let begun = std::time::Instant::now();
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let play = &play;
    let failed = thread::scope(|scope| {
        let parts: Vec<_> =
            (0..threads).map(|n| scope.spawn(move || first_failure(n..seeds, threads, play))).collect();
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

fn first_failure<F>(seeds: Range<u64>, step: u64, play: &impl Fn(u64, bool) -> F) -> Option<(u64, String)>
where
    F: Future<Output = Result<(), String>>,
{
    let mut seeds = seeds.step_by(usize::try_from(step).unwrap());
    seeds.find_map(|seed| Some((seed, run(seed, false, play).err()?)))
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

fn run<F>(seed: u64, trace: bool, play: &impl Fn(u64, bool) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    PANICS.take();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(play(seed, trace));
    drop(runtime);
    match PANICS.take().first() {
        Some(panic) => Err(panic.clone()),
        None => result,
    }
}

/// Waits until nothing is wrong any more; what still is, after `limit`.
pub async fn eventually(limit: Duration, mut wrong: impl FnMut() -> Option<String>) -> Result<(), String> {
    let begun = Instant::now();
    while let Some(wrong) = wrong() {
        if begun.elapsed() > limit {
            return Err(wrong);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits until no task is left, for `limit` at most.
pub async fn no_task_left(limit: Duration) -> Result<(), String> {
    let left = || Some(Handle::current().metrics().num_alive_tasks()).filter(|left| *left > 0);
    eventually(limit, || left().map(|left| format!("{left} tasks are left behind"))).await
}
