//! What the parts owe each other: a snapshot and the events since are a fresh snapshot, the read models are what the log
//! makes of them, and the log is shown as it is.

use std::collections::BTreeMap;

use natterjack_domain::{ClientId, RoomId};
use natterjack_eventlog::Topic;
use natterjack_projection::TABLES;
use natterjack_testkit::{Account, Site, Socket, eventually};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::in_ms;

/// People, rooms, and what was posted, for a random conversation.
struct Marsh {
    people: Vec<Account>,
    sockets: Vec<Socket>,
    rooms: Vec<RoomId>,
    posted: Vec<(usize, RoomId, Value)>,
    rng: StdRng,
}

impl Marsh {
    async fn new(site: &Site, fronts: &[String], seed: u64) -> Self {
        let (mut people, mut sockets, mut rooms) = (vec![], vec![], vec![]);
        for (n, front) in fronts.iter().cycle().take(4).enumerate() {
            let person = site.register(front, &format!("person-{n}")).await;
            sockets.push(person.connect(front).await);
            people.push(person);
        }
        for n in 0..4 {
            let room = people[0].create_room(&fronts[0], &format!("Pond {n}"), "public").await;
            for person in &people[1..] {
                person.join(&fronts[0], room).await;
            }
            rooms.push(room);
        }
        Self { people, sockets, rooms, posted: vec![], rng: StdRng::seed_from_u64(seed) }
    }

    /// Does so many random things.
    async fn go_on(&mut self, front: &str, steps: usize) {
        for step in 0..steps {
            let who = self.rng.random_range(1..self.people.len());
            let room = *self.rooms.choose(&mut self.rng).unwrap();
            let cid = ClientId::random();
            let change = self.posted.choose(&mut self.rng).cloned();
            let ada = self.people[0].user;
            let (who, frame) = match (self.rng.random_range(0..15), change) {
                (0..2, Some((who, room, mid))) => (
                    who,
                    json!({ "t": "edit", "id": 1, "room": room, "mid": mid, "cid": cid, "body": format!("edit {step}") }),
                ),
                (2, Some((who, room, mid))) => {
                    (who, json!({ "t": "recall", "id": 1, "room": room, "mid": mid, "cid": cid }))
                }
                (3, _) => {
                    let way = if self.rng.random_bool(0.5) { "join" } else { "leave" };
                    self.people[who].post(&format!("{front}/v1/rooms/{room}/{way}"), Value::Null).await;
                    continue;
                }
                (4 | 5, Some((_, room, mid))) => {
                    let on = self.rng.random_bool(0.7);
                    let react = json!({ "t": "react", "id": 1, "room": room, "mid": mid, "cid": cid, "emoji": "🐸", "on": on });
                    (who, react)
                }
                (6, Some((_, room, mid))) => {
                    let kind = if self.rng.random_bool(0.7) { "pin" } else { "unpin" };
                    (0, json!({ "t": kind, "id": 1, "room": room, "mid": mid, "cid": cid }))
                }
                (7, Some((_, room, mid))) => {
                    let body = format!("reply {step}");
                    (
                        who,
                        json!({ "t": "send", "id": 1, "room": room, "cid": cid, "body": body, "thread": mid }),
                    )
                }
                (8, _) => {
                    let mentions = json!({ "users": [ada] });
                    let body = format!("call {step}");
                    (
                        who,
                        json!({ "t": "send", "id": 1, "room": room, "cid": cid, "body": body, "mentions": mentions }),
                    )
                }
                _ => (
                    who,
                    json!({ "t": "send", "id": 1, "room": room, "cid": cid, "body": format!("post {step}") }),
                ),
            };
            let posts = frame["t"] == "send";
            let answer = self.sockets[who].ask(frame).await;
            if posts && answer["t"] == "ok" {
                self.posted.push((who, room, answer["mid"].clone()));
            }
        }
    }
}

