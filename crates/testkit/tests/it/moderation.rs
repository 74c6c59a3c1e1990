//! Rooms with roles: who may do what to whom, on whichever front, and what becomes of it in the read models.

use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Site, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::in_ms;

/// A request that is granted; gives the sequence of the change.
async fn put(account: &Account, method: Method, url: &str, body: Value) -> u64 {
    let (status, answer) = account.ask(method, url, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{url}: {answer}");
    answer["position"]["seq"].as_u64().unwrap()
}

async fn code(account: &Account, method: Method, url: &str, body: Value) -> ErrorCode {
    refused(account.request(method, url).json(&body)).await
}

struct Marsh {
    site: Site,
    one: String,
    two: String,
    ada: Account,
    bob: Account,
    eve: Account,
    room: RoomId,
    _projector: natterjack_testkit::Projector,
}

impl Marsh {
    /// Ada owns it, Bob moderates it, Eve is a member.
    async fn new() -> Self {
        let site = Site::builder().start().await;
        let (one, two, projector) =
            (site.front().await.url(), site.front().await.url(), site.projector().await);
        let ada = site.register(&one, "ada").await;
        let (bob, eve) = (site.register(&two, "bob").await, site.register(&two, "eve").await);
        let room = ada.create_room(&one, "Marsh", "public").await;
        bob.join(&two, room).await;
        eve.join(&two, room).await;
        let url = format!("{one}/v1/rooms/{room}/members/{}/role", bob.user);
        put(&ada, Method::PUT, &url, json!({ "role": "moderator" })).await;
        Self { site, one, two, ada, bob, eve, room, _projector: projector }
    }

    fn at(&self, front: &str, path: &str) -> String {
        format!("{front}/v1/rooms/{}{path}", self.room)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_given_from_above_and_a_room_is_handed_over() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    let role = |front: &str, user: &Account| marsh.at(front, &format!("/members/{}/role", user.user));
    assert_eq!(
        code(bob, Method::PUT, &role(two, eve), json!({ "role": "moderator" })).await,
        ErrorCode::RoleTooLow
    );
    assert_eq!(
        code(eve, Method::PATCH, &marsh.at(two, ""), json!({ "name": "Pond" })).await,
        ErrorCode::RoleTooLow
    );
    assert_eq!(code(ada, Method::POST, &marsh.at(one, "/leave"), Value::Null).await, ErrorCode::LastOwner);
    let mut socket = eve.connect(two).await;
    socket.subscribe(marsh.room, json!({})).await;
    put(ada, Method::PUT, &role(one, eve), json!({ "role": "owner" })).await;
    let event = socket.until(|frame| frame["t"] == "ev").await;
    assert_eq!((&event["e"]["type"], &event["e"]["role"]), (&json!("room.role_changed"), &json!("owner")));
    socket.until(|frame| frame["membership"]["room"] == json!(marsh.room)).await;
    let left = put(ada, Method::POST, &marsh.at(one, "/leave"), Value::Null).await;
    let (_, members) = eve.get(&marsh.at(two, &format!("/members?at_least={left}"))).await;
    let roles: Vec<_> =
        members["items"].as_array().unwrap().iter().map(|m| (&m["username"], &m["role"])).collect();
    assert_eq!(roles, [(&json!("bob"), &json!("moderator")), (&json!("eve"), &json!("owner"))]);
    let (_, summary) = eve.get(&marsh.at(two, "")).await;
    assert_eq!((&summary["owner"], &summary["role"]), (&json!(eve.user), &json!("owner")));
    marsh.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_described_and_what_was_done_stands_in_its_history_and_its_audit() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    let mut socket = eve.connect(two).await;
    socket.subscribe(marsh.room, json!({})).await;
    let said = socket.post(marsh.room, "before").await["seq"].as_u64().unwrap();
    let change = json!({ "name": "Pond", "topic": "frogs", "description": "a\nb", "avatar": "frog-1", "members_max": 9 });
    let changed = put(ada, Method::PATCH, &marsh.at(one, ""), change).await;
    let event = socket.until(|frame| frame["e"]["type"] == "room.changed").await;
    assert_eq!((&event["e"]["name"], &event["e"]["topic"]), (&json!("Pond"), &json!("frogs")));
    let (_, summary) = eve.get(&marsh.at(two, &format!("?at_least={changed}"))).await;
    for (field, value) in [
        ("name", json!("Pond")),
        ("topic", json!("frogs")),
        ("avatar", json!("frog-1")),
        ("members_max", json!(9)),
    ] {
        assert_eq!(summary[field], value, "{field}");
    }
    // A page begins with its oldest message; the notices before that belong to the page before.
    let (_, all) = eve.get(&marsh.at(two, &format!("/messages?at_least={changed}"))).await;
    let types = |page: &Value| {
        let notices = page["notices"].as_array().unwrap().iter();
        notices.map(|notice| notice["e"]["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let joined = "room.member_joined".to_owned();
    let expected =
        ["room.created".into(), joined.clone(), joined, "room.role_changed".into(), "room.changed".into()];
    assert_eq!(types(&all), expected);
    assert!(all["notices"][4]["seq"].as_u64().unwrap() > said);
    let after = socket.post(marsh.room, "after").await["seq"].as_u64().unwrap();
    let (_, newest) = eve.get(&marsh.at(two, &format!("/messages?limit=1&at_least={after}"))).await;
    assert_eq!(types(&newest), Vec::<String>::new());
    let next = newest["next"].as_str().unwrap();
    let (_, oldest) = eve.get(&marsh.at(two, &format!("/messages?limit=1&cursor={next}"))).await;
    assert_eq!(types(&oldest), expected);

    let (_, audit) = bob.get(&marsh.at(one, "/audit?limit=2")).await;
    let items = audit["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["e"]["by"], &items[0]["e"]["topic"]),
        (2, &json!(ada.user), &json!("frogs"))
    );
    assert_eq!(
        (&items[1]["e"]["type"], &items[1]["e"]["user"]),
        (&json!("room.role_changed"), &json!(bob.user))
    );
    let next = audit["next"].as_str().unwrap();
    let (_, more) = bob.get(&marsh.at(one, &format!("/audit?cursor={next}"))).await;
    assert_eq!((more["items"].as_array().unwrap().len(), more["next"].is_null()), (3, true));
    assert_eq!(refused(eve.request(Method::GET, &marsh.at(two, "/audit"))).await, ErrorCode::RoleTooLow);
    for (bad, expected) in [
        (json!({ "name": " " }), ErrorCode::RoomNameInvalid),
        (json!({ "topic": "a\nb" }), ErrorCode::RoomTextInvalid),
        (json!({ "avatar": "http://frog" }), ErrorCode::RoomTextInvalid),
        (json!({ "slow_mode_s": 4_000_000 }), ErrorCode::RoomSettingInvalid),
        (json!({ "members_max": 1 }), ErrorCode::RoomSettingInvalid),
        (json!({ "colour": "green" }), ErrorCode::RequestInvalid),
    ] {
        assert_eq!(code(ada, Method::PATCH, &marsh.at(one, ""), bad.clone()).await, expected, "{bad}");
    }
    marsh.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_muted_reads_and_cannot_speak_until_then() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    let mut socket = eve.connect(two).await;
    socket.subscribe(marsh.room, json!({})).await;
    let mute = |user: &Account| marsh.at(one, &format!("/mutes/{}", user.user));
    assert_eq!(code(bob, Method::PUT, &mute(ada), json!({})).await, ErrorCode::RankTooLow);
    let forever = json!({ "until": in_ms(3_600_000), "reason": "spam" });
    let muted = put(bob, Method::PUT, &mute(eve), forever).await;
    let event = socket.until(|frame| frame["e"]["type"] == "room.member_muted").await;
    assert_eq!(event["e"]["reason"], "spam");
    assert_eq!(socket.post(marsh.room, "I say").await["code"], ErrorCode::Muted.number());
    let (_, list) = bob.get(&marsh.at(one, &format!("/mutes?at_least={muted}"))).await;
    assert_eq!((&list["items"][0]["username"], &list["items"][0]["reason"]), (&json!("eve"), &json!("spam")));
    assert_eq!(list["items"][0]["by"], json!(bob.user));
    let soon = json!({ "until": in_ms(300) });
    put(bob, Method::PUT, &mute(eve), soon).await;
    eventually("the mute to be over", async || {
        (socket.post(marsh.room, "again").await["t"] == "ok").then_some(())
    })
    .await;
    put(bob, Method::PUT, &mute(eve), json!({})).await;
    eventually("her to be muted", async || (socket.post(marsh.room, "x").await["t"] == "err").then_some(()))
        .await;
    put(bob, Method::DELETE, &mute(eve), Value::Null).await;
    eventually("her not to be", async || (socket.post(marsh.room, "x").await["t"] == "ok").then_some(()))
        .await;
    marsh.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_is_out_and_stays_out() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    let mut socket = eve.connect(two).await;
    socket.subscribe(marsh.room, json!({})).await;
    let ban = |user: &Account| marsh.at(one, &format!("/bans/{}", user.user));
    assert_eq!(code(bob, Method::PUT, &ban(ada), json!({})).await, ErrorCode::RankTooLow);
    assert_eq!(code(eve, Method::PUT, &ban(bob), json!({})).await, ErrorCode::RoleTooLow);
    let banned = put(bob, Method::PUT, &ban(eve), json!({ "reason": "spam" })).await;
    let event = socket.until(|frame| frame["t"] == "ev").await;
    assert_eq!(event["e"]["type"], "room.member_banned");
    ada.connect(one).await.post(marsh.room, "she must not know").await;
    socket.assert_none(|frame| frame["t"] == "ev").await;
    let join = |front: &str| marsh.at(front, "/join");
    assert_eq!(code(eve, Method::POST, &join(two), Value::Null).await, ErrorCode::Banned);
    let add = json!({ "user": eve.user });
    assert_eq!(code(ada, Method::POST, &marsh.at(one, "/members"), add).await, ErrorCode::Banned);
    let (_, list) = bob.get(&marsh.at(two, &format!("/bans?at_least={banned}"))).await;
    assert_eq!((&list["items"][0]["id"], list["items"].as_array().unwrap().len()), (&json!(eve.user), 1));
    let (_, rooms) = eve.get(&format!("{two}/v1/rooms?at_least={}@{banned}", marsh.room)).await;
    assert_eq!(rooms["items"], json!([]));
    put(bob, Method::DELETE, &ban(eve), Value::Null).await;
    eve.join(two, marsh.room).await;
    marsh.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_slow_mode_a_member_waits_on_every_front_and_a_moderator_does_not() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    put(ada, Method::PATCH, &marsh.at(one, ""), json!({ "slow_mode_s": 3600 })).await;
    let (mut here, mut there, mut bobs) =
        (eve.connect(one).await, eve.connect(two).await, bob.connect(two).await);
    for socket in [&mut here, &mut there] {
        socket.subscribe(marsh.room, json!({})).await;
    }
    let send = |cid: &str| json!({ "t": "send", "id": 7, "room": marsh.room, "cid": cid, "body": "slowly" });
    let cid = "018f3c1e-7a00-7000-8000-000000000001";
    let first = here.ask(send(cid)).await;
    assert_eq!(first["t"], "ok", "{first}");
    there.until(|frame| frame["e"]["type"] == "message.posted").await;
    let answer = there.post(marsh.room, "too soon").await;
    assert_eq!(answer["code"], ErrorCode::SlowMode.number(), "{answer}");
    assert!(answer["retry_ms"].as_u64().is_some_and(|ms| ms > 3_000_000), "{answer}");
    // A repeat is no other message.
    assert_eq!(there.ask(send(cid)).await["mid"], first["mid"]);
    for _ in 0..2 {
        assert_eq!(bobs.post(marsh.room, "quickly").await["t"], "ok");
    }
    // A front that has not served the room yet knows as well.
    marsh.site.projected().await;
    let three = marsh.site.front().await.url();
    assert_eq!(
        eve.connect(&three).await.post(marsh.room, "elsewhere").await["code"],
        ErrorCode::SlowMode.number()
    );
    put(ada, Method::PATCH, &marsh.at(one, ""), json!({ "slow_mode_s": 0, "read_only": true })).await;
    eventually("the room to be read-only", async || {
        (here.post(marsh.room, "x").await["code"] == ErrorCode::RoomReadOnly.number()).then_some(())
    })
    .await;
    assert_eq!(bobs.post(marsh.room, "I may").await["t"], "ok");
    marsh.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archived_room_can_be_read_and_a_deleted_one_is_gone() {
    let marsh = Marsh::new().await;
    let Marsh { one, two, ada, bob, eve, .. } = &marsh;
    let mut socket = eve.connect(two).await;
    socket.subscribe(marsh.room, json!({})).await;
    socket.post(marsh.room, "kept").await;
    assert_eq!(code(bob, Method::POST, &marsh.at(two, "/archive"), Value::Null).await, ErrorCode::RoleTooLow);
    let archived = put(ada, Method::POST, &marsh.at(one, "/archive"), Value::Null).await;
    socket.until(|frame| frame["e"]["type"] == "room.archived").await;
    assert_eq!(socket.post(marsh.room, "too late").await["code"], ErrorCode::RoomArchived.number());
    let (_, page) = eve.get(&marsh.at(two, &format!("/messages?at_least={archived}"))).await;
    assert_eq!(page["items"][0]["body"], "kept");
    let (_, public) = eve.get(&format!("{two}/v1/rooms/public")).await;
    assert_eq!(public["items"], json!([]), "nobody can join it");
    let restored = put(ada, Method::POST, &marsh.at(one, "/restore"), Value::Null).await;
    let (_, public) = eve.get(&format!("{two}/v1/rooms/public")).await;
    let _ = (restored, public);
    socket.until(|frame| frame["e"]["type"] == "room.restored").await;
    assert_eq!(socket.post(marsh.room, "again").await["t"], "ok");

    assert_eq!(code(bob, Method::DELETE, &marsh.at(two, ""), Value::Null).await, ErrorCode::RoleTooLow);
    put(ada, Method::DELETE, &marsh.at(one, ""), Value::Null).await;
    socket.until(|frame| frame["e"]["type"] == "room.deleted").await;
    let reset = socket.until(|frame| frame["t"] == "reset").await;
    assert_eq!((&reset["room"], &reset["reason"]), (&json!(marsh.room), &json!("not_member")));
    socket.until(|frame| frame["membership"]["room"] == json!(marsh.room)).await;
    marsh.site.projected().await;
    for account in [ada, eve] {
        for path in ["", "/messages", "/members", "/events", "/audit", "/bans", "/invites"] {
            let request = account.request(Method::GET, &marsh.at(two, path));
            assert_eq!(refused(request).await, ErrorCode::RoomNotFound, "GET {path}");
        }
        let (_, rooms) = account.get(&format!("{two}/v1/rooms")).await;
        assert_eq!(rooms["items"], json!([]));
    }
    assert_eq!(code(eve, Method::POST, &marsh.at(two, "/join"), Value::Null).await, ErrorCode::RoomNotFound);
    marsh.site.assert_replay_is_equal().await;
}
