//! Finding what was said: who finds what, as it is now; and what an index that lags or fails holds up.

use std::collections::HashSet;

use natterjack_domain::{ClientId, RoomId};
use natterjack_testkit::{Account, Site, answer, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A search that is answered; `parameters` are names and values.
async fn search(account: &Account, front: &str, parameters: &[(&str, &str)]) -> Value {
    let request = account.request(Method::GET, &format!("{front}/v1/search/messages")).query(parameters);
    let (status, body) = answer(request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn refusal(account: &Account, front: &str, parameters: &[(&str, &str)]) -> ErrorCode {
    refused(account.request(Method::GET, &format!("{front}/v1/search/messages")).query(parameters)).await
}

fn bodies(found: &Value) -> Vec<&str> {
    let items = found["items"].as_array().unwrap();
    items.iter().map(|item| item["message"]["body"].as_str().unwrap()).collect()
}

async fn finds(account: &Account, front: &str, q: &str) -> Vec<String> {
    bodies(&search(account, front, &[("q", q)]).await).into_iter().map(str::to_owned).collect()
}

/// What was found, with what was looked for in brackets.
fn marked(hit: &Value) -> String {
    let pieces = hit["highlights"].as_array().unwrap().iter();
    let texts = pieces.map(|piece| {
        let text = piece["text"].as_str().unwrap();
        if piece["hit"] == true { format!("[{text}]") } else { text.to_owned() }
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_is_found_in_every_script_and_by_whom_and_where_and_when() {
    let site = Site::builder().streams(3).start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let marsh = ada.create_room(&front, "Marsh", "public").await;
    let pond = ada.create_room(&front, "Pond", "public").await;
    bob.join(&front, marsh).await;
    bob.join(&front, pond).await;
    let (mut by_ada, mut by_bob) = (ada.connect(&front).await, bob.connect(&front).await);
    by_ada.post(marsh, "We deploy the Server tonight").await;
    by_ada.post(marsh, "The server: deploy it tomorrow, see https://example.org/plan").await;
    by_bob.post(pond, "明天我们去北京开会").await;
    by_bob.post(pond, "東京タワーに行きたい").await;
    by_bob.post(pond, "서울에서 만나요").await;
    by_bob.post(marsh, "Café 🎉 deployed").await;
    site.searchable().await;

    let cases: &[(&str, &[&str])] = &[
        ("tonight", &["We deploy the Server tonight"]),
        ("\"deploy the server\"", &["We deploy the Server tonight"]),
        ("server -tonight", &["The server: deploy it tomorrow, see https://example.org/plan"]),
        ("server -\"deploy the server\"", &["The server: deploy it tomorrow, see https://example.org/plan"]),
        ("北京", &["明天我们去北京开会"]),
        ("去北京开", &["明天我们去北京开会"]),
        ("会", &["明天我们去北京开会"]),
        ("北京上海", &[]),
        ("ﾀﾜｰ", &["東京タワーに行きたい"]),
        ("서울", &["서울에서 만나요"]),
        ("cafe\u{301}", &["Café 🎉 deployed"]),
        ("🎉", &["Café 🎉 deployed"]),
        ("example.org/plan", &["The server: deploy it tomorrow, see https://example.org/plan"]),
        ("erver", &[]),
    ];
    for (q, expected) in cases {
        assert_eq!(finds(&ada, &front, q).await, *expected, "{q}");
    }
    // The last word may go on, and what has the words in their order is better.
    let found = search(&bob, &front, &[("q", "server deploy")]).await;
    assert_eq!((found["total"].as_u64(), bodies(&found).len()), (Some(2), 2));
    assert!(bodies(&found)[0].starts_with("The server"), "{found}");
    assert_eq!(found["as_of"].as_array().unwrap().len(), 3);
    assert_eq!(marked(&found["items"][1]), "We [deploy] the [Server] tonight");

    let (room, author) = (marsh.to_string(), bob.user.to_string());
    let narrowed: &[(&[(&str, &str)], usize)] = &[
        (&[("room", &room)], 3),
        (&[("author", &author)], 4),
        (&[("author", &author), ("room", &room), ("q", "deploy")], 1),
        (&[("has", "link"), ("q", "server")], 1),
        (&[("has", "attachment")], 0),
        (&[("q", "deploy"), ("to", "2020-01-01T00:00:00Z")], 0),
        (&[("q", "deploy"), ("from", "2020-01-01T00:00:00Z"), ("to", "2999-01-01T00:00:00+01:00")], 3),
    ];
    for (parameters, expected) in narrowed {
        let found = search(&ada, &front, parameters).await;
        assert_eq!(bodies(&found).len(), *expected, "{parameters:?} {found}");
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_is_in_a_room_finds_what_was_said_there_and_who_left_finds_nothing_at_once() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    site.known(&[&ada, &bob]).await;
    let secret = ada.create_room(&one, "Secret", "private").await;
    let open = ada.create_room(&one, "Open", "public").await;
    bob.join(&one, open).await;
    let mut socket = ada.connect(&one).await;
    socket.post(secret, "the frog is green").await;
    socket.post(open, "a frog, a frog").await;
    site.searchable().await;
    assert_eq!(finds(&ada, &one, "frog").await.len(), 2);
    assert_eq!(finds(&bob, &two, "frog").await, ["a frog, a frog"]);
    let room = secret.to_string();
    assert_eq!(refusal(&bob, &one, &[("q", "frog"), ("room", &room)]).await, ErrorCode::RoomNotFound);

    let add = json!({ "user": bob.user });
    assert_eq!(ada.post(&format!("{one}/v1/rooms/{secret}/members"), add).await.0, StatusCode::OK);
    site.projected().await;
    assert_eq!(finds(&bob, &two, "frog").await.len(), 2);

    // From here on Postgres believes that he is a member.
    projector.stop().await;
    let (status, _) = bob.post(&format!("{one}/v1/rooms/{secret}/leave"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    for front in [&one, &two] {
        // The other front hears of it a moment later.
        eventually("nothing to be found", async || {
            (finds(&bob, front, "frog").await == ["a frog, a frog"]).then_some(())
        })
        .await;
        let found = search(&bob, front, &[("q", "frog")]).await;
        assert_eq!(found["total"], 1, "{found}");
        assert_eq!(finds(&ada, front, "frog").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_edited_or_recalled_is_found_as_it_is_now() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "private").await;
    let mut socket = ada.connect(&front).await;
    let first = socket.post(room, "the heron stands").await;
    let second = socket.post(room, "the heron flies").await;
    site.searchable().await;
    assert_eq!(finds(&ada, &front, "heron").await.len(), 2);

    // The index is held up: what the read models know counts.
    let mut admin = site.admin().await.unwrap();
    let held = admin.transaction().await.unwrap();
    held.execute("SELECT FROM search.checkpoints FOR UPDATE", &[]).await.unwrap();
    let edit = json!({ "t": "edit", "id": 70, "room": room, "mid": first["mid"], "cid": ClientId::random(), "body": "the stork stands" });
    assert_eq!(socket.ask(edit).await["t"], "ok");
    let recall =
        json!({ "t": "recall", "id": 71, "room": room, "mid": second["mid"], "cid": ClientId::random() });
    assert_eq!(socket.ask(recall).await["t"], "ok");
    site.projected().await;
    assert_eq!(finds(&ada, &front, "heron").await, Vec::<String>::new());
    assert_eq!(finds(&ada, &front, "stands").await, ["the stork stands"]);
    assert_eq!(finds(&ada, &front, "stork").await, Vec::<String>::new());

    held.rollback().await.unwrap();
    site.searchable().await;
    assert_eq!(finds(&ada, &front, "stork").await, ["the stork stands"]);
    let found = search(&ada, &front, &[("q", "heron")]).await;
    assert_eq!(found["total"], 0, "{found}");
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_each_message_once_best_or_newest_first() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let rooms =
        [ada.create_room(&front, "Marsh", "private").await, ada.create_room(&front, "Pond", "public").await];
    let mut socket = ada.connect(&front).await;
    for n in 0..40 {
        socket.post(rooms[n % 2], &format!("frog {n} {}", "quak ".repeat(n % 5))).await;
    }
    site.searchable().await;
    for sort in ["rank", "time"] {
        let (mut seen, mut cursor, mut pages) = (vec![], None::<String>, 0);
        loop {
            let mut parameters = vec![("q", "frog"), ("sort", sort), ("limit", "7")];
            parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = search(&ada, &front, &parameters).await;
            assert_eq!(page["total"], if pages == 0 { json!(40) } else { Value::Null });
            pages += 1;
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["message"].clone()));
            // Who searches on does not see what is new.
            socket.post(rooms[0], "frog again").await;
            site.searchable().await;
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let ids: HashSet<_> = seen.iter().map(|message| message["id"].to_string()).collect();
        assert_eq!((pages, seen.len(), ids.len()), (6, 40, 40), "{sort}");
        let times: Vec<_> = seen.iter().map(|message| message["posted_at"].as_str().unwrap()).collect();
        assert_eq!(times.is_sorted_by(|a, b| a >= b), sort == "time");
        if sort == "rank" {
            let shortest =
                seen.iter().take(8).all(|message| !message["body"].as_str().unwrap().contains("quak"));
            assert!(shortest, "{seen:?}");
        }
        // For the next round.
        for room in rooms {
            let history = ada.get(&format!("{front}/v1/rooms/{room}/messages?limit=200")).await.1;
            for message in history["items"].as_array().unwrap().iter().filter(|m| m["body"] == "frog again") {
                let recall = json!({
                    "t": "recall", "id": 71, "room": room, "mid": message["id"], "cid": ClientId::random(),
                });
                assert_eq!(socket.ask(recall).await["t"], "ok");
            }
        }
        site.searchable().await;
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_has_bounds_and_says_which() {
    let site = Site::builder().start().await;
    let settings = [("SEARCH_TIME_MS", "300"), ("SEARCHES_PER_MINUTE", "90")];
    let (front, projector) = (site.front_with(&settings).await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    ada.create_room(&front, "Marsh", "private").await;
    site.searchable().await;
    let (long, many) = ("x".repeat(201), "a ".repeat(3) + "b c d e f g h i j k");
    let cases: &[(&[(&str, &str)], ErrorCode)] = &[
        (&[], ErrorCode::SearchInvalid),
        (&[("q", " ... ")], ErrorCode::SearchInvalid),
        (&[("q", "-only")], ErrorCode::SearchInvalid),
        (&[("q", &long)], ErrorCode::SearchInvalid),
        (&[("q", &many)], ErrorCode::SearchInvalid),
        (&[("q", "x"), ("sort", "best")], ErrorCode::RequestInvalid),
        (&[("q", "x"), ("from", "yesterday")], ErrorCode::RequestInvalid),
        (&[("q", "x"), ("has", "wings")], ErrorCode::RequestInvalid),
        (&[("q", "x"), ("cursor", "nonsense")], ErrorCode::CursorInvalid),
        (&[("q", "x"), ("room", "00000000-0000-0000-0000-000000000001")], ErrorCode::RoomNotFound),
    ];
    for (parameters, expected) in cases {
        assert_eq!(refusal(&ada, &front, parameters).await, *expected, "{parameters:?}");
    }
    let mut admin = site.admin().await.unwrap();
    let held = admin.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE search.messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(refusal(&ada, &front, &[("q", "x")]).await, ErrorCode::SearchTooBroad);
    held.rollback().await.unwrap();
    let limited = eventually("the limit", async || {
        let request = ada.request(Method::GET, &format!("{front}/v1/search/messages?q=x"));
        let (status, body) = answer(request).await.unwrap();
        (status != StatusCode::OK).then_some(body)
    })
    .await;
    assert_eq!(limited["code"], ErrorCode::SearchesLimited.number(), "{limited}");
    assert_eq!(finds(&bob, &front, "x").await, Vec::<String>::new(), "others have their own");
    projector.stop().await;
}

/// Two people who go on talking while something is done.
async fn talk(account: &Account, front: &str, room: RoomId, word: &str, count: usize) {
    let mut socket = account.connect(front).await;
    for n in 0..count {
        socket.post(room, &format!("{word} {n} 北京")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_cannot_be_written_holds_up_nothing_else() {
    let site = Site::builder().set("POSTGRES_STATEMENT_MS", 1_000).start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "private").await;
    site.searchable().await;
    let mut admin = site.admin().await.unwrap();
    let held = admin.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE search.messages IN EXCLUSIVE MODE").await.unwrap();
    talk(&ada, &front, room, "heron", 20).await;
    site.projected().await;
    eventually("search to say that it waits", async || {
        let report = projector.readiness.report();
        assert!(report.ready, "the projector works");
        let search = report.checks.into_iter().find(|check| check.name == "search").unwrap();
        (!search.ready && !search.required).then_some(())
    })
    .await;
    talk(&ada, &front, room, "stork", 20).await;
    site.projected().await;
    assert_eq!(finds(&ada, &front, "heron").await, Vec::<String>::new());
    held.rollback().await.unwrap();
    site.searchable().await;
    assert_eq!(search(&ada, &front, &[("q", "北京")]).await["total"], 40);
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_searched_is_rebuilt_while_people_chat_and_projectors_die() {
    let site = Site::builder().streams(3).set("SEARCH_BATCH_EVENTS", 7).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let rooms =
        [ada.create_room(&front, "Marsh", "private").await, ada.create_room(&front, "Pond", "public").await];
    let talking = async {
        tokio::join!(talk(&ada, &front, rooms[0], "heron", 150), talk(&ada, &front, rooms[1], "stork", 150));
    };
    let breaking = async {
        for _ in 0..3 {
            let projector = site.projector_process().await;
            let (good, words) = site.natterjack(&["rebuild", "search"]).await;
            assert!(good, "{words}");
            projector.kill().await;
        }
        site.projector_process().await
    };
    let ((), projector) = tokio::join!(talking, breaking);
    site.searchable().await;
    assert_eq!(search(&ada, &front, &[("q", "heron")]).await["total"], 150);
    assert_eq!(search(&ada, &front, &[("q", "北京")]).await["total"], 300);
    site.assert_replay_is_equal().await;

    let admin = site.admin().await.unwrap();
    admin.batch_execute("UPDATE search.messages SET text = '' WHERE text LIKE '% heron 7 %'").await.unwrap();
    let (good, words) = site.natterjack(&["verify"]).await;
    assert!(!good && words.contains("search.messages") && words.contains("DIFFERENT"), "{words}");
    let (good, words) = site.natterjack(&["rebuild", "search"]).await;
    assert!(good, "{words}");
    let (good, words) = site.natterjack(&["verify"]).await;
    assert!(good, "{words}");
    projector.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_index_does_not_take_is_parked_and_the_others_are_found() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "private").await;
    site.searchable().await;
    let admin = site.admin().await.unwrap();
    let refuse = "ALTER TABLE search.messages ADD CONSTRAINT fair CHECK (text NOT LIKE '% poison %')";
    admin.batch_execute(refuse).await.unwrap();
    let mut socket = ada.connect(&front).await;
    for text in ["frog before", "frog poison", "frog after"] {
        socket.post(room, text).await;
    }
    site.searchable().await;
    assert_eq!(finds(&ada, &front, "frog").await.len(), 2);
    let parked = admin.query_one("SELECT error FROM search.parked", &[]).await.unwrap();
    assert!(parked.get::<_, String>(0).contains("23514"));
    let (_, words) = site.natterjack(&["doctor"]).await;
    assert!(words.contains("1 event(s) are parked"), "{words}");

    admin.batch_execute("ALTER TABLE search.messages DROP CONSTRAINT fair").await.unwrap();
    let (good, words) = site.natterjack(&["rebuild", "search"]).await;
    assert!(good, "{words}");
    assert_eq!(finds(&ada, &front, "frog").await.len(), 3);
    site.assert_replay_is_equal().await;
    projector.stop().await;
}
