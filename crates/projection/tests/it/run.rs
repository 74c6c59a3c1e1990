//! The projector at work: a real log, several streams, outages.

use std::{future::Future, time::Duration};

use futures_util::StreamExt as _;
use natterjack_database::Role;
use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::{Event, Log, NewEvent, Signal, Subject, Topic, provision};
use natterjack_projection::{Config, Pace, SearchPace, project, run, verify};
use natterjack_runtime::{
    config::{Reader, Secret},
    lifecycle::Shutdown,
    ops::{self, Readiness},
};
use natterjack_stack::{NatsServer, Tools};
use natterjack_wire::{Position, frame::Ephemeral};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    script::{created, fact, posted, registered, room, user},
    world::World,
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    world: World,
    nats: NatsServer,
    config: Config,
    log: Log,
    readiness: Readiness,
}

struct Running {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Stage {
    async fn new(world: World, streams: u16) -> Self {
        let nats = NatsServer::temporary(&Tools::find().unwrap()).await.unwrap();
        let mut log = natterjack_eventlog::Config::read(&mut Reader::from_pairs::<&str, &str>([]));
        log.url = nats.url();
        log.streams = streams;
        if let Some(credentials) = nats.credentials() {
            log.user = Some(credentials.user.clone());
            log.password = Some(Secret::new(credentials.password.clone()));
        }
        provision(&log).await.unwrap();
        let config = Config {
            database: world.config(Role::Projector),
            log: log.clone(),
            ops: ops::Config { listen: ([127, 0, 0, 1], 0).into() },
            pace: Pace { retry_delay_max: Duration::from_millis(200), ..Pace::default() },
            search: SearchPace::default(),
        };
        let log = Log::open(&log).await.unwrap();
        Self { world, nats, config, log, readiness: Readiness::new() }
    }

    fn project(&self) -> Running {
        let (config, readiness, shutdown) = (self.config.clone(), self.readiness.clone(), Shutdown::new());
        let inner = shutdown.clone();
        let task = tokio::spawn(async move { project(&config, &readiness, &inner).await });
        Running { shutdown, task }
    }

    async fn append(&self, step: &crate::script::Step) -> (u16, u64) {
        let (subject, id, fact) = fact(step);
        let stored = self.log.append(NewEvent::new(subject, id, &fact)).await.unwrap();
        (self.log.stream_of(subject.topic), stored.seq)
    }

