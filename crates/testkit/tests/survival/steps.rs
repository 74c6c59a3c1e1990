//! Invariant 5: a projector that is killed at any byte of what it says to Postgres, or of what Postgres answers, has had
//! each effect once.

use natterjack_domain::UserId;
use natterjack_testkit::{Direction, Proxy, Site};

use crate::world::{posted, world};

/// Events that wait whenever a projector starts: more than one transaction takes.
const EVENTS: usize = 12;
const BATCH: &str = "8";

/// Kills a projector after `step` bytes, after twice as many, and so on until one has passed all that it had to say.
async fn killed_at_each_step(direction: Direction, step: u64) {
    let world = world(Site::builder().start().await).await;
    let log = world.site.log().await;
    let proxy = Proxy::to(&format!("127.0.0.1:{}", world.site.postgres.port())).await;
    let url = world.site.settings("natterjack_projector")["NATTERJACK_POSTGRES_URL"].clone();
    let url = url.replace(&world.site.postgres.port().to_string(), &proxy.address().port().to_string());
    let admin = world.site.admin().await.unwrap();
    let reached = async || {
        let row = admin.query_opt("SELECT seq FROM read.checkpoints", &[]).await.unwrap();
        row.map_or(0, |row| row.get::<_, i64>(0))
    };
    let (mut kills, mut within) = (0, 0);
    for bytes in (1..).map(|n| n * step) {
        let mut last = 0;
        for n in 0..EVENTS {
            last = log.append(posted(world.room, UserId::random(), &n.to_string())).await.unwrap().seq;
        }
        let before = reached().await;
        proxy.heal();
        proxy.hold_after(direction, bytes);
        let settings = [("POSTGRES_URL", url.as_str()), ("PROJECTOR_BATCH_EVENTS", BATCH)];
        let projector = world.site.projector_process_starting(&settings);
        let done = async {
            while reached().await < i64::try_from(last).unwrap() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let all_said = tokio::select! {
            () = proxy.held(direction) => false,
            () = done => true,
        };
        projector.kill().await;
        proxy.cut();
        if all_said {
            break;
        }
        kills += 1;
        let pool = world.site.pool("natterjack_migrator");
        let report = natterjack_projection::verify(&pool, |_| {}).await.unwrap();
        assert!(report.is_good(), "after {bytes} bytes: {report:?}");
        within += usize::from(reached().await > before);
    }
    eprintln!("killed {kills} times, {within} of them after a commit");
    assert!(kills > 10 && within > 0 && within < kills, "{kills} {within}");
    proxy.heal();
    let (one, two) = (world.site.projector_process().await, world.site.projector_process().await);
    world.site.assert_replay_is_equal().await;
    one.kill().await;
    two.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_of_what_it_says_a_projector_has_had_each_effect_once() {
    killed_at_each_step(Direction::ToTarget, 900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_of_what_it_is_answered_a_projector_has_had_each_effect_once() {
    killed_at_each_step(Direction::FromTarget, 220).await;
}
