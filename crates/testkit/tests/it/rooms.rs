//! Rooms: making, finding, joining, leaving; who sees what, on whichever front.

use std::collections::HashSet;

use natterjack_domain::{RoomId, UserId};
use natterjack_testkit::{Account, Follower, Site, answer, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn create(account: &Account, front: &str, key: &str, body: &Value) -> reqwest::RequestBuilder {
    account.request(Method::POST, &format!("{front}/v1/rooms")).header("idempotency-key", key).json(body)
}

async fn created(request: reqwest::RequestBuilder) -> RoomId {
    let (status, body) = answer(request).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body["room"].as_str().unwrap().parse().unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Reads all pages of a list.
async fn pages(account: &Account, url: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (vec![], None::<String>);
    loop {
        let separator = if url.contains('?') { '&' } else { '?' };
        let more = cursor.map(|cursor| format!("{separator}cursor={cursor}")).unwrap_or_default();
        let (status, page) = account.get(&format!("{url}{more}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return items,
        }
    }
}

async fn members(account: &Account, front: &str, room: RoomId, at_least: u64) -> HashSet<UserId> {
    let url = format!("{front}/v1/rooms/{room}/members?limit=200&at_least={at_least}");
    let people = pages(account, &url).await;
    people.iter().map(|person| person["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// Changes a room; gives the sequence of the change.
async fn change(account: &Account, url: &str, body: Value) -> u64 {
    let (status, body) = account.post(url, body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["position"]["seq"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_makes_the_same_room_at_once_later_and_on_another_front() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let body = json!({ "name": "Marsh", "visibility": "private" });
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let front = if n % 2 == 0 { &one } else { &two };
        tasks.spawn(created(create(&ada, front, "key", &body)));
    }
    let rooms: HashSet<RoomId> = tasks.join_all().await.into_iter().collect();
    assert_eq!(rooms.len(), 1);
    let room = *rooms.iter().next().unwrap();
    assert_eq!(created(create(&ada, &two, "key", &body)).await, room);
    assert_ne!(created(create(&ada, &two, "other", &body)).await, room);
    assert_ne!(created(create(&bob, &one, "key", &body)).await, room, "keys are a person's own");

    let events = ada.request(Method::GET, &format!("{one}/v1/rooms/{room}/events")).send().await.unwrap();
    assert_eq!(events.text().await.unwrap().lines().count(), 1, "the room was created once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_rooms_tells_what_is_new_and_can_be_asked_to_reflect_ones_own_writes() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    bob.join(&one, room).await;
    let mut socket = ada.connect(&one).await;
    let mut last = 0;
    for n in 0..3 {
        last = socket.post(room, &format!("message {n}")).await["seq"].as_u64().unwrap();
    }
    for front in [&one, &two] {
        let (status, answer) = bob.get(&format!("{front}/v1/rooms?at_least={room}@{last}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let summary = &answer["items"][0];
        assert_eq!(summary["id"], json!(room));
        assert_eq!(summary["name"], "Marsh");
        assert_eq!((&summary["unread"], &summary["member_count"]), (&json!(3), &json!(2)), "{summary}");
        assert_eq!((&summary["head"], &summary["joined"]), (&json!(last), &json!(true)), "{summary}");
        assert_eq!(summary["last_message"]["body"], "message 2");
        assert!(summary["as_of"]["seq"].as_u64().unwrap() >= last);
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_the_read_model_cannot_satisfy_in_time_says_so() {
    let site = Site::builder().set("READ_WAIT_MS", 50).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    for path in [
        format!("rooms?at_least={room}@1"),
        format!("rooms/{room}?at_least=1"),
        format!("rooms/{room}/messages?at_least=1"),
        format!("rooms/{room}/members?at_least=1"),
    ] {
        let request = ada.request(Method::GET, &format!("{front}/v1/{path}"));
        assert_eq!(refused(request).await, ErrorCode::ReadBehind, "{path}");
    }
    let request = ada.request(Method::GET, &format!("{front}/v1/rooms/{room}?at_least=1000000"));
    assert_eq!(refused(request).await, ErrorCode::RequestInvalid, "the log does not go so far");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_rooms_are_found_by_their_names_page_by_page_and_private_ones_never() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let mut named = vec![];
    for n in 0..7 {
        ada.create_room(&front, &format!("Pond {n}"), "public").await;
        named.push(format!("Pond {n}"));
    }
    ada.create_room(&front, "Pond of secrets", "private").await;
    ada.create_room(&front, "北京 Hügel", "public").await;
    site.projected().await;
    let found = async |q: &str| {
        let rooms = pages(&bob, &format!("{front}/v1/rooms/public?limit=3&q={q}")).await;
        rooms.iter().map(|room| room["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("pond").await, named);
    assert_eq!(found("").await.len(), 8);
    assert_eq!(found("北京").await, ["北京 Hügel"]);
    assert_eq!(found("HÜG").await, ["北京 Hügel"]);
    assert_eq!(found("%25").await, Vec::<String>::new());
    assert_eq!(found("secrets").await, Vec::<String>::new());
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_join_are_added_and_leave_as_often_as_they_like() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let carol = site.register(&two, "carol").await;
    site.known(&[&carol]).await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let at = |front: &str, what: &str| format!("{front}/v1/rooms/{room}/{what}");

    let joined = change(&bob, &at(&two, "join"), Value::Null).await;
    assert_eq!(change(&bob, &at(&one, "join"), Value::Null).await, joined, "joining twice changes nothing");
    let added = change(&bob, &at(&two, "members"), json!({ "user": carol.user })).await;
    assert_eq!(members(&ada, &one, room, added).await, HashSet::from([ada.user, bob.user, carol.user]));
    let left = change(&bob, &at(&one, "leave"), Value::Null).await;
    assert_eq!(change(&bob, &at(&two, "leave"), Value::Null).await, left, "leaving twice changes nothing");
    assert_eq!(members(&carol, &two, room, left).await, HashSet::from([ada.user, carol.user]));
    let back = change(&bob, &at(&two, "join"), Value::Null).await;
    assert_eq!(members(&bob, &one, room, back).await.len(), 3);
    let last = change(&carol, &at(&one, "leave"), Value::Null).await;
    let (status, summary) = bob.get(&format!("{one}/v1/rooms/{room}?at_least={last}")).await;
    assert_eq!((status, &summary["member_count"]), (StatusCode::OK, &json!(2)));
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_was_just_let_into_is_open_on_every_front_at_once() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    site.known(&[&bob]).await;
    projector.stop().await;
    let room = ada.create_room(&one, "Marsh", "private").await;
    // Both fronts serve the room already, each with a fold of its own.
    let mut adas = ada.connect(&two).await;
    adas.subscribe(room, json!({})).await;
    let mut bobs = bob.connect(&two).await;
    for n in 0..20 {
        change(&ada, &format!("{one}/v1/rooms/{room}/members"), json!({ "user": bob.user })).await;
        let answer = bobs.subscribe(room, json!({})).await;
        assert_eq!(answer["t"], "ok", "sub, round {n}: {answer}");
        let answer = bobs.post(room, "in").await;
        assert_eq!(answer["t"], "ok", "send, round {n}: {answer}");
        change(&bob, &format!("{one}/v1/rooms/{room}/leave"), Value::Null).await;
        change(&ada, &format!("{one}/v1/rooms/{room}/members"), json!({ "user": bob.user })).await;
        let events = bob.request(Method::GET, &format!("{two}/v1/rooms/{room}/events")).send().await.unwrap();
        assert_eq!(events.status(), StatusCode::OK, "events, round {n}");
        change(&bob, &format!("{two}/v1/rooms/{room}/leave"), Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_room_does_not_exist_for_strangers() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, eve) = (site.register(&front, "ada").await, site.register(&front, "eve").await);
    let room = ada.create_room(&front, "Secrets", "private").await;
    let mut adas = ada.connect(&front).await;
    let mid = adas.post(room, "between us").await["mid"].clone();
    site.projected().await;

    let none = RoomId::random();
    for room in [room, none] {
        for path in ["", "/messages", "/members", "/events"] {
            let request = eve.request(Method::GET, &format!("{front}/v1/rooms/{room}{path}"));
            assert_eq!(refused(request).await, ErrorCode::RoomNotFound, "GET {path}");
        }
        for path in ["join", "leave", "members"] {
            let request = eve.request(Method::POST, &format!("{front}/v1/rooms/{room}/{path}"));
            let request = request.json(&json!({ "user": eve.user }));
            assert_eq!(refused(request).await, ErrorCode::RoomNotFound, "POST {path}");
        }
        let mut socket = eve.connect(&front).await;
        for request in [
            json!({ "t": "sub", "id": 1, "room": room }),
            json!({ "t": "sub", "id": 2, "room": room, "after": 0 }),
            json!({ "t": "send", "id": 3, "room": room, "cid": none, "body": "hi" }),
            json!({ "t": "edit", "id": 4, "room": room, "mid": mid, "cid": none, "body": "hi" }),
            json!({ "t": "recall", "id": 5, "room": room, "mid": mid, "cid": none }),
        ] {
            let answer = socket.ask(request.clone()).await;
            assert_eq!(answer["code"], ErrorCode::RoomNotFound.number(), "{request}: {answer}");
        }
        for quiet in [
            json!({ "t": "read", "room": room, "seq": 1 }),
            json!({ "t": "typing", "room": room, "on": true }),
        ] {
            socket.send(&quiet).await.unwrap();
            let answer = socket.next().await.unwrap();
            assert_eq!(answer["code"], ErrorCode::RoomNotFound.number(), "{quiet}: {answer}");
        }
    }
    assert_eq!(ids(&eve.get(&format!("{front}/v1/rooms")).await.1), Vec::<String>::new());
    let lines = ada.request(Method::GET, &format!("{front}/v1/rooms/{room}/events")).send().await.unwrap();
    assert_eq!(lines.text().await.unwrap().lines().count(), 2, "nothing of it reached the room");
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_of_a_public_room_see_that_it_is_there_and_nothing_of_what_is_said() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    ada.connect(&front).await.post(room, "among members").await;
    site.projected().await;
    let (status, summary) = bob.get(&format!("{front}/v1/rooms/{room}")).await;
    assert_eq!((status, &summary["joined"]), (StatusCode::OK, &json!(false)));
    assert!(!summary.to_string().contains("among members"), "{summary}");
    for path in ["messages", "members", "events"] {
        let request = bob.request(Method::GET, &format!("{front}/v1/rooms/{room}/{path}"));
        assert_eq!(refused(request).await, ErrorCode::NotMember, "{path}");
    }
    let add = bob.request(Method::POST, &format!("{front}/v1/rooms/{room}/members"));
    assert_eq!(refused(add.json(&json!({ "user": bob.user }))).await, ErrorCode::NotMember);
    let mut socket = bob.connect(&front).await;
    assert_eq!(socket.subscribe(room, json!({})).await["code"], ErrorCode::NotMember.number());
    assert_eq!(socket.post(room, "me too").await["code"], ErrorCode::NotMember.number());
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_room_takes_nobody_until_somebody_leaves() {
    let site = Site::builder().set("MEMBERS_MAX", 2).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let carol = site.register(&one, "carol").await;
    site.known(&[&carol]).await;
    projector.stop().await;
    let room = ada.create_room(&one, "Duet", "public").await;
    bob.join(&two, room).await;
    let join = carol.request(Method::POST, &format!("{one}/v1/rooms/{room}/join"));
    assert_eq!(refused(join).await, ErrorCode::RoomFull);
    let add = ada.request(Method::POST, &format!("{one}/v1/rooms/{room}/members"));
    assert_eq!(refused(add.json(&json!({ "user": carol.user }))).await, ErrorCode::RoomFull);
    let body = json!({ "name": "Trio", "visibility": "public", "members": [bob.user, carol.user] });
    assert_eq!(refused(create(&ada, &one, "trio", &body)).await, ErrorCode::RoomFull);
    change(&bob, &format!("{two}/v1/rooms/{room}/leave"), Value::Null).await;
    carol.join(&two, room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_join_at_once_on_two_fronts_are_all_in_and_the_limit_still_holds() {
    const MEMBERS_MAX: usize = 25;
    const GUESTS: usize = 30;
    let site = Site::builder().set("MEMBERS_MAX", MEMBERS_MAX).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let mut guests = vec![];
    for n in 0..GUESTS {
        guests.push(site.register(&one, &format!("guest-{n}")).await);
    }
    let mut tasks = JoinSet::new();
    for (n, guest) in guests.iter().enumerate() {
        let url = format!("{}/v1/rooms/{room}/join", if n % 2 == 0 { &one } else { &two });
        let guest = guest.clone();
        tasks.spawn(async move {
            let (status, body) = guest.post(&url, Value::Null).await;
            (guest.user, status, body)
        });
    }
    let (mut inside, mut outside) = (HashSet::from([ada.user]), 0);
    for (user, status, body) in tasks.join_all().await {
        if status == StatusCode::OK {
            inside.insert(user);
        } else {
            assert_eq!(body["code"], ErrorCode::RoomFull.number(), "{body}");
            outside += 1;
        }
    }
    assert_eq!((inside.len(), outside), (MEMBERS_MAX, GUESTS + 1 - MEMBERS_MAX));
    site.projected().await;
    assert_eq!(members(&ada, &two, room, 0).await, inside);
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_or_leaves_is_told_on_whichever_front() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    site.known(&[&bob]).await;
    // It tells people too; here is seen what the fronts tell.
    projector.stop().await;
    let mut bobs = [bob.connect(&one).await, bob.connect(&two).await];
    let body = json!({ "name": "Marsh", "visibility": "private", "members": [bob.user] });
    let room = created(create(&ada, &one, "key", &body)).await;
    let other = ada.create_room(&one, "Pond", "private").await;
    let added = change(&ada, &format!("{one}/v1/rooms/{other}/members"), json!({ "user": bob.user })).await;
    let left = change(&bob, &format!("{one}/v1/rooms/{room}/leave"), Value::Null).await;
    for socket in &mut bobs {
        let first = socket.until(|frame| frame["t"] == "eph").await;
        assert_eq!(first["membership"]["room"], json!(room), "{first}");
        for expected in [json!({ "room": other, "seq": added }), json!({ "room": room, "seq": left })] {
            let notice = socket.until(|frame| frame["t"] == "eph").await;
            assert_eq!(notice, json!({ "t": "eph", "membership": expected }));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_hears_everything_from_joining_on_and_nothing_after_leaving() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    let talking = tokio::spawn({
        let (ada, one) = (ada.clone(), one.clone());
        async move {
            let mut socket = ada.connect(&one).await;
            for n in 0..200 {
                assert_eq!(socket.post(room, &format!("{n}")).await["t"], "ok");
            }
        }
    });
    for front in [&one, &two, &one] {
        let joined = change(&bob, &format!("{front}/v1/rooms/{room}/join"), Value::Null).await;
        let mut socket = bob.connect(&two).await;
        let answer = socket.subscribe(room, json!({ "after": joined })).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        let left = change(&bob, &format!("{one}/v1/rooms/{room}/leave"), Value::Null).await;
        let mut last = joined;
        while last < left {
            let event = socket.until(|frame| frame["t"] == "ev").await;
            let prev = event["prev"].as_u64().unwrap();
            assert!(prev == last || prev == 0, "{event} after {last}");
            last = event["seq"].as_u64().unwrap();
        }
        assert_eq!(last, left, "the last thing one hears is that one left");
        // A message that certainly came after, and a round trip through the same front.
        let mut adas = ada.connect(&two).await;
        adas.subscribe(room, json!({})).await;
        let seq = adas.post(room, "behind the back").await["seq"].clone();
        adas.until(|frame| frame["t"] == "ev" && frame["seq"] == seq).await;
        socket.assert_none(|frame| frame["t"] == "ev").await;
        let refused = socket.subscribe(room, json!({ "after": joined })).await;
        assert_eq!(refused["code"], ErrorCode::NotMember.number());
    }
    talking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_a_room_that_fell_idle_meanwhile_can_speak_at_once() {
    let site = Site::builder().set("ROOM_IDLE_SECS", 1).start().await;
    let front = site.front().await.url();
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    bob.join(&front, room).await;
    let mut socket = bob.connect(&front).await;
    socket.subscribe(room, json!({})).await;
    change(&bob, &format!("{front}/v1/rooms/{room}/leave"), Value::Null).await;
    eventually("nobody to serve the room", async || {
        let connections = format!("{}/connz?subs=1", site.nats.monitor_url());
        let connections = site.http.get(connections).send().await.ok()?.text().await.ok()?;
        (!connections.contains(&room.to_string())).then_some(())
    })
    .await;
    bob.join(&front, room).await;
    let answer = socket.post(room, "back again").await;
    assert_eq!(answer["t"], "ok", "{answer}");
    let mut follower = Follower::new(ada, &[front], &[room]);
    follower.run_until("the message", |f| f.rooms[&room].messages().len() == 1).await;
}
