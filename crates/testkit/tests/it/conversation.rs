//! What a message bears besides its words, and what is done to it: over frames and over REST, live on another front, in
//! history, and the same after a replay.

use natterjack_domain::{AttachmentId, ClientId, MessageId, RoomId, UserId};
use natterjack_testkit::{Account, Projector, Site, Socket, answer};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::assert_code;

/// Ada, who owns a room, and Bob, who is in it; each is connected to a front of their own.
struct Talk {
    site: Site,
    projector: Projector,
    one: String,
    two: String,
    room: RoomId,
    ada: Account,
    bob: Account,
    adas: Socket,
    bobs: Socket,
}

impl Talk {
    async fn begin() -> Self {
        Self::on(Site::builder().start().await).await
    }

    async fn on(site: Site) -> Self {
        let (one, two) = (site.front().await.url(), site.front().await.url());
        let projector = site.projector().await;
        let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
        let room = ada.create_room(&one, "Marsh", "public").await;
        bob.join(&two, room).await;
        let (adas, mut bobs) = (ada.connect(&one).await, bob.connect(&two).await);
        bobs.subscribe(room, json!({})).await;
        Self { site, projector, one, two, room, ada, bob, adas, bobs }
    }

    /// What Ada asks for by a frame.
    async fn ada(&mut self, kind: &str, fields: Value) -> Value {
        let frame = frame(kind, self.room, fields);
        self.adas.ask(frame).await
    }

    async fn bob(&mut self, kind: &str, fields: Value) -> Value {
        let frame = frame(kind, self.room, fields);
        self.bobs.ask(frame).await
    }

    /// Ada says something; gives its id.
    async fn says(&mut self, body: &str) -> Value {
        let sent = self.ada("send", json!({ "body": body })).await;
        assert_eq!(sent["t"], "ok", "{sent}");
        sent["mid"].clone()
    }

    /// Bob sees the event with this sequence live, over the other front.
    async fn bob_sees(&mut self, seq: &Value) -> Value {
        assert!(seq.is_u64(), "{seq}");
        self.bobs.until(|frame| frame["t"] == "ev" && frame["seq"] == *seq).await["e"].clone()
    }

