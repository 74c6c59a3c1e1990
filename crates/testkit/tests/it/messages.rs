//! Sending, editing, recalling: acknowledged once stored, and the same however often it is repeated.

use async_nats::HeaderMap;
use natterjack_domain::{ClientId, MessageId, RoomId};
use natterjack_eventlog::{Subject, Topic, VERSION_HEADER};
use natterjack_testkit::{Account, Follower, Site, Socket};
use natterjack_wire::{ErrorCode, EventBody, StoredEvent};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::assert_code;

async fn stored(site: &Site, room: RoomId) -> Vec<(u64, StoredEvent)> {
    let events = site.log().await.tail(Topic::Room(room), 0, 10_000).await.unwrap();
    events.iter().map(|event| (event.seq, StoredEvent::decode(&event.body).unwrap())).collect()
}

fn is_post(event: &StoredEvent) -> bool {
    matches!(event.body, EventBody::MessagePosted { .. })
}

fn edit(room: RoomId, mid: &Value, body: &str) -> Value {
    json!({ "t": "edit", "id": 70, "room": room, "mid": mid, "cid": ClientId::random(), "body": body })
}

fn recall(room: RoomId, mid: &Value) -> Value {
    json!({ "t": "recall", "id": 71, "room": room, "mid": mid, "cid": ClientId::random() })
}

