//! Clients that read slowly or never, and fronts that go.

use natterjack_domain::{ClientId, RoomId};
use natterjack_testkit::{Account, Closed, FrontProcess, Site, Socket, eventually, refused};
use natterjack_wire::ErrorCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// More than the kernel's buffers of one connection hold, in messages of the greatest size.
const MESSAGES: usize = 300;

/// The sum of a counter over its labels that contain `label`.
async fn counter(site: &Site, front: &FrontProcess, name: &str, label: &str) -> f64 {
    let text =
        site.http.get(format!("{}/metrics", front.ops_url())).send().await.unwrap().text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn large(n: usize) -> String {
    format!("{n:08}{}", "蛙".repeat(7_992))
}

/// A room with Ada and Bob in it, and Bob's connection that does not read.
async fn busy_room(site: &Site, front: &str) -> (Account, Account, RoomId, Socket) {
    let (ada, bob) = (site.register(front, "ada").await, site.register(front, "bob").await);
    let room = ada.create_room(front, "Marsh", "public").await;
    bob.join(front, room).await;
    let mut stuck = Socket::open_narrow(front).await.unwrap();
    stuck.hello(&bob.token).await;
    assert_eq!(stuck.subscribe(room, json!({ "after": 0 })).await["recovered"], true);
    (ada, bob, room, stuck)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_nobody_up_and_gets_everything_once_when_it_does() {
    let site = Site::builder().start().await;
    let front = site.front_process_with(&[("OUTBOX_MAX_BYTES", "65536")]).await;
    let url = front.url();
    let (ada, bob, room, mut stuck) = busy_room(&site, &url).await;
    let mut other = bob.connect(&url).await;
    other.subscribe(room, json!({})).await;
    let mut socket = ada.connect(&url).await;
    for n in 0..MESSAGES {
        let seq = socket.post(room, &large(n)).await["seq"].clone();
        assert!(seq.is_u64(), "message {n}");
        other.until(|frame| frame["t"] == "ev" && frame["seq"] == seq).await;
    }
    let lags = counter(&site, &front, "natterjack_front_lags_total", "").await;

    let (mut last, mut messages) = (0, vec![]);
    while messages.len() < MESSAGES {
        let event = stuck.until(|frame| frame["t"] == "ev").await;
        assert!(event["prev"].as_u64().unwrap() <= last, "a gap after {last}");
        assert!(event["seq"].as_u64().unwrap() > last, "again after {last}");
        last = event["seq"].as_u64().unwrap();
        if event["e"]["type"] == "message.posted" {
            messages.push(event["e"]["body"].as_str().unwrap()[..8].parse::<usize>().unwrap());
        }
    }
    assert_eq!(messages, (0..MESSAGES).collect::<Vec<_>>());
    stuck.assert_none(|frame| frame["t"] == "ev").await;
    let later = counter(&site, &front, "natterjack_front_lags_total", "").await;
    assert!(later.max(lags) > 0.0, "the front kept everything in memory");
    // Live again.
    let seq = socket.post(room, "small talk").await["seq"].clone();
    stuck.until(|frame| frame["t"] == "ev" && frame["seq"] == seq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_given_up_and_leaves_nothing_behind() {
    let site = Site::builder().start().await;
    let settings = [("OUTBOX_MAX_BYTES", "65536"), ("STALL_TIMEOUT_MS", "300"), ("ROOM_IDLE_SECS", "1")];
    let front = site.front_process_with(&settings).await;
    let url = front.url();
    let (ada, _, room, mut stuck) = busy_room(&site, &url).await;
    let mut socket = ada.connect(&url).await;
    for n in 0..MESSAGES {
        assert_eq!(socket.post(room, &large(n)).await["t"], "ok");
    }
    eventually("the front to give it up", async || {
        let closed = counter(&site, &front, "natterjack_front_closed_total", "code=\"4002\"").await;
        (closed >= 1.0).then_some(())
    })
    .await;
    // The kernel may have had to drop the connection without a word; whoever says something finds out.
    let _ = stuck.send(&json!({ "t": "ping", "n": 1 })).await;
    let closed = stuck.closed().await;
    assert!(matches!(closed, Closed(None | Some(4002))), "{closed:?}");
    assert_eq!(socket.post(room, "still here").await["t"], "ok");
    // Were it still a member anywhere, its room and its feed would be served for ever.
    drop((socket, stuck));
    eventually("the front to serve nothing any more", async || {
        (counter(&site, &front, "natterjack_front_topics", "").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pongs_do_not_pile_up_for_a_client_that_does_not_read() {
    let site = Site::builder().start().await;
    let front = site.front_process_with(&[("OUTBOX_MAX_BYTES", "65536")]).await;
    let (url, ping) = (front.url(), Message::Ping(vec![7; 125].into()));
    let ada = site.register(&url, "ada").await;
    let mut stuck = ada.connect(&url).await;
    let before = counter(&site, &front, "process_resident_memory_bytes", "").await;
    // More than 25 MB of pongs, which nobody takes.
    for _ in 0..200_000 {
        stuck.send_raw(ping.clone()).await.unwrap();
    }
    let after = counter(&site, &front, "process_resident_memory_bytes", "").await;
    assert!(after - before < 16.0 * 1024.0 * 1024.0, "{before} bytes before, {after} after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_drains_answers_what_is_under_way_and_says_goodbye() {
    let site = Site::builder().start().await;
    let front = site.front_process_with(&[("DRAIN_WINDOW_MS", "500")]).await;
    let url = front.url();
    let ada = site.register(&url, "ada").await;
    let room = ada.create_room(&url, "Marsh", "public").await;
    let (mut socket, mut idle) = (ada.connect(&url).await, ada.connect(&url).await);
    let mut speechless = Socket::open(&url).await.unwrap();

    // A send that waits for the log while the front begins to drain.
    site.nats.suspend().await;
    let cid = ClientId::random();
    let send = json!({ "t": "send", "id": 1, "room": room, "cid": cid, "body": "last words" });
    socket.send(&json!([send, { "t": "ping", "n": 2 }])).await.unwrap();
    assert_eq!(socket.until(|frame| frame["id"] == 2).await["t"], "ok");
    let ready = format!("{}/readyz", front.ops_url());
    let draining = async {
        let status = front.drain().await;
        assert!(status.success(), "{status}");
    };
    let client = async {
        eventually("the front to be unready", async || {
            let status = site.http.get(&ready).send().await.ok()?.status();
            (status == 503).then_some(())
        })
        .await;
        site.nats.resume();
        assert!(socket.until(|frame| frame["id"] == 1).await["seq"].is_u64());
        for connection in [&mut socket, &mut idle] {
            let (bye, closed) = connection.last_words().await;
            assert_eq!((&bye["t"], &bye["code"]), (&json!("bye"), &json!(4001)), "{bye}");
            assert!(bye["retry_ms"].is_u64(), "{bye}");
            assert_eq!(closed, Closed(Some(4001)));
        }
        // Who comes too late to be served is sent away as well and does not hold the front up.
        if speechless.send(&json!({ "t": "hello", "token": ada.token })).await.is_ok() {
            assert!(matches!(speechless.closed().await, Closed(None | Some(4001))));
        }
    };
    tokio::join!(draining, client);

    let other = site.front().await.url();
    let repeated = ada.connect(&other).await.ask(send).await;
    assert!(repeated["seq"].is_u64());
    let events = site.log().await.tail(natterjack_eventlog::Topic::Room(room), 0, 10).await.unwrap();
    assert_eq!(events.len(), 2, "the room and its one message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_said_hello_do_not_hold_up_a_drain() {
    let site = Site::builder().set("HELLO_TIMEOUT_MS", 600_000).start().await;
    let front = site.front().await;
    let mut speechless = Socket::open(&front.url()).await.unwrap();
    let draining = tokio::spawn(front.drain());
    let closed = speechless.closed().await;
    assert!(matches!(closed, Closed(None | Some(4001 | 4003))), "{closed:?}");
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_the_log_is_bounded_and_the_rest_is_not_read() {
    let site = Site::builder().set("SENDS_IN_FLIGHT", 2).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut socket = ada.connect(&front).await;
    site.nats.suspend().await;
    let send =
        |id: u64| json!({ "t": "send", "id": id, "room": room, "cid": ClientId::random(), "body": "x" });
    let mut frames: Vec<Value> = (1..=10).map(send).collect();
    frames.push(json!({ "t": "ping", "n": 11 }));
    socket.send(&Value::from(frames)).await.unwrap();
    // Other connections of the front are served meanwhile.
    let mut other = ada.another(&front).await.connect(&front).await;
    assert_eq!(other.ask(json!({ "t": "ping", "n": 1 })).await["t"], "ok");
    site.nats.resume();
    let mut order = vec![];
    for _ in 0..11 {
        let answer = socket.until(|frame| frame["t"] == "ok" || frame["t"] == "err").await;
        assert_eq!(answer["t"], "ok", "{answer}");
        order.push(answer["id"].as_u64().unwrap());
    }
    let pong = order.iter().position(|id| *id == 11).unwrap();
    assert!(pong >= 8, "the ping was answered before eight sends were: {order:?}");
    let unknown = ada.request(reqwest::Method::GET, &format!("{front}/v1/rooms/{}/events", RoomId::random()));
    assert_eq!(refused(unknown).await, ErrorCode::RoomNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_without_a_word_has_broken_nothing() {
    let site = Site::builder().start().await;
    let front = site.front_process().await;
    let ada = site.register(&front.url(), "ada").await;
    drop(ada.connect(&front.url()).await);
    eventually("the front to notice", async || {
        let gone = counter(&site, &front, "natterjack_front_closed_total", "code=\"0\"").await;
        (gone >= 1.0).then_some(())
    })
    .await;
    let broken = counter(&site, &front, "natterjack_front_closed_total", "code=\"4502\"").await;
    assert!(broken < 1.0, "counted as a breach of the protocol");
}