    /// What Bob gets once the read models hold all that was said.
    async fn bob_reads(&self, path: &str) -> Value {
        self.site.projected().await;
        let (status, body) = self.bob.get(&format!("{}{path}", self.two)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn history(&self, query: &str) -> Value {
        self.bob_reads(&format!("/v1/rooms/{}/messages{query}", self.room)).await
    }

    async fn message(&self, mid: &Value) -> Value {
        self.bob_reads(&format!("/v1/messages/{}", text(mid))).await
    }

    async fn end(self) {
        self.site.assert_replay_is_equal().await;
        self.projector.stop().await;
    }
}

fn frame(kind: &str, room: RoomId, mut fields: Value) -> Value {
    let mut frame = json!({ "t": kind, "id": 7, "room": room, "cid": ClientId::random() });
    for (name, value) in fields.as_object_mut().unwrap() {
        frame[name] = value.take();
    }
    frame
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

fn bodies(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap_or("-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_stands_apart_from_its_room() {
    let mut talk = Talk::begin().await;
    let root = talk.says("root").await;
    let reply = talk.bob("send", json!({ "body": "first reply", "thread": root })).await;
    let seen = talk.bob_sees(&reply["seq"]).await;
    assert_eq!((&seen["thread"], &seen["type"]), (&root, &json!("message.posted")));
    let second = talk.ada("send", json!({ "body": "second reply", "thread": root })).await;
    let next = talk.says("next").await;

    let branch = talk.ada("send", json!({ "body": "x", "thread": reply["mid"] })).await;
    assert_code(&branch, ErrorCode::ThreadInvalid);
    let nowhere = talk.ada("send", json!({ "body": "x", "thread": MessageId::random() })).await;
    assert_code(&nowhere, ErrorCode::ThreadInvalid);

    let page = talk.history("").await;
    assert_eq!(bodies(&page), ["root", "next"]);
    let summary = &page["items"][0]["replies"];
    assert_eq!((&summary["count"], &summary["last_seq"]), (&json!(2), &second["seq"]), "{summary}");
    assert_eq!(summary["participants"], json!([talk.bob.user, talk.ada.user]));
    let thread = format!("/v1/rooms/{}/threads/{}", talk.room, text(&root));
    let newest = talk.bob_reads(&format!("{thread}?limit=1")).await;
    assert_eq!((bodies(&newest), &newest["root"]["body"]), (vec!["second reply"], &json!("root")));
    let older = talk.bob_reads(&format!("{thread}?limit=1&cursor={}", text(&newest["next"]))).await;
    assert_eq!((bodies(&older), &older["next"]), (vec!["first reply"], &Value::Null));
    // Who jumps to a reply comes to where its thread began.
    let around = talk.history(&format!("?limit=1&around={}", text(&second["mid"]))).await;
    assert_eq!(bodies(&around), ["root"]);
    let rooms = talk.bob_reads("/v1/rooms").await;
    assert_eq!(rooms["items"][0]["unread"], 2, "replies are no messages of the room: {rooms}");
    assert_eq!(rooms["items"][0]["last_message"]["body"], "next", "{rooms}");

    talk.ada("send", json!({ "body": "x", "thread": next })).await;
    let threads = format!("/v1/rooms/{}/threads?limit=1", talk.room);
    let last = talk.bob_reads(&threads).await;
    let before = talk.bob_reads(&format!("{threads}&cursor={}", text(&last["next"]))).await;
    assert_eq!((bodies(&last), bodies(&before), &before["next"]), (vec!["next"], vec!["root"], &Value::Null));
    assert_eq!(talk.ada("recall", json!({ "mid": next })).await["t"], "ok");
    assert_code(&talk.ada("send", json!({ "body": "x", "thread": next })).await, ErrorCode::ThreadInvalid);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_are_sets_of_people() {
    let mut talk = Talk::begin().await;
    let mid = talk.says("frogs").await;
    let react = |emoji: &str, on: bool| json!({ "mid": mid, "emoji": emoji, "on": on });
    let first = talk.ada("react", react("👍🏽", true)).await;
    let seen = talk.bob_sees(&first["seq"]).await;
    assert_eq!((&seen["emoji"], &seen["on"], &seen["mid"]), (&json!("👍🏽"), &json!(true), &mid));
    assert_eq!(
        talk.ada("react", react("👍🏽", true)).await,
        json!({ "t": "ok", "id": 7 }),
        "it is there already"
    );
    assert!(talk.bob("react", react("👍🏽", true)).await["seq"].is_u64());
    assert!(talk.ada("react", react(":frog:", true)).await["seq"].is_u64());
    assert_code(&talk.ada("react", react("two words", true)).await, ErrorCode::EmojiInvalid);
    assert_code(
        &talk.ada("react", json!({ "mid": MessageId::random(), "emoji": "x", "on": true })).await,
        ErrorCode::MessageNotFound,
    );

    let both = [talk.ada.user, talk.bob.user];
    let expected = json!([
        { "emoji": "👍🏽", "count": 2, "users": both, "me": true },
        { "emoji": ":frog:", "count": 1, "users": [talk.ada.user], "me": false },
    ]);
    assert_eq!(talk.history("").await["items"][0]["reactions"], expected);
    assert_eq!(talk.message(&mid).await["reactions"], expected);
    // The same over REST.
    let url = format!("{}/v1/messages/{}/reactions/", talk.two, text(&mid));
    let (status, answer) =
        talk.bob.ask(Method::DELETE, &format!("{url}%F0%9F%91%8D%F0%9F%8F%BD"), None).await;
    assert_eq!((status, answer["position"]["seq"].is_u64()), (StatusCode::OK, true), "{answer}");
    let (status, answer) = talk.bob.ask(Method::PUT, &format!("{url}:frog:"), None).await;
    assert_eq!((status, answer["position"]["seq"].is_u64()), (StatusCode::OK, true), "{answer}");
    let reactions = talk.message(&mid).await["reactions"].clone();
    let counts: Vec<_> =
        reactions.as_array().unwrap().iter().map(|r| (text(&r["emoji"]), &r["count"])).collect();
    assert_eq!(counts, [("👍🏽", &json!(1)), (":frog:", &json!(2))]);

    for n in 0..18 {
        assert!(talk.bob("react", react(&format!(":e{n}:"), true)).await["seq"].is_u64());
    }
    assert_code(&talk.bob("react", react(":e18:", true)).await, ErrorCode::TooManyReactions);
    let recalled = talk.ada("recall", json!({ "mid": mid })).await;
    talk.bob_sees(&recalled["seq"]).await;
    assert_code(&talk.bob("react", react(":e0:", true)).await, ErrorCode::MessageRecalled);
    assert!(talk.message(&mid).await["reactions"].is_null());
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_is_known_beyond_the_tail() {
    let mut talk = Talk::on(Site::builder().set("TAIL_EVENTS", 2).start().await).await;
    let mid = talk.says("frogs").await;
    let react = |on: bool| json!({ "mid": mid, "emoji": "🐸", "on": on });
    assert!(talk.ada("react", react(true)).await["seq"].is_u64());
    for n in 0..5 {
        talk.says(&format!("{n}")).await;
    }
    assert!(talk.ada("react", react(true)).await["seq"].is_null(), "it is there already");
    assert!(talk.bob("react", react(false)).await["seq"].is_null(), "it is somebody else's");
    assert!(talk.ada("react", react(false)).await["seq"].is_u64());
    assert!(talk.ada("react", react(false)).await["seq"].is_null(), "it is gone already");
    assert!(talk.message(&mid).await["reactions"].is_null());
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderators_pin_messages_and_what_is_gone_is_not_pinned() {
    let mut talk = Talk::begin().await;
    let (first, second) = (talk.says("first").await, talk.says("second").await);
    assert_code(&talk.bob("pin", json!({ "mid": first })).await, ErrorCode::RoleTooLow);
    let pinned = talk.ada("pin", json!({ "mid": first })).await;
    assert_eq!(talk.bob_sees(&pinned["seq"]).await["type"], "message.pinned");
    assert!(talk.ada("pin", json!({ "mid": first })).await["seq"].is_null(), "it is pinned already");
    let url = format!("{}/v1/messages/{}/pin", talk.one, text(&second));
    let (status, answer) = talk.ada.ask(Method::PUT, &url, None).await;
    assert_eq!((status, answer["position"]["seq"].is_u64()), (StatusCode::OK, true), "{answer}");

    let pins = format!("/v1/rooms/{}/pins", talk.room);
    assert_eq!(bodies(&talk.bob_reads(&pins).await), ["second", "first"]);
    assert_eq!(talk.history("").await["items"][0]["pinned"]["by"], json!(talk.ada.user));
    let unpinned = talk.ada("unpin", json!({ "mid": second })).await;
    assert_eq!(talk.bob_sees(&unpinned["seq"]).await["type"], "message.unpinned");
    assert_eq!(talk.ada("recall", json!({ "mid": first })).await["t"], "ok");
    assert_eq!(bodies(&talk.bob_reads(&pins).await), [""; 0]);
    assert_code(&talk.ada("pin", json!({ "mid": first })).await, ErrorCode::MessageRecalled);

    for n in 0..100 {
        let mid = talk.says(&format!("{n}")).await;
        assert!(talk.ada("pin", json!({ "mid": mid })).await["seq"].is_u64(), "{n}");
    }
    assert_code(&talk.ada("pin", json!({ "mid": second })).await, ErrorCode::TooManyPins);
    assert_eq!(talk.bob_reads(&pins).await["items"].as_array().unwrap().len(), 100);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_mentioned_by_name_and_all_at_once_only_by_some() {
    let mut talk = Talk::begin().await;
    let (ada, bob) = (talk.ada.user, talk.bob.user);
    let mention = |mentions: Value| json!({ "body": "you", "mentions": mentions });
    let sent = talk.bob("send", mention(json!({ "users": [ada, ada] }))).await;
    let seen = talk.bob_sees(&sent["seq"]).await;
    assert_eq!(seen["mentions"], json!({ "users": [ada] }));
    assert_code(&talk.bob("send", mention(json!({ "all": true }))).await, ErrorCode::RoleTooLow);
    assert_code(&talk.bob("send", mention(json!({ "here": true }))).await, ErrorCode::RoleTooLow);
    let stranger = mention(json!({ "users": [UserId::random()] }));
    assert_code(&talk.bob("send", stranger).await, ErrorCode::MentionsInvalid);
    let many: Vec<_> = (0..51).map(|_| UserId::random()).collect();
    assert_code(&talk.bob("send", mention(json!({ "users": many }))).await, ErrorCode::MentionsInvalid);
    assert_code(&talk.bob("send", mention(json!({ "everyone": true }))).await, ErrorCode::FrameMalformed);
    let root = talk.ada("send", mention(json!({ "all": true, "users": [bob] }))).await;
    let mut in_thread = mention(json!({ "here": true }));
    in_thread["thread"] = root["mid"].clone();
    assert_code(&talk.ada("send", in_thread).await, ErrorCode::MentionsInvalid);

    let edited = json!({ "mid": root["mid"], "body": "not you", "mentions": { "users": [ada] } });
    assert!(talk.ada("edit", edited).await["seq"].is_u64());
    let page = talk.history("").await;
    assert_eq!(page["items"][1]["mentions"], json!({ "users": [ada] }));
    let client = talk.site.admin().await.unwrap();
    let rows = client.query("SELECT user_id, seq FROM read.mentions ORDER BY seq", &[]).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| UserId::from_uuid(row.get(0))).collect();
    assert_eq!(rows, [ada, ada]);
    let row = client.query_one("SELECT all_mentions FROM read.rooms", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_say_something_without_words() {
    let mut talk = Talk::begin().await;
    let sticker = json!({ "sticker": { "set": "frogs", "n": 7 } });
    let sent = talk.ada("send", json!({ "meta": sticker })).await;
    let seen = talk.bob_sees(&sent["seq"]).await;
    assert_eq!((&seen["meta"], &seen["body"]), (&sticker, &json!("")));
    assert_code(&talk.ada("send", json!({ "body": " " })).await, ErrorCode::MessageEmpty);
    assert_code(&talk.ada("send", json!({})).await, ErrorCode::MessageEmpty);
    let long = json!({ "meta": { "a": "x".repeat(4_096) } });
    assert_code(&talk.ada("send", long).await, ErrorCode::MetaInvalid);
    assert_code(
        &talk.ada("send", json!({ "meta": { "a": [[[[[[[[1]]]]]]]] } })).await,
        ErrorCode::MetaInvalid,
    );
    assert_code(&talk.ada("send", json!({ "meta": [1] })).await, ErrorCode::FrameMalformed);
    let nowhere = json!({ "attachments": [AttachmentId::random()] });
    assert_code(&talk.ada("send", nowhere).await, ErrorCode::AttachmentForeign);
    let page = talk.history("").await;
    assert_eq!((bodies(&page), &page["items"][0]["meta"]), (vec![""], &sticker));
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forwards_a_message_has_to_be_able_to_read_it() {
    let mut talk = Talk::begin().await;
    let secret = talk.ada.create_room(&talk.one, "Cave", "private").await;
    let said = json!({ "body": "said in the cave", "meta": { "a": 1 } });
    let original = talk.adas.ask(frame("send", secret, said)).await["mid"].clone();
    let forward = json!({ "forwarded": { "room": secret, "mid": original } });
    assert_code(&talk.bob("send", forward.clone()).await, ErrorCode::RoomNotFound);
    let mut talked_over = forward.clone();
    talked_over["body"] = json!("something else");
    assert_code(&talk.ada("send", talked_over).await, ErrorCode::ForwardInvalid);
    let sent = talk.ada("send", forward).await;
    let seen = talk.bob_sees(&sent["seq"]).await;
    assert_eq!((&seen["body"], &seen["meta"]), (&json!("said in the cave"), &json!({ "a": 1 })));
    let expected = json!({ "room": secret, "mid": original, "author": talk.ada.user });
    assert_eq!(seen["forwarded"], expected);
    // And on from there.
    let room = talk.room;
    let again = talk.bob("send", json!({ "forwarded": { "room": room, "mid": sent["mid"] } })).await;
    assert!(again["seq"].is_u64(), "{again}");
    assert_eq!(talk.history("").await["items"][0]["forwarded"], expected);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderators_delete_what_others_said() {
    let mut talk = Talk::begin().await;
    let adas = talk.says("ada's").await;
    let bobs = talk.bob("send", json!({ "body": "bob's" })).await["mid"].clone();
    assert_code(&talk.bob("delete", json!({ "mid": adas })).await, ErrorCode::RoleTooLow);
    assert_code(&talk.ada("recall", json!({ "mid": bobs })).await, ErrorCode::NotAuthor);
    let deleted = talk.ada("delete", json!({ "mid": bobs, "reason": "spam" })).await;
    let seen = talk.bob_sees(&deleted["seq"]).await;
    assert_eq!((&seen["type"], &seen["reason"]), (&json!("message.deleted"), &json!("spam")));
    assert!(talk.ada("delete", json!({ "mid": bobs })).await["seq"].is_null(), "it is gone already");
    assert_code(&talk.bob("edit", json!({ "mid": bobs, "body": "x" })).await, ErrorCode::MessageRecalled);
    let message = talk.message(&bobs).await;
    assert!(message["body"].is_null() && message["recalled_at"].is_null(), "{message}");
    assert_eq!(
        (&message["deleted"]["by"], &message["deleted"]["reason"]),
        (&json!(talk.ada.user), &json!("spam"))
    );

    // Over REST one request does what is due.
    let other = talk.bob("send", json!({ "body": "more" })).await["mid"].clone();
    let room = talk.room;
    let url =
        |front: &str, mid: &Value, more: &str| format!("{front}/v1/messages/{}?room={room}{more}", text(mid));
    let (status, answer) = talk.bob.ask(Method::DELETE, &url(&talk.two, &adas, ""), None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!(3008)), "{answer}");
    let (status, answer) =
        talk.ada.ask(Method::DELETE, &url(&talk.one, &other, "&reason=off%20topic"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(talk.bob_sees(&answer["position"]["seq"]).await["reason"], "off topic");
    let (status, answer) = talk.ada.ask(Method::DELETE, &url(&talk.one, &adas, ""), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(talk.bob_sees(&answer["position"]["seq"]).await["type"], "message.recalled");
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_can_be_recalled_for_a_while_and_deleted_later() {
    let mut talk = Talk::on(Site::builder().set("RECALL_WINDOW_S", 1).start().await).await;
    let (adas, bobs) =
        (talk.says("ada's").await, talk.bob("send", json!({ "body": "bob's" })).await["mid"].clone());
    natterjack_testkit::eventually("the window to pass", async || {
        let fresh = talk.message(&bobs).await;
        let format = &time::format_description::well_known::Rfc3339;
        let posted = time::OffsetDateTime::parse(text(&fresh["posted_at"]), format).unwrap();
        (time::OffsetDateTime::now_utc() - posted > time::Duration::milliseconds(1_100)).then_some(())
    })
    .await;
    assert_code(&talk.bob("recall", json!({ "mid": bobs })).await, ErrorCode::RecallTooLate);
    let url = |mid: &Value| format!("{}/v1/messages/{}", talk.one, text(mid));
    let (status, answer) = talk.bob.ask(Method::DELETE, &url(&bobs), None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!(2015)), "{answer}");
    let (status, answer) = talk.ada.ask(Method::DELETE, &url(&adas), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(talk.bob_sees(&answer["position"]["seq"]).await["type"], "message.deleted");
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_are_kept_and_only_made_to_the_version_that_was_seen() {
    let mut talk = Talk::begin().await;
    let mid = talk.says("one").await;
    let url = format!("{}/v1/messages/{}", talk.one, text(&mid));
    talk.site.projected().await;
    let etag = async |account: &Account| {
        let response = account.request(Method::GET, &url).send().await.unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    assert_eq!(etag(&talk.ada).await, "\"0\"");
    let edit = async |account: &Account, body: &str, version: &str| {
        let request = account.request(Method::PATCH, &url).header("if-match", version);
        answer(request.json(&json!({ "body": body }))).await.unwrap()
    };
    let (status, edited) = edit(&talk.ada, "two", "\"0\"").await;
    assert_eq!((status, edited["position"]["seq"].is_u64()), (StatusCode::OK, true), "{edited}");
    let seq = edited["position"]["seq"].clone();
    assert_eq!(talk.bob_sees(&seq).await["body"], "two");
    let (status, stale) = edit(&talk.ada, "three", "\"0\"").await;
    assert_eq!((status, &stale["code"]), (StatusCode::PRECONDITION_FAILED, &json!(2016)), "{stale}");
    assert_eq!(edit(&talk.ada, "three", "zero").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(edit(&talk.bob, "three", "*").await.0, StatusCode::FORBIDDEN);
    talk.site.projected().await;
    assert_eq!(etag(&talk.ada).await, format!("\"{seq}\""));
    assert_eq!(edit(&talk.ada, "three", &format!("\"{seq}\"")).await.0, StatusCode::OK);

    let edits = format!("/v1/messages/{}/edits", text(&mid));
    let newest = talk.bob_reads(&format!("{edits}?limit=2")).await;
    let first = talk.bob_reads(&format!("{edits}?limit=2&cursor={}", text(&newest["next"]))).await;
    assert_eq!(
        (bodies(&newest), bodies(&first), &first["next"]),
        (vec!["three", "two"], vec!["one"], &Value::Null)
    );
    let plain = talk.says("never edited").await;
    let said = talk.bob_reads(&format!("/v1/messages/{}/edits", text(&plain))).await;
    assert_eq!(bodies(&said), ["never edited"]);
    assert_eq!(talk.ada("recall", json!({ "mid": mid })).await["t"], "ok");
    assert_eq!(bodies(&talk.bob_reads(&edits).await), [""; 0]);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_over_rest_is_sent_once_for_each_key() {
    let mut talk = Talk::begin().await;
    let url = format!("{}/v1/rooms/{}/messages", talk.one, talk.room);
    let post = async |account: &Account, key: &str, body: &str| {
        let request = account.request(Method::POST, &url).header("idempotency-key", key);
        answer(request.json(&json!({ "body": body, "meta": { "bot": true } }))).await.unwrap()
    };
    let (status, sent) = post(&talk.ada, "build-7", "it is built").await;
    assert_eq!(status, StatusCode::CREATED, "{sent}");
    let seen = talk.bob_sees(&sent["position"]["seq"]).await;
    assert_eq!(
        (&seen["id"], &seen["cid"], &seen["body"]),
        (&sent["id"], &sent["cid"], &json!("it is built"))
    );
    assert_eq!(post(&talk.ada, "build-7", "it is built").await, (StatusCode::CREATED, sent.clone()));
    // The same frame is the same message, too.
    let again = talk.ada("send", json!({ "cid": sent["cid"], "body": "it is built" })).await;
    assert_eq!((&again["mid"], &again["seq"]), (&sent["id"], &sent["position"]["seq"]));
    assert_ne!(post(&talk.bob, "build-7", "by another").await.1["id"], sent["id"]);
    assert_eq!(post(&talk.ada, &"x".repeat(129), "x").await.0, StatusCode::BAD_REQUEST);
    let (_, other) = talk.ada.post(&url, json!({ "body": "no key" })).await;
    let (_, another) = talk.ada.post(&url, json!({ "body": "no key" })).await;
    assert_ne!(other["id"], another["id"]);
    let (status, refused) = talk.ada.post(&url, json!({ "body": "" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(2002)));
    let (status, refused) = talk.ada.post(&url, json!({ "body": "x", "mood": "good" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::BAD_REQUEST, &json!(5006)));
    let eve = talk.site.register(&talk.one, "eve").await;
    assert_eq!(eve.post(&url, json!({ "body": "x" })).await.0, StatusCode::FORBIDDEN);
    assert_eq!(bodies(&talk.history("").await), ["it is built", "by another", "no key", "no key"]);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_in_both_directions_and_from_any_message() {
    let mut talk = Talk::begin().await;
    let mut sent = vec![];
    for n in 0..9 {
        let root = talk.says(&format!("{n}")).await;
        sent.push(talk.ada("send", json!({ "body": "aside", "thread": root })).await["seq"].clone());
    }
    let newest = talk.history("?limit=4").await;
    assert_eq!((bodies(&newest), &newest["newer"]), (vec!["5", "6", "7", "8"], &Value::Null));
    let older = talk.history(&format!("?limit=4&cursor={}", text(&newest["next"]))).await;
    assert_eq!(bodies(&older), ["1", "2", "3", "4"]);
    let oldest = talk.history(&format!("?limit=4&cursor={}", text(&older["next"]))).await;
    assert_eq!((bodies(&oldest), &oldest["next"]), (vec!["0"], &Value::Null));
    let back = talk.history(&format!("?limit=4&cursor={}", text(&oldest["newer"]))).await;
    assert_eq!(bodies(&back), ["1", "2", "3", "4"]);
    let forth = talk.history(&format!("?limit=4&cursor={}", text(&back["newer"]))).await;
    assert_eq!((bodies(&forth), &forth["newer"]), (vec!["5", "6", "7", "8"], &Value::Null));

    let after = talk.history(&format!("?limit=2&after={}", sent[2])).await;
    assert_eq!(bodies(&after), ["3", "4"]);
    let beyond = talk.history("?after=999999").await;
    assert_eq!((bodies(&beyond), beyond["newer"].is_null()), (vec![], true));
    assert_eq!(
        bodies(&talk.history(&format!("?limit=2&cursor={}", text(&beyond["next"]))).await),
        ["7", "8"]
    );
    let from_start = talk.history("?limit=2&after=0").await;
    assert_eq!((bodies(&from_start), &from_start["next"]), (vec!["0", "1"], &Value::Null));

    let about = talk.history(&format!("?limit=4&around={}", text(&older["items"][3]["id"]))).await;
    assert_eq!(bodies(&about), ["2", "3", "4", "5"]);
    assert_eq!(
        bodies(&talk.history(&format!("?limit=3&around={}", older["items"][3]["seq"])).await),
        ["3", "4", "5"]
    );
    let first = talk.history(&format!("?limit=4&around={}", oldest["items"][0]["seq"])).await;
    assert_eq!((bodies(&first), &first["next"]), (vec!["0", "1"], &Value::Null));
    let refused = async |query: &str| {
        let (_, body) = talk.bob.get(&format!("{}/v1/rooms/{}/messages{query}", talk.two, talk.room)).await;
        body["code"].clone()
    };
    assert_eq!(refused(&format!("?around={}", MessageId::random())).await, 2001);
    assert_eq!(refused("?around=somewhere").await, 5006);
    assert_eq!(refused("?around=1&after=1").await, 5006);
    talk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_shown_by_its_id_to_those_who_may_read_its_room() {
    let mut talk = Talk::begin().await;
    let mid = talk.says("for members").await;
    let message = talk.message(&mid).await;
    assert_eq!((&message["room"], &message["body"]), (&json!(talk.room), &json!("for members")));
    let eve = talk.site.register(&talk.one, "eve").await;
    let url = format!("{}/v1/messages/{}", talk.one, text(&mid));
    for (method, url, body) in [
        (Method::GET, url.clone(), None),
        (Method::GET, format!("{url}?room={}", talk.room), None),
        (Method::GET, format!("{url}/edits"), None),
        (Method::PATCH, url.clone(), Some(json!({ "body": "x" }))),
        (Method::DELETE, url.clone(), None),
        (Method::PUT, format!("{url}/pin"), None),
        (Method::PUT, format!("{url}/reactions/x"), None),
        (Method::GET, format!("{}/v1/messages/{}", talk.one, MessageId::random()), None),
        (Method::GET, format!("{}/v1/messages/nonsense", talk.one), None),
    ] {
        let (status, answer) = eve.ask(method.clone(), &url, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (StatusCode::NOT_FOUND, &json!(2001)),
            "{method} {url}: {answer}"
        );
    }
    talk.end().await;
}