/// Ada and Bob in a room.
async fn pair(site: &Site, front: &str) -> (Account, Account, RoomId) {
    let (ada, bob) = (site.register(front, "ada").await, site.register(front, "bob").await);
    let room = ada.create_room(front, "Marsh", "public").await;
    bob.join(front, room).await;
    (ada, bob, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_ok_arrives_the_log_holds_the_event() {
    let site = Site::builder().streams(3).start().await;
    let front = site.front().await.url();
    let (ada, _, room) = pair(&site, &front).await;
    let mut socket = ada.connect(&front).await;
    let log = site.log().await;
    for n in 0..20 {
        let cid = ClientId::random();
        let frame = json!({ "t": "send", "id": 1, "room": room, "cid": cid, "body": format!("message {n}") });
        let ok = socket.ask(frame).await;
        let (seq, mid) = (ok["seq"].as_u64().unwrap(), ok["mid"].as_str().unwrap());
        assert_eq!(mid, MessageId::derive(room, ada.user, cid).to_string());
        let events = log.tail_of(Subject::timeline(room), seq - 1, 1).await.unwrap();
        assert_eq!(events[0].seq, seq);
        let event = StoredEvent::decode(&events[0].body).unwrap();
        assert_eq!((event.id.to_string().as_str(), event.by), (mid, ada.user));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_cid_is_the_same_message_again_at_once_and_over_another_front() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob, room) = pair(&site, &one).await;
    let frame = json!({ "t": "send", "id": 1, "room": room, "cid": ClientId::random(), "body": "once" });
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let (ada, front, frame) =
            (ada.clone(), if n % 2 == 0 { one.clone() } else { two.clone() }, frame.clone());
        tasks.spawn(async move {
            let mut socket = ada.connect(&front).await;
            let first = socket.ask(frame.clone()).await;
            assert_eq!(socket.ask(frame).await, first);
            first
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers[0]["seq"].is_u64(), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let of_bob = bob.connect(&two).await.ask(frame).await;
    assert_ne!(of_bob["mid"], answers[0]["mid"], "cids are a person's own");
    assert_eq!(stored(&site, room).await.iter().filter(|(_, event)| is_post(event)).count(), 2);
}

/// Stores an event once more as a front would that retries after the log has forgotten the first one's id.
async fn store_again(site: &Site, room: RoomId, event: &StoredEvent) {
    let client = async_nats::connect(site.nats.url()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(VERSION_HEADER, "1");
    headers.insert(async_nats::header::NATS_MESSAGE_ID, ClientId::random().to_string());
    let jetstream = async_nats::jetstream::new(client);
    let subject = Subject::timeline(room).to_string();
    let sent = jetstream.publish_with_headers(subject, headers, event.encode()).await.unwrap();
    assert!(!sent.await.unwrap().duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_after_the_logs_memory_is_stored_twice_and_counts_once() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob, room) = pair(&site, &front).await;
    let mut follower = Follower::new(bob.clone(), std::slice::from_ref(&front), &[room]);
    let mut socket = ada.connect(&front).await;
    let mid = socket.post(room, "once").await["mid"].clone();
    let (_, event) = stored(&site, room).await.pop().unwrap();
    store_again(&site, room, &event).await;
    assert_eq!(socket.ask(edit(room, &mid, "once, edited")).await["t"], "ok");
    let last = socket.post(room, "and another").await["seq"].as_u64().unwrap();
    follower.run_until("everything", |f| f.rooms[&room].last == last).await;
    let seen = &follower.rooms[&room];
    assert_eq!((seen.messages().len(), seen.repeats), (2, 1));

    let (_, page) = ada.get(&format!("{front}/v1/rooms/{room}/messages?at_least={last}")).await;
    let bodies: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["once, edited", "and another"]);
    let (_, rooms) = bob.get(&format!("{front}/v1/rooms")).await;
    assert_eq!(rooms["items"][0]["unread"], 2, "{rooms}");
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_author_edits_and_recalls_a_message_and_nobody_else_does() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob, room) = pair(&site, &one).await;
    let (mut adas, mut bobs) = (ada.connect(&one).await, bob.connect(&two).await);
    bobs.subscribe(room, json!({})).await;
    let mid = adas.post(room, "helo").await["mid"].clone();
    bobs.until(|frame| frame["e"]["id"] == mid).await;

    let edited = adas.ask(edit(room, &mid, "hello")).await;
    assert!(edited["seq"].is_u64() && edited["mid"].is_null(), "{edited}");
    let event = bobs.until(|frame| frame["seq"] == edited["seq"]).await;
    assert_eq!((&event["e"]["type"], &event["e"]["body"]), (&json!("message.edited"), &json!("hello")));
    assert_code(&bobs.ask(edit(room, &mid, "bye")).await, ErrorCode::NotAuthor);
    assert_code(&bobs.ask(recall(room, &mid)).await, ErrorCode::NotAuthor);
    assert_code(&adas.ask(edit(room, &mid, "")).await, ErrorCode::MessageEmpty);

    let recalled = adas.ask(recall(room, &mid)).await;
    bobs.until(|frame| frame["seq"] == recalled["seq"]).await;
    assert_code(&bobs.ask(recall(room, &mid)).await, ErrorCode::NotAuthor);
    adas.subscribe(room, json!({ "after": recalled["seq"].as_u64().unwrap() })).await;
    assert_eq!(adas.ask(recall(room, &mid)).await, json!({ "t": "ok", "id": 71 }), "it was recalled already");
    assert_code(&adas.ask(edit(room, &mid, "again")).await, ErrorCode::MessageRecalled);
    assert_code(&adas.ask(edit(room, &json!(MessageId::random()), "x")).await, ErrorCode::MessageNotFound);
    assert_code(&adas.ask(recall(room, &json!(MessageId::random()))).await, ErrorCode::MessageNotFound);

    let last = &recalled["seq"];
    let (_, page) = bob.get(&format!("{two}/v1/rooms/{room}/messages?at_least={last}")).await;
    let message = &page["items"][0];
    assert!(message["body"].is_null() && message["recalled_at"].is_string(), "{message}");
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_far_older_than_the_tail_is_found_in_the_read_model() {
    let site = Site::builder().set("TAIL_EVENTS", 2).start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob, room) = pair(&site, &front).await;
    let mut socket = ada.connect(&front).await;
    let mut mids = vec![];
    for n in 0..20 {
        mids.push(socket.post(room, &format!("{n}")).await["mid"].clone());
    }
    assert_eq!(socket.ask(edit(room, &mids[0], "zero")).await["t"], "ok");
    assert_eq!(socket.ask(recall(room, &mids[1])).await["t"], "ok");
    for n in 20..25 {
        socket.post(room, &format!("{n}")).await;
    }
    assert_code(&socket.ask(edit(room, &mids[1], "one")).await, ErrorCode::MessageRecalled);
    assert_eq!(socket.ask(recall(room, &mids[1])).await, json!({ "t": "ok", "id": 71 }));
    assert_code(&bob.connect(&front).await.ask(edit(room, &mids[0], "mine")).await, ErrorCode::NotAuthor);
    // Of another room: as if it were not there.
    let other = ada.create_room(&front, "Pond", "public").await;
    assert_code(&socket.ask(edit(other, &mids[0], "elsewhere")).await, ErrorCode::MessageNotFound);
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_message_is_refused_by_name_and_never_stored() {
    let site = Site::builder().set("MESSAGE_MAX_CHARS", 10).start().await;
    let front = site.front().await.url();
    let (ada, _, room) = pair(&site, &front).await;
    let mut socket = ada.connect(&front).await;
    for (body, code) in [
        ("", ErrorCode::MessageEmpty),
        (" \n\u{3000}", ErrorCode::MessageEmpty),
        ("eleven char", ErrorCode::MessageTooLong),
        ("一二三四五六七八九十百", ErrorCode::MessageTooLong),
        ("a\u{0}b", ErrorCode::MessageInvalid),
        ("a\u{1b}[31m", ErrorCode::MessageInvalid),
    ] {
        assert_code(&socket.post(room, body).await, code);
    }
    assert_eq!(socket.post(room, "一二三四五六七八九十").await["t"], "ok");
    assert_eq!(stored(&site, room).await.iter().filter(|(_, event)| is_post(event)).count(), 1);
}

/// Sends all frames at once and gives the answers by id.
async fn burst(socket: &mut Socket, frames: Vec<Value>) -> Vec<Value> {
    let count = frames.len();
    socket.send(&Value::from(frames)).await.unwrap();
    let mut answers = vec![];
    while answers.len() < count {
        answers.push(socket.until(|frame| frame["t"] == "ok" || frame["t"] == "err").await);
    }
    answers.sort_by_key(|answer| answer["id"].as_u64());
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_in_flight_keep_their_order_and_a_reply_names_what_it_answers() {
    let site = Site::builder().set("SENDS_IN_FLIGHT", 4).start().await;
    let front = site.front().await.url();
    let (ada, _, room) = pair(&site, &front).await;
    let mut socket = ada.connect(&front).await;
    socket.subscribe(room, json!({})).await;
    let first = socket.post(room, "first").await["mid"].clone();
    let send = |id: u64| {
        let cid = ClientId::random();
        json!({ "t": "send", "id": id, "room": room, "cid": cid, "body": id.to_string(), "reply_to": first })
    };
    let answers = burst(&mut socket, (1..=60).map(send).collect()).await;
    let seqs: Vec<_> = answers.iter().map(|answer| answer["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    for id in 1..=60_u64 {
        let event = socket.until(|frame| frame["t"] == "ev" && frame["e"]["reply_to"] == first).await;
        assert_eq!(event["e"]["body"], id.to_string());
    }
}
