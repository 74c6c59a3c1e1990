//! A request that is sent again is the same one, over another front and after the log has forgotten it.

use std::time::Duration;

use async_nats::jetstream;
use natterjack_domain::{ClientId, RoomId};
use natterjack_eventlog::{Log, Topic};
use natterjack_testkit::{Account, Follower, Site, answer, eventually};
use natterjack_wire::StoredEvent;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The shortest that nats-server takes.
const DEDUPE_WINDOW: Duration = Duration::from_millis(100);

/// Has the log forget soon what it was sent.
async fn shorten_the_dedupe_window(site: &Site) {
    let client = async_nats::connect(site.nats.url()).await.unwrap();
    let config = natterjack_eventlog::stream_config(0, &site.log_config());
    let config = jetstream::stream::Config { duplicate_window: DEDUPE_WINDOW, ..config };
    jetstream::new(client).update_stream(config).await.unwrap();
}

/// The types of a room's events.
async fn stored(log: &Log, room: RoomId) -> Vec<String> {
    let events = log.tail(Topic::Room(room), 0, 1_000).await.unwrap();
    let bodies = events.iter().map(|event| serde_json::to_value(StoredEvent::decode(&event.body).unwrap()));
    bodies.map(|body| body.unwrap()["type"].as_str().unwrap().to_owned()).collect()
}

async fn create(account: &Account, front: &str) -> RoomId {
    let body = json!({ "name": "Marsh", "visibility": "public" });
    let request = account.request(Method::POST, &format!("{front}/v1/rooms"));
    let (status, body) = answer(request.header("idempotency-key", "marsh").json(&body)).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body["room"].as_str().unwrap().parse().unwrap()
}

async fn change(account: &Account, front: &str, room: RoomId, path: &str, body: &Value) {
    let (status, body) = account.post(&format!("{front}/v1/rooms/{room}/{path}"), body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_after_the_logs_memory_over_another_front_counts_once() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let carol = site.register(&one, "carol").await;
    site.known(&[&carol]).await;
    // Opened before: what comes later would not take such a log for its own.
    let log = site.log().await;
    shorten_the_dedupe_window(&site).await;
    let room = create(&ada, &one).await;
    change(&bob, &one, room, "join", &Value::Null).await;
    change(&ada, &one, room, "members", &json!({ "user": carol.user })).await;
    change(&carol, &one, room, "leave", &Value::Null).await;
    let (mut here, mut there) = (ada.connect(&one).await, ada.connect(&two).await);
    let send = json!({ "t": "send", "id": 1, "room": room, "cid": ClientId::random(), "body": "once" });
    let first = here.ask(send.clone()).await;
    let mid = &first["mid"];
    let edit =
        json!({ "t": "edit", "id": 2, "room": room, "mid": mid, "cid": ClientId::random(), "body": "once!" });
    assert!(here.ask(edit.clone()).await["seq"].is_u64());

    // Once a repeat is stored, the log has forgotten all that came before.
    eventually("the log to forget", async || {
        let again = there.ask(send.clone()).await;
        assert_eq!(again["mid"], *mid, "{again}");
        (again["seq"].as_u64() > first["seq"].as_u64()).then_some(())
    })
    .await;
    assert_eq!(create(&ada, &two).await, room);
    change(&bob, &two, room, "join", &Value::Null).await;
    change(&carol, &two, room, "leave", &Value::Null).await;
    assert_eq!(there.ask(edit).await["t"], "ok");
    let recall = json!({ "t": "recall", "id": 3, "room": room, "mid": mid, "cid": ClientId::random() });
    let other = there.post(room, "another").await;
    assert!(here.ask(recall.clone()).await["seq"].is_u64());
    eventually("the other front to know", async || {
        let again = there.ask(recall.clone()).await;
        assert_eq!(again["t"], "ok", "{again}");
        again["seq"].is_null().then_some(())
    })
    .await;

    let last = there.post(room, "the last").await["seq"].as_u64().unwrap();
    let types = stored(&log, room).await;
    let count = |name: &str| types.iter().filter(|found| *found == name).count();
    for (name, expected) in [("room.created", 1), ("room.member_joined", 2), ("room.member_left", 1)] {
        assert_eq!(count(name), expected, "{types:?}");
    }
    let mut follower = Follower::new(bob.clone(), &[two.clone(), one.clone()], &[room]);
    follower.run_until("everything", |f| f.rooms[&room].last == last).await;
    assert_eq!(follower.rooms[&room].messages().len(), 3, "{types:?}");
    for front in [&one, &two] {
        let (_, page) = bob.get(&format!("{front}/v1/rooms/{room}/messages?at_least={last}")).await;
        let items = page["items"].as_array().unwrap();
        let bodies: Vec<&Value> = items.iter().map(|item| &item["body"]).collect();
        assert_eq!(bodies, [&Value::Null, &json!("another"), &json!("the last")]);
    }
    assert!(other["seq"].is_u64());
    let pool = site.pool("natterjack_migrator");
    let report = natterjack_projection::verify(&pool, |_| {}).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    projector.stop().await;
}
