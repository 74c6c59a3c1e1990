//! What people keep for themselves: the same on all devices, on all fronts, live, resumed and made again.

use natterjack_domain::{EventId, MessageId, RoomId, Visibility, room};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_testkit::{Account, Site, Socket, eventually};
use natterjack_wire::{ErrorCode, Fact};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::told;

async fn put(account: &Account, url: &str, body: Value) -> Value {
    let (status, answer) = account.ask(Method::PUT, url, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// What the account gets from `path`, once it reflects what was answered to a change.
async fn got(account: &Account, front: &str, path: &str, changed: &Value) -> Value {
    let seq = changed["position"]["seq"].as_u64().unwrap();
    let sign = if path.contains('?') { '&' } else { '?' };
    let (status, answer) = account.get(&format!("{front}/v1/{path}{sign}at_least={seq}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn summary(account: &Account, front: &str, room: RoomId) -> Value {
    let (status, answer) = account.get(&format!("{front}/v1/rooms/{room}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn say(socket: &mut Socket, room: RoomId, more: Value) -> (u64, MessageId) {
    let id = socket.request_id();
    let mut frame =
        json!({ "t": "send", "id": id, "room": room, "cid": natterjack_domain::ClientId::random() });
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let ok = socket.ask(frame).await;
    assert_eq!(ok["t"], "ok", "{ok}");
    (ok["seq"].as_u64().unwrap(), ok["mid"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_is_set_back_on_all_devices_and_reading_goes_on_from_there() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    bob.join(&one, room).await;
    let mut writer = ada.connect(&one).await;
    let mut said = vec![];
    for n in 0..4 {
        said.push(say(&mut writer, room, json!({ "body": format!("{n}") })).await);
    }
    let (mut phone, mut laptop) = (bob.connect(&one).await, bob.another(&two).await.connect(&two).await);
    let read = |seq: u64| json!({ "t": "read", "room": room, "seq": seq });
    phone.send(&read(said[3].0)).await.unwrap();
    told(&mut laptop, "user.read").await;
    told(&mut phone, "user.read").await;

    site.projected().await;
    let url = format!("{two}/v1/rooms/{room}/unread");
    let (status, changed) = bob.post(&url, json!({ "seq": said[0].0 })).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(told(&mut phone, "user.marked_unread").await["seq"], said[0].0);
    assert_eq!(told(&mut laptop, "user.marked_unread").await["seq"], said[0].0);
    eventually("the mark to be back", async || {
        let now = summary(&bob, &one, room).await;
        let first = json!({ "seq": said[1].0, "mid": said[1].1 });
        ((&now["unread"], &now["read_seq"], &now["first_unread"]) == (&json!(3), &json!(said[0].0), &first))
            .then_some(())
    })
    .await;

    // The phone had read further before, and reads again what is unread now.
    phone.send(&read(said[2].0)).await.unwrap();
    assert_eq!(told(&mut laptop, "user.read").await["seq"], said[2].0);
    eventually("one to be left", async || (summary(&bob, &two, room).await["unread"] == 1).then_some(()))
        .await;

    let (status, all) = bob.post(&format!("{one}/v1/rooms/read"), Value::Null).await;
    assert_eq!((status, &all["rooms"]), (StatusCode::OK, &json!(1)));
    assert_eq!(told(&mut laptop, "user.read").await["seq"], said[3].0);
    site.projected().await;
    let now = summary(&bob, &one, room).await;
    assert_eq!((&now["unread"], &now["first_unread"]), (&json!(0), &Value::Null));
    assert_eq!(bob.post(&format!("{one}/v1/rooms/read"), Value::Null).await.1["rooms"], 0);

    let (_, error) = site.register(&one, "eve").await.post(&url, json!({ "seq": 1 })).await;
    assert_eq!(error["code"], ErrorCode::NotMember.number());
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mentions_are_counted_until_they_are_read() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut writer = ada.connect(&front).await;
    say(&mut writer, room, json!({ "body": "before", "mentions": { "all": true } })).await;
    bob.join(&front, room).await;
    say(&mut writer, room, json!({ "body": "plain" })).await;
    let named = json!({ "body": "you", "mentions": { "users": [bob.user] } });
    let (seq, _) = say(&mut writer, room, named).await;
    say(&mut writer, room, json!({ "body": "all", "mentions": { "all": true } })).await;
    site.projected().await;
    let counts = async || {
        let now = summary(&bob, &front, room).await;
        (now["unread"].as_u64().unwrap(), now["mentions"].as_u64().unwrap())
    };
    assert_eq!(counts().await, (3, 2));
    let mut socket = bob.connect(&front).await;
    socket.send(&json!({ "t": "read", "room": room, "seq": seq })).await.unwrap();
    eventually("the name to be read", async || (counts().await == (1, 1)).then_some(())).await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_the_same_everywhere() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let mut laptop = ada.another(&two).await.connect(&two).await;
    site.projected().await;
    assert_eq!(summary(&ada, &one, room).await["notify"], "all");

    let path = format!("rooms/{room}/notifications");
    let changed = put(&ada, &format!("{one}/v1/{path}"), json!({ "level": "mentions" })).await;
    assert_eq!(told(&mut laptop, "user.notify_changed").await["level"], "mentions");
    assert_eq!(got(&ada, &two, &path, &changed).await["level"], "mentions");
    assert_eq!(summary(&ada, &one, room).await["notify"], "mentions");

    let url = format!("{one}/v1/me/do-not-disturb");
    let quiet = json!({
        "zone": "Europe/Berlin",
        "hours": [{ "day": 5, "from_min": 1_320, "to_min": 420 }],
        "until": 1_795_197_600_000_u64,
    });
    let changed = put(&ada, &url, quiet.clone()).await;
    assert_eq!(told(&mut laptop, "user.dnd_changed").await["dnd"], quiet);
    let mut now = got(&ada, &two, "me/do-not-disturb", &changed).await;
    now.as_object_mut().unwrap().remove("as_of");
    assert_eq!(now, quiet);
    for bad in [
        json!({ "zone": "Mars/Olympus", "hours": [] }),
        json!({ "hours": [{ "day": 1, "from_min": 0, "to_min": 60 }] }),
        json!({ "zone": "UTC", "hours": [{ "day": 8, "from_min": 0, "to_min": 60 }] }),
    ] {
        let (_, error) = ada.ask(Method::PUT, &url, Some(bad)).await;
        assert_eq!(error["code"], ErrorCode::QuietInvalid.number(), "{error}");
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_goes_on_where_it_was_left_and_the_last_one_counts() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let (mut phone, mut laptop) = (ada.connect(&one).await, ada.another(&two).await.connect(&two).await);
    let draft = |body: &str| json!({ "t": "draft", "room": room, "body": body });
    for body in ["h", "he", "hel", "hell", "hello"] {
        phone.send(&draft(body)).await.unwrap();
    }
    assert_eq!(told(&mut laptop, "user.draft_saved").await["body"], "h", "at once");
    assert_eq!(told(&mut laptop, "user.draft_saved").await["body"], "hello", "and the last, in one");
    site.projected().await;
    let (_, drafts) = ada.get(&format!("{two}/v1/drafts")).await;
    let items = drafts["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["room"], &items[0]["body"]), (1, &json!(room), &json!("hello")));

    // Nobody waits for the last words of a connection that ends.
    phone.send(&draft("hello wor")).await.unwrap();
    phone.send(&draft("hello world")).await.unwrap();
    phone.send(&json!({ "t": "ping", "n": 77 })).await.unwrap();
    phone.until(|frame| frame["t"] == "ok" && frame["id"] == 77).await;
    drop(phone);
    laptop.until(|f| f["e"]["type"] == "user.draft_saved" && f["e"]["body"] == "hello world").await;
    laptop.send(&draft("")).await.unwrap();
    laptop.until(|f| f["e"]["type"] == "user.draft_saved" && f["e"]["body"].is_null()).await;
    site.projected().await;
    assert_eq!(ada.get(&format!("{one}/v1/drafts")).await.1["items"], json!([]));

    laptop.send(&draft(&"x".repeat(8_001))).await.unwrap();
    let error = laptop.until(|frame| frame["t"] == "err").await;
    assert_eq!(error["code"], ErrorCode::MessageTooLong.number());
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_messages_are_shown_as_they_are_now_to_who_may_read_them() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    bob.join(&front, room).await;
    let mut writer = ada.connect(&front).await;
    let (_, first) = say(&mut writer, room, json!({ "body": "first" })).await;
    let (_, second) = say(&mut writer, room, json!({ "body": "second" })).await;
    site.projected().await;
    let url = |mid: MessageId| format!("{front}/v1/saved/{mid}");
    let mut tablet = bob.connect(&front).await;
    put(&bob, &url(first), Value::Null).await;
    let changed = put(&bob, &url(second), Value::Null).await;
    assert_eq!(told(&mut tablet, "user.message_saved").await["mid"], json!(first));
    let edit = json!({ "t": "edit", "id": 9, "room": room, "mid": first, "cid": natterjack_domain::ClientId::random(), "body": "better" });
    assert_eq!(writer.ask(edit).await["t"], "ok");
    site.projected().await;
    let page = got(&bob, &front, "saved?limit=1", &changed).await;
    assert_eq!(page["items"][0]["message"]["body"], "second");
    let next = page["next"].as_str().unwrap();
    let (_, page) = bob.get(&format!("{front}/v1/saved?cursor={next}")).await;
    assert_eq!((&page["items"][0]["message"]["body"], &page["next"]), (&json!("better"), &Value::Null));

    let (status, changed) = bob.ask(Method::DELETE, &url(second), None).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let left = got(&bob, &front, "saved", &changed).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    bob.post(&format!("{front}/v1/rooms/{room}/leave"), Value::Null).await;
    site.projected().await;
    assert_eq!(bob.get(&format!("{front}/v1/saved")).await.1["items"], json!([]));

    let eve = site.register(&front, "eve").await;
    for mid in [first, MessageId::random()] {
        let (status, error) = eve.ask(Method::PUT, &url(mid), None).await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::NOT_FOUND, &json!(ErrorCode::MessageNotFound.number()))
        );
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_read_a_message_is_shown_and_told_in_rooms_that_are_not_too_large() {
    let site = Site::builder().set("RECEIPTS_MEMBERS_MAX", 3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let (eve, dan) = (site.register(&one, "eve").await, site.register(&one, "dan").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    bob.join(&one, room).await;
    eve.join(&one, room).await;
    let mut writer = ada.connect(&one).await;
    writer.subscribe(room, json!({})).await;
    let (first, mid) = say(&mut writer, room, json!({ "body": "one" })).await;
    let (second, _) = say(&mut writer, room, json!({ "body": "two" })).await;
    let (mut reader, mut other) = (bob.connect(&two).await, eve.connect(&two).await);
    reader.send(&json!({ "t": "read", "room": room, "seq": first })).await.unwrap();
    reader.send(&json!({ "t": "read", "room": room, "seq": second })).await.unwrap();
    let seen = writer.until(|frame| frame["reads"].is_array()).await;
    assert_eq!(seen, json!({ "t": "eph", "room": room, "reads": [{ "user": bob.user, "seq": second }] }));
    other.send(&json!({ "t": "read", "room": room, "seq": first })).await.unwrap();
    let url = |mid: MessageId| format!("{one}/v1/messages/{mid}/seen");
    eventually("both to be seen", async || {
        let (_, seen) = ada.get(&url(mid)).await;
        (seen["items"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let (_, page) = ada.get(&format!("{}?limit=1", url(mid))).await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = ada.get(&format!("{}?limit=1&cursor={next}", url(mid))).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_ne!(page["items"][0]["user"], rest["items"][0]["user"]);

    assert_eq!(dan.get(&url(mid)).await.1["code"], ErrorCode::MessageNotFound.number());
    dan.join(&one, room).await;
    let (status, error) = ada.get(&url(mid)).await;
    assert_eq!((status, &error["code"]), (StatusCode::CONFLICT, &json!(ErrorCode::ReceiptsOff.number())));
    other.send(&json!({ "t": "read", "room": room, "seq": second })).await.unwrap();
    told(&mut other, "user.read").await;
    say(&mut writer, room, json!({ "body": "three" })).await;
    writer.assert_none(|frame| frame["reads"].is_array()).await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_are_followed_by_who_writes_is_named_or_says_so() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let (eve, dan) = (site.register(&one, "eve").await, site.register(&one, "dan").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    for account in [&bob, &eve, &dan] {
        account.join(&one, room).await;
    }
    let (mut writer, mut reader) = (ada.connect(&one).await, bob.connect(&two).await);
    let (_, root) = say(&mut writer, room, json!({ "body": "a question" })).await;
    let (first, _) = say(&mut reader, room, json!({ "body": "an answer", "thread": root })).await;
    let named = json!({ "body": "what do you say?", "thread": root, "mentions": { "users": [eve.user] } });
    say(&mut writer, room, named).await;
    site.projected().await;
    let threads = async |account: &Account| {
        let (status, list) = account.get(&format!("{two}/v1/threads")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let unread = list["items"].as_array().unwrap().iter().map(|item| {
            assert_eq!(item["root"]["id"], json!(root));
            item["unread"].as_u64().unwrap()
        });
        unread.collect::<Vec<_>>()
    };
    assert_eq!((threads(&bob).await, threads(&eve).await), (vec![2], vec![2]));
    assert!(threads(&dan).await.is_empty());

    reader.send(&json!({ "t": "read", "room": room, "thread": root, "seq": first })).await.unwrap();
    assert_eq!(told(&mut reader, "user.thread_read").await["thread"], json!(root));
    let url = format!("{one}/v1/rooms/{room}/threads/{root}/follow");
    put(&dan, &url, Value::Null).await;
    assert_eq!(eve.ask(Method::DELETE, &url, None).await.0, StatusCode::OK);
    site.projected().await;
    let all = [threads(&bob).await, threads(&eve).await, threads(&dan).await];
    assert_eq!(all, [vec![1], vec![], vec![2]]);
    let (status, _) = dan.post(&format!("{one}/v1/rooms/{room}/leave"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    site.projected().await;
    assert!(threads(&dan).await.is_empty());
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

/// A room of two, by the log's own word.
async fn between(site: &Site, one: &Account, other: &Account) -> RoomId {
    let room = RoomId::random();
    let members = vec![one.user, other.user];
    let visibility = Visibility::Private;
    let created =
        room::Event::Created { by: one.user, kind: room::Kind::Direct, name: None, visibility, members };
    let new = NewEvent::new(Subject::state(room), EventId::random(), &Fact::Room(created));
    site.log().await.append(new).await.unwrap();
    room
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_room_of_two_each_sees_what_has_reached_the_other() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let room = between(&site, &ada, &bob).await;
    let (mut writer, mut reader) = (ada.connect(&one).await, bob.connect(&two).await);
    writer.subscribe(room, json!({})).await;
    let mut said = vec![];
    for n in 0..5 {
        said.push(say(&mut writer, room, json!({ "body": format!("{n}") })).await.0);
    }
    for seq in &said {
        reader.send(&json!({ "t": "delivered", "room": room, "seq": seq })).await.unwrap();
    }
    let reached = |seq: u64| json!([{ "user": bob.user, "seq": seq }]);
    let first = writer.until(|frame| frame["delivered"].is_array()).await;
    assert_eq!(first["delivered"], reached(said[0]), "at once");
    let last = writer.until(|frame| frame["delivered"].is_array()).await;
    assert_eq!(last["delivered"], reached(said[4]), "and the last, in one");
    assert_eq!(told(&mut reader, "user.delivered").await["seq"], said[0]);
    assert_eq!(told(&mut reader, "user.delivered").await["seq"], said[4]);
    reader.send(&json!({ "t": "read", "room": room, "seq": said[1] })).await.unwrap();
    let read = writer.until(|frame| frame["reads"].is_array()).await;
    assert_eq!(read["reads"], reached(said[1]));
    eventually("it to be shown", async || {
        let now = summary(&ada, &one, room).await;
        let shown = (now["other_read_seq"].as_u64(), now["other_delivered_seq"].as_u64());
        (shown == (Some(said[1]), Some(said[4]))).then_some(())
    })
    .await;
    let pond = ada.create_room(&one, "Pond", "public").await;
    writer.send(&json!({ "t": "delivered", "room": pond, "seq": 1 })).await.unwrap();
    let error = writer.until(|frame| frame["t"] == "err").await;
    assert_eq!(error["code"], ErrorCode::NotDirect.number());
    site.projected().await;
    assert!(summary(&ada, &one, pond).await["other_read_seq"].is_null());
    site.assert_replay_is_equal().await;
    projector.stop().await;
}