/// One of each of what people keep, and of what is done to them.
async fn keep_something(site: &Site, marsh: &mut Marsh, front: &str) {
    let (people, sockets) = (&marsh.people, &mut marsh.sockets);
    let den = people[0].create_room(front, "Den", "public").await;
    for person in &people[1..3] {
        person.join(front, den).await;
    }
    let send = |room: RoomId, fields: Value| {
        let mut frame =
            json!({ "t": "send", "id": 1, "room": room, "cid": ClientId::random(), "body": "kept" });
        frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        frame
    };
    let root = sockets[1].ask(send(den, json!({}))).await["mid"].clone();
    let reply = sockets[2].ask(send(den, json!({ "thread": root }))).await["seq"].clone();
    let opening = json!({ "users": [people[1].user] });
    let (_, direct) = people[0].post(&format!("{front}/v1/rooms/direct"), opening).await;
    let direct: RoomId = direct["room"].as_str().unwrap().parse().unwrap();
    let whispered = sockets[1].ask(send(direct, json!({}))).await["seq"].clone();
    for (who, frame) in [
        (0, json!({ "t": "delivered", "room": direct, "seq": whispered })),
        (1, json!({ "t": "read", "room": den, "thread": root, "seq": reply })),
        (1, json!({ "t": "draft", "room": den, "body": "not yet" })),
    ] {
        sockets[who].send(&frame).await.unwrap();
        sockets[who].until(|frame| frame["t"] == "u").await;
    }
    site.projected().await;
    let root = root.as_str().unwrap();
    let in_an_hour = in_ms(3_600_000);
    let url = |path: &str| format!("{front}/v1/{path}");
    for (method, path, body) in [
        (Method::PUT, format!("rooms/{den}/mutes/{}", people[2].user), json!({})),
        (Method::PUT, format!("rooms/{den}/threads/{root}/follow"), Value::Null),
        (Method::PUT, format!("rooms/{den}/notifications"), json!({ "level": "mentions" })),
        (Method::PUT, format!("saved/{root}"), Value::Null),
        (Method::PUT, "me/do-not-disturb".into(), json!({ "until": 1_795_197_600_000_u64 })),
        (Method::POST, format!("rooms/{den}/scheduled"), json!({ "at": in_an_hour, "body": "later" })),
        (Method::PATCH, "me".into(), json!({ "nickname": "Ada" })),
    ] {
        let (status, answer) = people[0].ask(method, &url(&path), Some(body)).await;
        assert!(status.is_success(), "{path}: {answer}");
    }
    // What people are comes from beside their accounts.
    eventually("the profile", async || {
        let rows = site.admin().await.unwrap().query("SELECT FROM read.profiles", &[]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
}

/// All messages of a room, page by page, oldest first, and the position that they reflect.
async fn history(account: &Account, front: &str, room: RoomId) -> (Vec<Value>, Value) {
    let (mut pages, mut cursor, mut as_of) = (vec![], String::new(), Value::Null);
    loop {
        let (status, page) = account.get(&format!("{front}/v1/rooms/{room}/messages?limit=7{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        if as_of.is_null() {
            as_of = page["as_of"].clone();
        }
        pages.push(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (pages.into_iter().rev().flatten().collect(), as_of),
        }
    }
}

async fn summary(account: &Account, front: &str, room: RoomId) -> Value {
    let (status, summary) = account.get(&format!("{front}/v1/rooms/{room}")).await;
    assert_eq!(status, StatusCode::OK, "{summary}");
    summary
}

/// A room as a client keeps it.
struct Kept {
    messages: Vec<Value>,
    member_count: u64,
    last: u64,
}

impl Kept {
    /// The rule of `docs/protocol.md`, and what each event means.
    fn apply(&mut self, frame: &Value) {
        let seq = frame["seq"].as_u64().unwrap();
        if seq <= self.last {
            return;
        }
        assert!(frame["prev"].as_u64().unwrap() <= self.last, "a gap: {frame}");
        self.last = seq;
        let (event, ts) = (&frame["e"], &frame["ts"]);
        match event["type"].as_str().unwrap() {
            "room.member_joined" => self.member_count += 1,
            "room.member_left" => self.member_count -= 1,
            "message.posted" => {
                let mut message = json!({
                    "id": event["id"], "room": frame["room"], "seq": seq, "author": event["by"], "cid": event["cid"],
                    "body": event["body"], "posted_at": ts,
                });
                for field in ["reply_to", "mentions"] {
                    if !event[field].is_null() {
                        message[field] = event[field].clone();
                    }
                }
                if event["thread"].is_null() {
                    self.messages.push(message);
                } else {
                    self.replied(&event["thread"], &event["by"], seq, ts);
                }
            }
            kind => {
                let message = self.messages.iter_mut().find(|m| m["id"] == event["mid"]);
                if let Some(message) = message.filter(|m| m["recalled_at"].is_null()) {
                    change(message, kind, event, seq, ts);
                }
            }
        }
    }

    fn replied(&mut self, first: &Value, by: &Value, seq: u64, ts: &Value) {
        let Some(first) = self.messages.iter_mut().find(|m| m["id"] == *first) else { return };
        let thread = &mut first["replies"];
        if thread.is_null() {
            *thread = json!({ "count": 0, "participants": [] });
        }
        thread["count"] = json!(thread["count"].as_u64().unwrap() + 1);
        (thread["last_seq"], thread["last_at"]) = (json!(seq), ts.clone());
        let participants = thread["participants"].as_array_mut().unwrap();
        if participants.len() < 5 && !participants.contains(by) {
            participants.push(by.clone());
        }
    }
}

/// What becomes of a message that is not gone. Few enough react, all with the same emoji, for a page to name all of them.
fn change(message: &mut Value, kind: &str, event: &Value, seq: u64, ts: &Value) {
    let by = &event["by"];
    let is_author = message["author"] == *by;
    match kind {
        "message.edited" if is_author => {
            message["body"] = event["body"].clone();
            (message["edited_at"], message["edited_seq"]) = (ts.clone(), json!(seq));
            message.as_object_mut().unwrap().remove("mentions");
        }
        "message.recalled" if is_author => {
            for field in ["body", "mentions", "reactions", "pinned"] {
                message.as_object_mut().unwrap().remove(field);
            }
            message["recalled_at"] = ts.clone();
        }
        "message.pinned" => message["pinned"] = json!({ "by": by, "at": ts }),
        "message.unpinned" => {
            message.as_object_mut().unwrap().remove("pinned");
        }
        "message.reacted" => {
            let mut users = message["reactions"][0]["users"].as_array().cloned().unwrap_or_default();
            users.retain(|user| user != by);
            if event["on"] == true {
                users.push(by.clone());
            }
            let count = users.len();
            let reaction = json!([{ "emoji": event["emoji"], "count": count, "users": users, "me": false }]);
            message.as_object_mut().unwrap().remove("reactions");
            if count > 0 {
                message["reactions"] = reaction;
            }
        }
        _ => {}
    }
}

async fn a_snapshot_and_the_events_since_are_a_fresh_snapshot(streams: u16) {
    let site = Site::builder().set("TAIL_EVENTS", 8).streams(streams).start().await;
    let fronts = [site.front().await.url(), site.front().await.url()];
    let projector = site.projector().await;
    let mut marsh = Marsh::new(&site, &fronts, 5).await;
    marsh.go_on(&fronts[0], 120).await;
    site.projected().await;
    // Of somebody who stays.
    let ada = marsh.people[0].clone();
    let mut kept = BTreeMap::new();
    for room in &marsh.rooms {
        // The list may be newer than the page: both are of one position only when nothing happens, as now.
        let (messages, as_of) = history(&ada, &fronts[0], *room).await;
        let member_count = summary(&ada, &fronts[0], *room).await["member_count"].as_u64().unwrap();
        kept.insert(*room, (Kept { messages, member_count, last: as_of["seq"].as_u64().unwrap() }, as_of));
    }
    marsh.go_on(&fronts[1], 60).await;
    let mut socket = ada.connect(&fronts[1]).await;
    for (room, (_, as_of)) in &kept {
        let position = json!({ "after": as_of["seq"], "epoch": as_of["epoch"] });
        assert_eq!(socket.subscribe(*room, position).await["recovered"], true);
    }
    marsh.go_on(&fronts[0], 60).await;
    let mut lasts = BTreeMap::new();
    for room in &marsh.rooms {
        let seq = marsh.sockets[0].post(*room, "the end").await["seq"].as_u64().unwrap();
        lasts.insert(room.to_string(), seq);
    }
    while kept.iter().any(|(room, (kept, _))| kept.last < lasts[&room.to_string()]) {
        let event = socket.until(|frame| frame["t"] == "ev").await;
        kept.get_mut(&event["room"].as_str().unwrap().parse().unwrap()).unwrap().0.apply(&event);
    }
    site.projected().await;
    for (room, (kept, _)) in kept {
        let (fresh, as_of) = history(&ada, &fronts[1], room).await;
        assert!(as_of["seq"].as_u64().unwrap() >= kept.last);
        assert_eq!(kept.messages, fresh);
        assert_eq!(summary(&ada, &fronts[1], room).await["member_count"], kept.member_count);
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_events_since_equal_a_fresh_snapshot() {
    a_snapshot_and_the_events_since_are_a_fresh_snapshot(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_events_since_equal_a_fresh_snapshot_with_three_streams() {
    a_snapshot_and_the_events_since_are_a_fresh_snapshot(3).await;
}

/// Every row of every read table.
async fn rows(site: &Site) -> Vec<(&'static str, Vec<String>)> {
    let client = site.admin().await.unwrap();
    let mut tables = vec![];
    for table in TABLES {
        let sql = format!("SELECT t::text FROM read.{table} t ORDER BY 1");
        let rows = client.query(&sql, &[]).await.unwrap();
        tables.push((table, rows.iter().map(|row| row.get(0)).collect()));
    }
    tables
}

async fn wiped_read_models_come_back_row_by_row(streams: u16) {
    let site = Site::builder().streams(streams).start().await;
    let fronts = [site.front().await.url()];
    let projector = site.projector().await;
    let mut marsh = Marsh::new(&site, &fronts, 9).await;
    marsh.go_on(&fronts[0], 120).await;
    for (room, socket) in marsh.rooms.iter().zip(&mut marsh.sockets) {
        socket.send(&json!({ "t": "read", "room": room, "seq": 30 })).await.unwrap();
    }
    keep_something(&site, &mut marsh, &fronts[0]).await;
    site.projected().await;
    projector.stop().await;
    let before = rows(&site).await;
    let empty: Vec<_> = before.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table).collect();
    assert_eq!(empty, [&"parked"], "something of everything");

    let client = site.admin().await.unwrap();
    for table in TABLES {
        client.batch_execute(&format!("TRUNCATE read.{table}")).await.unwrap();
    }
    natterjack_projection::rebuild(&site.pool("natterjack_migrator"), |_| {}).await.unwrap();
    assert_eq!(rows(&site).await, before);

    let projector = site.projector().await;
    marsh.go_on(&fronts[0], 20).await;
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_read_models_are_made_again_row_by_row_the_same() {
    wiped_read_models_come_back_row_by_row(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_read_models_are_made_again_row_by_row_the_same_with_three_streams() {
    wiped_read_models_come_back_row_by_row(3).await;
}

async fn lines(account: &Account, front: &str, room: RoomId, query: &str) -> Vec<String> {
    let request = account.request(Method::GET, &format!("{front}/v1/rooms/{room}/events{query}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.text().await.unwrap().lines().map(str::to_owned).collect()
}

fn sequence(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()
}

async fn the_raw_events_are_shown_to_the_byte(streams: u16) {
    let mut site = Site::builder().set("TAIL_EVENTS", 4).streams(streams).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh \"quoted\"", "private").await;
    let mut live = ada.connect(&two).await;
    live.subscribe(room, json!({ "after": 0 })).await;
    let mut socket = ada.connect(&one).await;
    for n in 0..40 {
        socket.post(room, &format!("{n}: 你好 \u{1f438} \"\\\t\n</script>")).await;
    }
    let mut heard = vec![];
    while heard.len() < 41 {
        let text = live.next_text().await.unwrap();
        if text.starts_with(r#"{"t":"ev""#) {
            heard.push(format!("{{{}", &text[text.find("\"seq\"").unwrap()..]));
        }
    }
    let stored = site.log().await.tail(Topic::Room(room), 0, 100).await.unwrap();
    for (event, line) in stored.iter().zip(&heard) {
        let body = std::str::from_utf8(&event.body).unwrap();
        assert!(line.ends_with(&format!("\"e\":{body}}}")), "{line}");
    }
    site.projected().await;
    for postgres in [true, false] {
        for front in [&one, &two] {
            assert_eq!(lines(&ada, front, room, "").await, heard, "Postgres: {postgres}");
            assert_eq!(lines(&ada, front, room, "?limit=0").await, Vec::<String>::new());
            let mut paged = vec![];
            let mut after = 0;
            while after < sequence(heard.last().unwrap()) {
                let page = lines(&ada, front, room, &format!("?after={after}&limit=7")).await;
                assert_eq!(page.len(), 7.min(41 - paged.len()), "Postgres: {postgres}");
                after = sequence(page.last().unwrap());
                paged.extend(page);
            }
            assert_eq!(paged, heard, "Postgres: {postgres}");
            assert_eq!(
                lines(&ada, front, room, &format!("?after={}", after + 100)).await,
                Vec::<String>::new()
            );
        }
        site.postgres.stop_fast().await;
    }
    site.postgres.restart().await.unwrap();
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_a_room_are_shown_as_they_were_delivered_to_the_byte() {
    the_raw_events_are_shown_to_the_byte(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_a_room_are_shown_as_they_were_delivered_to_the_byte_with_three_streams() {
    the_raw_events_are_shown_to_the_byte(3).await;
}
