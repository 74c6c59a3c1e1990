//! Postgres stopped, nats-server stopped, connections cut: chat goes on or says that it does not, and recovers by itself.

use natterjack_domain::{ClientId, RoomId};
use natterjack_testkit::{Account, Proxy, Site, Socket, answer, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn pair(site: &Site, front: &str) -> (Account, Account, RoomId) {
    let (ada, bob) = (site.register(front, "ada").await, site.register(front, "bob").await);
    let room = ada.create_room(front, "Marsh", "public").await;
    bob.join(front, room).await;
    (ada, bob, room)
}

async fn hear(socket: &mut Socket, seq: &Value) {
    assert!(seq.is_u64(), "{seq}");
    socket.until(|frame| frame["t"] == "ev" && frame["seq"] == *seq).await;
}

/// What everybody hears of a room from its beginning on: ids of messages, each once and without a gap.
async fn told(account: &Account, front: &str, room: RoomId, head: &Value) -> Vec<String> {
    let mut socket = account.connect(front).await;
    let answer = socket.subscribe(room, json!({ "after": 0 })).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    let (mut last, mut messages) = (0, vec![]);
    while last < head.as_u64().unwrap() {
        let event = socket.until(|frame| frame["t"] == "ev").await;
        assert_eq!(event["prev"], last, "{event}");
        last = event["seq"].as_u64().unwrap();
        if event["e"]["type"] == "message.posted" {
            messages.push(event["e"]["id"].as_str().unwrap().to_owned());
        }
    }
    messages
}

async fn assert_database_is_missed(site: &Site, front: &str, ada: &Account, room: RoomId) {
    let get = |path: &str| ada.request(Method::GET, &format!("{front}/v1/{path}"));
    let post = |path: &str, body: Value| site.http.post(format!("{front}/v1/auth/{path}")).json(&body);
    for request in [
        post("login", json!({ "login": "ada", "password": ada.password })),
        post("register", json!({ "username": "carol", "password": "long enough" })),
        post("refresh", json!({ "refresh_token": ada.refresh_token })),
        ada.request(Method::POST, &format!("{front}/v1/auth/logout")),
        get("rooms"),
        get("rooms/public"),
        get("users?q=a"),
        get(&format!("rooms/{room}")),
        get(&format!("rooms/{room}/messages")),
        get(&format!("rooms/{room}/members")),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(refused(request).await, ErrorCode::DatabaseUnavailable, "{shown:.200}");
    }
}

async fn chat_goes_on_without_postgres(streams: u16, crash: bool) {
    let mut site = Site::builder().set("TAIL_EVENTS", 4).streams(streams).start().await;
    let (one, two, projector) = (site.front().await, site.front().await, site.projector().await);
    let (front, other) = (one.url(), two.url());
    let (ada, bob, room) = pair(&site, &front).await;
    // One that the other front has never heard of.
    let quiet = ada.create_room(&front, "Pond", "private").await;
    let (mut adas, mut bobs) = (ada.connect(&front).await, bob.connect(&other).await);
    bobs.subscribe(room, json!({})).await;
    let mut mids = vec![];
    let ok = adas.post(room, "before").await;
    mids.push(ok["mid"].as_str().unwrap().to_owned());
    hear(&mut bobs, &ok["seq"]).await;
    site.projected().await;
    if crash {
        site.postgres.kill_hard().await;
    } else {
        site.postgres.stop_fast().await;
    }

    let mut head = Value::Null;
    for n in 0..12 {
        let ok = adas.post(room, &format!("during {n}")).await;
        hear(&mut bobs, &ok["seq"]).await;
        mids.push(ok["mid"].as_str().unwrap().to_owned());
        head = ok["seq"].clone();
    }
    for front in [&front, &other] {
        assert_eq!(told(&bob, front, room, &head).await, mids, "resumed on {front}");
        let mut socket = ada.connect(front).await;
        assert_eq!(socket.subscribe(quiet, json!({ "after": 0 })).await["recovered"], true);
        assert_eq!(socket.post(quiet, "anyone?").await["t"], "ok");
        assert_eq!(
            bob.connect(front).await.post(quiet, "me").await["code"],
            ErrorCode::RoomNotFound.number()
        );
        let events = ada.request(Method::GET, &format!("{front}/v1/rooms/{room}/events"));
        let events = events.send().await.unwrap();
        assert_eq!(events.status(), StatusCode::OK);
        assert_eq!(events.text().await.unwrap().lines().count(), 2 + mids.len());
        assert_database_is_missed(&site, front, &ada, room).await;
    }
    assert!(one.readiness.report().ready && two.readiness.report().ready, "the fronts still serve");

    site.postgres.restart().await.unwrap();
    site.assert_replay_is_equal().await;
    eventually("everything to be there again", async || {
        let request = ada.request(Method::GET, &format!("{other}/v1/rooms/{room}/messages"));
        let (status, page) = answer(request).await.ok()?;
        (status == StatusCode::OK).then(|| assert_eq!(page["items"].as_array().unwrap().len(), mids.len()))
    })
    .await;
    ada.another(&front).await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_people_chat_and_resume_and_the_projector_catches_up_by_itself() {
    chat_goes_on_without_postgres(1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgres_is_survived_with_three_streams_too() {
    chat_goes_on_without_postgres(3, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_starts_without_postgres_serves_the_chat() {
    let mut site = Site::builder().start().await;
    let one = site.front().await.url();
    let (ada, bob, room) = pair(&site, &one).await;
    site.postgres.stop_fast().await;
    let two = site.front().await.url();
    let mut bobs = bob.connect(&two).await;
    assert_eq!(bobs.subscribe(room, json!({ "after": 0 })).await["recovered"], true);
    let ok = ada.connect(&two).await.post(room, "hello").await;
    hear(&mut bobs, &ok["seq"]).await;
    site.postgres.restart().await.unwrap();
    eventually("accounts to work", async || {
        let login = json!({ "login": "ada", "password": ada.password });
        let request = site.http.post(format!("{two}/v1/auth/login")).json(&login);
        (answer(request).await.ok()?.0 == StatusCode::OK).then_some(())
    })
    .await;
}

async fn sends_are_refused_while_the_log_is_away(crash: bool) {
    let mut site = Site::builder().set("APPEND_DEADLINE_MS", 300).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob, room) = pair(&site, &one).await;
    let (mut adas, mut bobs) = (ada.connect(&one).await, bob.connect(&two).await);
    bobs.subscribe(room, json!({})).await;
    let mut mids = vec![];
    for n in 0..5 {
        let ok = adas.post(room, &format!("before {n}")).await;
        mids.push(ok["mid"].as_str().unwrap().to_owned());
        hear(&mut bobs, &ok["seq"]).await;
    }
    if crash {
        site.nats.kill_hard().await;
    } else {
        site.nats.stop().await;
    }
    let frames: Vec<_> = (0..3)
        .map(|n| json!({ "t": "send", "id": 90 + n, "room": room, "cid": ClientId::random(), "body": format!("during {n}") }))
        .collect();
    for frame in &frames {
        let refused = adas.ask(frame.clone()).await;
        assert_eq!(refused["code"], ErrorCode::LogUnavailable.number(), "{refused}");
        assert!(refused["retry_ms"].is_u64(), "{refused}");
    }
    let create = ada.request(Method::POST, &format!("{one}/v1/rooms"));
    let create = create.json(&json!({ "name": "Pond", "visibility": "public" }));
    assert_eq!(refused(create).await, ErrorCode::LogUnavailable);
    assert_eq!(ada.get(&format!("{one}/v1/me")).await.0, StatusCode::OK, "what needs no log still works");

    site.nats.restart().await.unwrap();
    for frame in &frames {
        // The same connection, the same frame: nobody has to do anything but ask again.
        let ok = eventually("the send to be taken", async || {
            let answer = adas.ask(frame.clone()).await;
            (answer["t"] == "ok").then_some(answer)
        })
        .await;
        mids.push(ok["mid"].as_str().unwrap().to_owned());
        hear(&mut bobs, &ok["seq"]).await;
    }
    let head = adas.post(room, "after").await;
    mids.push(head["mid"].as_str().unwrap().to_owned());
    hear(&mut bobs, &head["seq"]).await;
    for front in [&one, &two] {
        assert_eq!(told(&bob, front, room, &head["seq"]).await, mids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_log_sends_are_refused_and_nothing_acknowledged_is_lost() {
    sends_are_refused_while_the_log_is_away(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_log_loses_nothing_that_was_acknowledged() {
    sends_are_refused_while_the_log_is_away(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_outage_of_the_log_is_only_a_delay() {
    let mut site = Site::builder().start().await;
    let front = site.front().await.url();
    let (ada, bob, room) = pair(&site, &front).await;
    let (mut adas, mut bobs) = (ada.connect(&front).await, bob.connect(&front).await);
    bobs.subscribe(room, json!({})).await;
    site.nats.kill_hard().await;
    let sending = tokio::spawn(async move { adas.post(room, "patience").await });
    site.nats.restart().await.unwrap();
    let ok = sending.await.unwrap();
    hear(&mut bobs, &ok["seq"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passed_while_a_front_was_cut_off_is_delivered_when_it_is_back() {
    let site = Site::builder().start().await;
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let cut_off = format!("nats://{}", proxy.address());
    let far = site.front_with(&[("NATS_URL", &cut_off), ("APPEND_DEADLINE_MS", "200")]).await;
    let near = site.front().await.url();
    let (ada, bob, room) = pair(&site, &near).await;
    let (mut adas, mut bobs) = (ada.connect(&near).await, bob.connect(&far.url()).await);
    let mut last = bobs.subscribe(room, json!({})).await["head"].as_u64().unwrap();
    for round in 0..3 {
        proxy.cut();
        eventually("the front to notice", async || (!far.readiness.report().ready).then_some(())).await;
        let mut seq = Value::Null;
        for n in 0..10 {
            seq = adas.post(room, &format!("{n} in round {round}")).await["seq"].clone();
        }
        assert_eq!(bobs.post(room, "can you hear me?").await["code"], ErrorCode::LogUnavailable.number());
        proxy.heal();
        while last < seq.as_u64().unwrap() {
            let event = bobs.until(|frame| frame["t"] == "ev").await;
            assert_eq!(event["prev"], last, "{event}");
            last = event["seq"].as_u64().unwrap();
        }
        eventually("the front to be ready", async || far.readiness.report().ready.then_some(())).await;
    }
}

/// With `restart` the fronts lose their connections meanwhile, without it they have nothing to notice but the heads.
async fn a_replaced_log_is_noticed(restart: bool) {
    let mut site = Site::builder().start().await;
    let front = site.front().await.url();
    let (ada, bob, room) = pair(&site, &front).await;
    let mut socket = bob.connect(&front).await;
    let before = socket.subscribe(room, json!({})).await;
    let client = async_nats::connect(site.nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream("CHAT-0").await.unwrap();
    natterjack_eventlog::provision(&site.log_config()).await.unwrap();
    if restart {
        site.nats.restart().await.unwrap();
    }

    let epoch = site.log().await.epoch(0);
    let reset = socket.until(|frame| frame["t"] == "reset" && frame["room"].is_string()).await;
    assert_eq!((&reset["room"], &reset["reason"]), (&json!(room), &json!("epoch_changed")));
    assert_ne!(reset["epoch"], json!(&*epoch), "it names the epoch that has ended");
    socket.until(|frame| frame["t"] == "reset" && frame["room"].is_null()).await;
    let position = json!({ "after": before["head"], "epoch": before["epoch"] });
    assert_eq!(socket.subscribe(room, position.clone()).await["code"], ErrorCode::RoomNotFound.number());
    assert_eq!(socket.post(room, "hello?").await["code"], ErrorCode::RoomNotFound.number());

    let fresh = ada.create_room(&front, "New marsh", "public").await;
    bob.join(&front, fresh).await;
    let answer = socket.subscribe(fresh, position).await;
    assert_eq!((&answer["recovered"], &answer["epoch"]), (&json!(false), &json!(&*epoch)), "{answer}");
    let ok = ada.connect(&front).await.post(fresh, "welcome").await;
    hear(&mut socket, &ok["seq"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_replaced_is_never_taken_for_the_old_one() {
    a_replaced_log_is_noticed(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_replaced_is_noticed_without_any_reconnect() {
    a_replaced_log_is_noticed(false).await;
}
