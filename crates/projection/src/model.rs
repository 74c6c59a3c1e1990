//! The projector under simulated time: real followers on a log and a Postgres that follow from a seed, as does whatever
//! goes wrong with them.
//!
//! `MODEL_SEED=7 cargo test -p natterjack-projection --lib model -- --nocapture` runs one seed and prints what happens;
//! `MODEL_SEEDS=100000` runs so many. Start with [`play`].

#![allow(clippy::unwrap_used)]

pub mod log;
pub mod outside;
pub mod tables;
mod world;

use std::time::Duration;

use natterjack_runtime::{
    lifecycle::Shutdown,
    ops::{Readiness, Report},
};
use natterjack_seeds::{Rng, eventually, every_seed, no_task_left};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use self::{log::Log, tables::Pool, world::World};
use crate::{Pace, follow::Follower, health::Health, recheck::Recheck};

/// How long things go wrong.
const STORM: Duration = Duration::from_secs(10);
/// Once nothing is broken any more, everything is applied within this.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
/// A trouble that needs an operator is told within this.
const ALARM_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn whatever_happens_every_event_has_its_effect_once_and_in_order() {
    every_seed(play);
}

/// A projector, as a process that can be killed at any moment.
struct Projector {
    readiness: Readiness,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Projector {
    fn start(world: &World, rng: &mut Rng) -> Self {
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let pace = Pace {
            batch_events_max: 1 + rng.index(12),
            batch_interval: rng.millis(0, 40),
            tick: rng.millis(10, 300),
            retry_delay_max: rng.millis(100, 2_000),
        };
        let follower = Follower {
            stream: 0,
            log: Log::new(world),
            pool: Pool::new(world),
            pace,
            health: Health::new(&readiness, 1),
            recheck: std::sync::Arc::new(Recheck::default()),
            shutdown: shutdown.clone(),
        };
        Self { readiness, shutdown, running: tokio::spawn(follower.run()) }
    }

    fn is_well(&self) -> bool {
        let Report { ready, .. } = self.readiness.report();
        ready
    }
}

/// One run: events come while projectors die and everything they need breaks; then everything is whole, and it is seen
/// what they have made.
async fn play(seed: u64, trace: bool) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let world = World::new(&mut rng, trace);
    let count = 1 + rng.index(2);
    let mut projectors: Vec<_> = (0..count).map(|_| Projector::start(&world, &mut rng)).collect();
    let until = Instant::now() + STORM;
    let (pause_ms, trouble) = (20 + rng.below(600), rng.below(300));
    while Instant::now() < until {
        sleep(rng.millis(0, 2 * pause_ms)).await;
        if !rng.permille(trouble) {
            world.say_something(&mut rng);
        } else if rng.permille(500) {
            let which = rng.index(count);
            projectors[which].running.abort();
            world.say(format_args!("projector {which} is killed"));
            sleep(rng.millis(0, 500)).await;
            projectors[which] = Projector::start(&world, &mut rng);
        } else {
            world.break_something(&mut rng);
        }
    }
    world.make_whole();
    // Who set a checkpoint back is noticed with the next event.
    world.say_something(&mut rng);
    if let Some(trouble) = world.needs_operator(&mut rng) {
        world.say(format_args!("{trouble}"));
        let before = world.tables();
        let silent =
            || projectors.iter().all(Projector::is_well).then(|| format!("nobody is told: {trouble}"));
        eventually(ALARM_WITHIN, silent).await?;
        sleep(ALARM_WITHIN / 3).await;
        if let Some(silent) = silent() {
            return Err(silent);
        }
        world.untouched(&before)?;
        world.operate();
    }
    eventually(WHOLE_WITHIN, || world.misses()).await?;
    eventually(WHOLE_WITHIN, || (!projectors.iter().all(Projector::is_well)).then(|| "still unwell".into()))
        .await?;
    for projector in projectors {
        projector.shutdown.drain();
        let ended = tokio::time::timeout(Duration::from_secs(10), projector.running).await;
        ended.map_err(|_| "a projector does not drain")?.map_err(|error| error.to_string())?;
    }
    no_task_left(WHOLE_WITHIN).await?;
    world.fault().map_or(Ok(()), Err)
}
