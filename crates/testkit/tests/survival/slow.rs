//! Clients that never read, in a room that never rests.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use natterjack_testkit::{FrontProcess, Site, Socket};
use serde_json::json;
use tokio::{task::JoinSet, time::interval};

use crate::setting;

/// Clients that do not read; 200 in the long run.
const CLIENTS: u64 = 15;
const MESSAGES_PER_SECOND: u64 = 100;
/// With them; 600 in the long run.
const SECONDS: u64 = 4;
/// Before them; 60 in the long run.
const QUIET_SECONDS: u64 = 4;
/// 300 in the long run, which has to be caught up with by each of them.
const BODY_CHARS: u64 = 4_000;
/// What memory may still grow once the outboxes are full.
const LEVEL_BYTES: f64 = 24.0 * 1024.0 * 1024.0;
/// Of a machine that does other things too: what a p99 may be longer, besides being twice as long; 0 in the long run.
const NOISE_MS: u64 = 1_000;

async fn resident_bytes(site: &Site, front: &FrontProcess) -> f64 {
    let url = format!("{}/metrics", front.ops_url());
    let text = site.http.get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn p99(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_cost_little_memory_delay_nobody_and_lose_nothing() {
    let (clients, rate) = (setting("CLIENTS", CLIENTS), setting("RATE", MESSAGES_PER_SECOND));
    let messages = |seconds| usize::try_from(rate * seconds).unwrap();
    let before = messages(setting("QUIET_SECONDS", QUIET_SECONDS));
    let beside = messages(setting("SECONDS", SECONDS));
    let site = Site::builder().set("CONNECTIONS_PER_USER", 10_000).set("ACCESS_SECS", 86_400).start().await;
    let projector = site.projector().await;
    let own = [("OUTBOX_MAX_BYTES", "65536"), ("STALL_TIMEOUT_MS", "7200000"), ("HEARTBEAT_MS", "7200000")];
    let front = site.front_process_with(&own).await;
    let url = front.url();
    let (ada, bob) = (site.register(&url, "ada").await, site.register(&url, "bob").await);
    let room = ada.create_room(&url, "Marsh", "public").await;
    bob.join(&url, room).await;

    let sent: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (mut speaker, mut healthy) = (ada.connect(&url).await, bob.connect(&url).await);
    healthy.subscribe(room, json!({})).await;
    let speaking = tokio::spawn({
        let sent = sent.clone();
        async move {
            let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
            let rest = "x".repeat(usize::try_from(setting("BODY_CHARS", BODY_CHARS)).unwrap());
            let mut last = 0;
            for n in 0..before + beside {
                ticks.tick().await;
                sent.lock().unwrap().push(Instant::now());
                last = speaker.post(room, &format!("{n} {rest}")).await["seq"].as_u64().unwrap();
            }
            last
        }
    });
    let mut hear = async |count: usize| {
        let mut latencies = vec![];
        while latencies.len() < count {
            let event = healthy.until(|frame| frame["t"] == "ev").await;
            let body = event["e"]["body"].as_str().unwrap();
            let n: usize = body.split_once(' ').unwrap().0.parse().unwrap();
            latencies.push(sent.lock().unwrap()[n].elapsed());
        }
        latencies
    };
    let mut without = hear(before).await;
    let mut stuck = vec![];
    for _ in 0..clients {
        let mut socket = Socket::open_narrow(&url).await.unwrap();
        socket.hello(&bob.token).await;
        let begin = socket.subscribe(room, json!({})).await["head"].as_u64().unwrap();
        stuck.push((socket, begin));
    }
    let mut with = hear(beside / 2).await;
    let full = resident_bytes(&site, &front).await;
    with.extend(hear(beside - beside / 2).await);
    let later = resident_bytes(&site, &front).await;
    assert!(later - full < LEVEL_BYTES, "{full} bytes in the middle, {later} at the end");
    let (without, with) = (p99(&mut without), p99(&mut with));
    let noise = Duration::from_millis(setting("NOISE_MS", NOISE_MS));
    eprintln!(
        "{full} bytes in the middle, {later} at the end; p99 {without:?} before them, {with:?} with them"
    );
    assert!(with < 2 * without + noise, "p99 {without:?} without them, {with:?} with them");

    let last = speaking.await.unwrap();
    let mut catching_up = JoinSet::new();
    for (mut socket, mut at) in stuck {
        catching_up.spawn(async move {
            while at < last {
                let event = socket.until(|frame| frame["t"] == "ev" || frame["t"] == "reset").await;
                assert_eq!(event["t"], "ev", "{event}");
                assert!(event["prev"].as_u64().unwrap() <= at, "a gap after {at}");
                assert!(event["seq"].as_u64().unwrap() > at, "again after {at}");
                at = event["seq"].as_u64().unwrap();
            }
        });
    }
    catching_up.join_all().await;
    projector.stop().await;
}
