//! Invariants 2 and 6: nothing is acknowledged that the log does not hold; people chat as ever while Postgres is away.

use std::{
    fs,
    time::{Duration, Instant},
};

use natterjack_domain::ClientId;
use natterjack_testkit::{Direction, Proxy, Site, Socket, eventually};
use natterjack_wire::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::setting;
use crate::world::{number, told, world};

/// One direction between a front and the log lets nothing through: what was asked may have been stored or not.
async fn no_false_acknowledgement(direction: Direction) {
    let site = Site::builder().start().await;
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let url = format!("nats://{}", proxy.address());
    let far = site.front_with(&[("NATS_URL", &url), ("APPEND_DEADLINE_MS", "700")]).await;
    let world = world(site).await;
    let mut socket = world.ada.connect(&far.url()).await;
    assert_eq!(socket.post(world.room, "before").await["t"], "ok");
    let mut bobs = world.bob.connect(&world.front.url()).await;
    bobs.subscribe(world.room, json!({})).await;
    proxy.hold(direction);
    let frame = |n: u32| json!({ "t": "send", "id": 70 + n, "room": world.room, "cid": ClientId::random(), "body": format!("during {n}") });
    let frames = [frame(0), frame(1), frame(2)];
    for frame in &frames {
        socket.send(frame).await.unwrap();
    }
    for frame in &frames {
        let answer = socket.until(|answer| answer["id"] == frame["id"]).await;
        assert_eq!(answer["code"], ErrorCode::LogUnavailable.number(), "{answer}");
    }
    proxy.cut();
    proxy.heal();
    let mut acknowledged = vec![];
    for frame in &frames {
        let ok = eventually("the send to be taken", async || {
            let mut socket = world.ada.try_connect(&far.url()).await?;
            let answer = socket.ask(frame.clone()).await;
            (answer["t"] == "ok").then_some(answer)
        })
        .await;
        acknowledged.push(number(&ok["seq"]));
    }
    let log = world.site.log().await;
    let stored = log.tail(natterjack_eventlog::Topic::Room(world.room), 0, 100).await.unwrap();
    for seq in acknowledged {
        assert!(stored.iter().any(|event| event.seq == seq), "{seq} is not in the log");
    }
    let mut texts = told(&world.bob, &world.front.url(), world.room).await;
    texts.sort();
    assert_eq!(texts, ["before", "during 0", "during 1", "during 2"], "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_are_lost_on_the_way_make_no_second_message() {
    no_false_acknowledgement(Direction::FromTarget).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_reached_the_log_is_not_acknowledged() {
    no_false_acknowledgement(Direction::ToTarget).await;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Absence {
    Killed,
    Frozen,
    /// The link takes everything and gives nothing.
    Swallowed,
}

/// How long people chat with Postgres there, and then without.
fn period() -> Duration {
    Duration::from_secs(setting("AWAY_SECONDS", 4))
}

const A_SECOND: u32 = 50;
/// After the last one was sent, what has not come is counted as lost.
const LATE: Duration = Duration::from_secs(2);

/// Sends at a steady rate for a while; gives how many were sent, acknowledged, and delivered to the other one.
async fn chat(sender: &mut Socket, receiver: &mut Socket, room: natterjack_domain::RoomId) -> [usize; 3] {
    let mut every = interval(Duration::from_secs(1) / A_SECOND);
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let [mut sent, mut acknowledged, mut delivered] = [0; 3];
    let total = usize::try_from(period().as_secs() * u64::from(A_SECOND)).unwrap();
    let mut ends = Instant::now() + period();
    loop {
        tokio::select! {
            _ = every.tick(), if sent < total => {
                let id = sender.request_id();
                let frame = json!({ "t": "send", "id": id, "room": room, "cid": ClientId::random(), "body": "hello" });
                sender.send(&frame).await.unwrap();
                sent += 1;
                ends = ends.max(Instant::now());
            }
            frame = sender.next() => acknowledged += usize::from(frame.unwrap()["t"] == "ok"),
            frame = receiver.next() => delivered += usize::from(frame.unwrap()["t"] == "ev"),
            () = tokio::time::sleep_until((ends + LATE).into()) => break,
        }
    }
    [sent, acknowledged, delivered]
}

fn children(parent: u32) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent_of = |pid| stat(pid)?.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok();
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn signal(pids: &[u32], signal: Signal) {
    for pid in pids {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).unwrap();
        // A backend may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

async fn people_chat_without_postgres(absence: Absence) {
    let site = Site::builder().set("TAIL_EVENTS", 64).start().await;
    let proxy = Proxy::to(&format!("127.0.0.1:{}", site.postgres.port())).await;
    let port = (site.postgres.port().to_string(), proxy.address().port().to_string());
    let through = |role| site.settings(role)["NATTERJACK_POSTGRES_URL"].replace(&port.0, &port.1);
    let front = site.front_with(&[("POSTGRES_URL", &through("natterjack_front"))]).await;
    let projector = site.projector_process_starting(&[("POSTGRES_URL", &through("natterjack_projector"))]);
    let mut world = world(site).await;
    let url = front.url();
    let (mut adas, mut bobs) = (world.ada.connect(&url).await, world.bob.connect(&url).await);
    bobs.subscribe(world.room, json!({})).await;
    world.site.projected().await;
    let before = chat(&mut adas, &mut bobs, world.room).await;

    let mut frozen = vec![];
    match absence {
        Absence::Killed => world.site.postgres.kill_hard().await,
        Absence::Frozen => {
            frozen = children(world.site.postgres.pid());
            frozen.push(world.site.postgres.pid());
            signal(&frozen, Signal::STOP);
        }
        Absence::Swallowed => {
            proxy.hold(Direction::ToTarget);
            proxy.hold(Direction::FromTarget);
        }
    }
    let during = chat(&mut adas, &mut bobs, world.room).await;
    eprintln!("{absence:?}: sent, acknowledged, delivered: {before:?} before, {during:?} during");
    for (before, during) in before.iter().zip(during) {
        assert!(during * 1_000 >= before * 999, "{before:?} {during:?}");
    }
    // Who comes back is told what was missed, by the front's memory or the log.
    let mut again = world.bob.connect(&url).await;
    let head = number(&adas.post(world.room, "the last one").await["seq"]);
    let answer = again.subscribe(world.room, json!({ "after": head - 100 })).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    for seq in head - 99..=head {
        assert_eq!(number(&again.until(|frame| frame["t"] == "ev").await["seq"]), seq);
    }

    match absence {
        Absence::Killed => world.site.postgres.restart().await.unwrap(),
        Absence::Frozen => signal(&frozen, Signal::CONT),
        Absence::Swallowed => {
            proxy.cut();
            proxy.heal();
        }
    }
    world.site.assert_replay_is_equal().await;
    projector.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_dead_people_chat_as_ever() {
    people_chat_without_postgres(Absence::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_frozen_people_chat_as_ever() {
    people_chat_without_postgres(Absence::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_link_to_postgres_swallows_everything_people_chat_as_ever() {
    people_chat_without_postgres(Absence::Swallowed).await;
}