    /// Waits until the projector waits for what comes next.
    async fn listened_to(&self) {
        let url = format!("{}/jsz?consumers=true", self.nats.monitor_url());
        until(async || {
            let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            text.contains(r#""num_waiting": 1"#)
        })
        .await;
    }

    async fn projected(&self, (stream, seq): (u16, u64)) {
        let sql = format!("SELECT count(*) FROM read.checkpoints WHERE stream = {stream} AND seq >= {seq}");
        until(async || self.world.count(&sql).await == 1).await;
    }
}

impl Running {
    async fn finish(self) {
        self.shutdown.drain();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the condition comes true");
}

async fn chats(streams: u16) {
    let stage = Stage::new(World::new().await, streams).await;
    let mut positions = stage.log.listen("live.projected.*").await.unwrap();
    let mut live = stage.log.follow(Topic::User(user(1))).await.unwrap();
    // So that the subscriptions stand before the projector speaks.
    stage.log.heads(Topic::User(user(1))).await.unwrap();
    let running = stage.project();

    let mut last = std::collections::BTreeMap::new();
    for n in 0..3u8 {
        let (stream, seq) = stage.append(&registered(n, &format!("name{n}"))).await;
        last.insert(stream, seq);
        let (stream, seq) = stage.append(&created(n, n, &[n, 1])).await;
        last.insert(stream, seq);
    }
    for n in 0..60u8 {
        let (stream, seq) = stage.append(&posted(n % 3, n % 3, n, "word")).await;
        last.insert(stream, seq);
    }
    for position in &last {
        stage.projected((*position.0, *position.1)).await;
    }
    assert_eq!(stage.world.count("SELECT count(*) FROM read.messages").await, 60);
    assert_eq!(stage.world.count("SELECT sum(last_ordinal)::bigint FROM read.rooms").await, 60);
    assert_eq!(stage.world.count("SELECT count(*) FROM read.people").await, 3);
    assert!(stage.readiness.report().ready, "{:?}", stage.readiness.report());

    let told: Position = {
        let (_, body) = timeout(PATIENCE, positions.next()).await.unwrap().unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    let epochs: Vec<_> = (0..streams).map(|stream| stage.log.epoch(stream).to_string()).collect();
    assert!(epochs.contains(&told.epoch) && told.seq > 0, "{told:?}");
    let notice = timeout(PATIENCE, async {
        loop {
            if let Some(Signal::Ephemeral(body)) = live.next().await {
                return serde_json::from_slice::<Ephemeral>(&body).unwrap();
            }
        }
    });
    let membership = notice.await.unwrap().membership.unwrap();
    assert!((0..3).any(|n| room(n) == membership.room));
    running.finish().await;
    assert!(!stage.readiness.report().ready);
    let report = verify(&stage.world.migrator, |_| {}).await.unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[tokio::test]
async fn what_is_appended_is_projected_and_announced() {
    Box::pin(chats(1)).await;
}

#[tokio::test]
async fn the_same_with_three_streams() {
    Box::pin(chats(3)).await;
}

#[tokio::test]
async fn what_comes_after_a_pause_wakes_it_without_a_tick() {
    let mut stage = Stage::new(World::new().await, 1).await;
    stage.config.pace.tick = 10 * PATIENCE;
    let running = stage.project();
    let at = stage.append(&created(0, 0, &[0])).await;
    stage.projected(at).await;
    for n in 0..20u8 {
        let at = stage.append(&posted(0, 0, n, "word")).await;
        stage.projected(at).await;
        // So that one half of them comes while it listens, and the other while it is about to.
        if n % 2 == 0 {
            stage.listened_to().await;
        }
    }
    running.finish().await;
}

#[tokio::test]
async fn a_reader_gives_what_the_log_holds_and_says_whether_there_is_more() {
    let stage = Stage::new(World::new().await, 1).await;
    for n in 0..5u8 {
        stage.append(&posted(0, 0, n, "word")).await;
    }
    let topic = Topic::Room(room(0));
    let stored = stage.log.tail(topic, 0, 10).await.unwrap();
    let reader = stage.log.reader(0, 1).await.unwrap();
    let (reader, run) = reader.next(3).await.unwrap();
    assert!(run.more);
    let read: Vec<_> = run.events.into_iter().map(Result::unwrap).collect();
    // Who reads all needs no name of the event before.
    let bare = |event: &Event| Event { last: None, ..event.clone() };
    assert_eq!(read, stored[1..4].iter().map(bare).collect::<Vec<_>>());
    let (reader, run) = reader.next(3).await.unwrap();
    assert_eq!((run.events.len(), run.more), (1, false));
    let (reader, run) = reader.next(3).await.unwrap();
    assert_eq!((run.events.len(), run.more), (0, false));
    let (reader, run) = reader.wait(Duration::from_millis(1)).await.unwrap();
    assert_eq!((run.events.len(), run.more), (0, false));

    let step = posted(0, 0, 5, "while it waits");
    let (waited, (_, seq)) = tokio::join!(reader.wait(PATIENCE), stage.append(&step));
    let (reader, run) = waited.unwrap();
    assert_eq!(run.events[0].as_ref().unwrap().seq, seq);

    drop(reader);
    let url = format!("{}/jsz", stage.nats.monitor_url());
    until(async || reqwest::get(&url).await.unwrap().text().await.unwrap().contains(r#""consumers": 0"#))
        .await;
}

#[tokio::test]
async fn a_run_of_large_events_is_cut_and_goes_on() {
    let stage = Stage::new(World::new().await, 1).await;
    let (subject, ..) = fact(&posted(0, 0, 0, "word"));
    let body = bytes::Bytes::from(vec![b'x'; 100 << 10]);
    for n in 0..100u8 {
        let (_, id, _) = fact(&posted(0, 0, n, "word"));
        stage.log.append(NewEvent { subject, id, body: body.clone(), expected_last: None }).await.unwrap();
    }
    let reader = stage.log.reader(0, 0).await.unwrap();
    let (reader, first) = reader.next(1_000).await.unwrap();
    let (_, rest) = reader.next(1_000).await.unwrap();
    assert!(first.more && !rest.more);
    assert!((70..100).contains(&first.events.len()), "{}", first.events.len());
    assert_eq!(first.events.len() + rest.events.len(), 100);
}

#[tokio::test]
async fn it_outlives_outages_of_postgres_and_of_the_log() {
    let mut stage = Stage::new(World::alone().await, 1).await;
    let running = stage.project();
    stage.append(&created(0, 0, &[0])).await;
    let at = stage.append(&posted(0, 0, 1, "before")).await;
    stage.projected(at).await;

    stage.world.stop_postgres().await;
    let at = stage.append(&posted(0, 0, 2, "while Postgres is away")).await;
    until(async || !stage.readiness.report().ready).await;
    stage.world.start_postgres().await;
    stage.projected(at).await;
    until(async || stage.readiness.report().ready).await;

    stage.nats.kill_hard().await;
    until(async || !stage.readiness.report().ready).await;
    stage.nats.restart().await.unwrap();
    let at = stage.append(&posted(0, 0, 3, "after the log was away")).await;
    stage.projected(at).await;
    assert_eq!(stage.world.count("SELECT last_ordinal FROM read.rooms").await, 3);
    running.finish().await;
}

#[tokio::test]
async fn two_projectors_and_the_death_of_one_do_everything_once() {
    let stage = Stage::new(World::new().await, 1).await;
    stage.append(&created(0, 0, &[0])).await;
    let (first, second) = (stage.project(), stage.project());
    let mut at = (0, 0);
    for n in 0..100u8 {
        at = stage.append(&posted(0, 0, n, "word")).await;
        if n == 50 {
            first.task.abort();
        }
    }
    stage.projected(at).await;
    assert_eq!(stage.world.count("SELECT last_ordinal FROM read.rooms").await, 100);
    assert_eq!(stage.world.count("SELECT count(*) FROM read.messages").await, 100);
    assert_eq!(stage.world.count("SELECT count(*) FROM log.events").await, 101);
    second.finish().await;
}

#[tokio::test]
async fn an_older_copy_of_the_log_and_another_log_halt_it() {
    let stage = Stage::new(World::new().await, 1).await;
    let epoch = stage.log.epoch(0).to_string();
    for (epoch, halts_for) in [(epoch.as_str(), "older copy"), ("another", "epoch")] {
        for table in ["log.checkpoints", "read.checkpoints"] {
            let sql = format!("DELETE FROM {table}; INSERT INTO {table} VALUES (0, '{epoch}', 9)");
            stage.world.execute(&sql).await;
        }
        let running = stage.project();
        let reason = || {
            let report = stage.readiness.report();
            report.checks.into_iter().find_map(|check| check.reason).unwrap_or_default()
        };
        until(async || reason().contains(halts_for)).await;
        running.finish().await;
    }
}

#[tokio::test]
async fn what_no_front_wrote_is_parked() {
    let stage = Stage::new(World::new().await, 1).await;
    let running = stage.project();
    let (subject, id, _) = fact(&created(0, 0, &[0]));
    let body = bytes::Bytes::from_static(b"not JSON");
    stage.log.append(NewEvent { subject, id, body, expected_last: None }).await.unwrap();
    let feed = Subject::feed(UserId::random());
    let (_, id, misplaced) = fact(&posted(0, 0, 1, "in a feed"));
    stage.log.append(NewEvent::new(feed, id, &misplaced)).await.unwrap();
    let mut good = fact(&created(0, 0, &[0]));
    good.0 = Subject::state(RoomId::random());
    let at = stage.log.append(NewEvent::new(good.0, good.1, &good.2)).await.unwrap().seq;
    stage.projected((0, at)).await;
    assert_eq!(stage.world.count("SELECT count(*) FROM read.parked").await, 2);
    assert_eq!(stage.world.count("SELECT count(*) FROM read.rooms").await, 1);
    assert_eq!(stage.world.count("SELECT count(*) FROM log.events").await, 3);
    running.finish().await;
}

#[tokio::test]
async fn it_starts_and_ends_in_good_order_with_nothing_there() {
    let pairs = [
        ("NATTERJACK_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/nothing"),
        ("NATTERJACK_NATS_URL", "nats://127.0.0.1:1"),
        ("NATTERJACK_OPS_LISTEN", "127.0.0.1:0"),
        ("NATTERJACK_PROJECTOR_TICK_MS", "100"),
    ];
    let mut reader = Reader::from_pairs(pairs);
    let config = Config::read(&mut reader);
    reader.finish().unwrap();
    assert_eq!(config.pace.tick, Duration::from_millis(100));
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run(config, shutdown.clone()));
    shutdown.drain();
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}
