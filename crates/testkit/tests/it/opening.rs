//! From the upgrade to the close: hello, tokens, signs of life.

use std::time::{SystemTime, UNIX_EPOCH};

use natterjack_testkit::{Closed, Site, Socket, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::raw::{Raw, TEXT};

const AUTHENTICATION: Closed = Closed(Some(4501));

/// Reads an error, `bye` and the close; gives the error.
async fn thrown_out(socket: &mut Socket, close: u16) -> Value {
    let error = socket.next().await.unwrap();
    assert_eq!(error["t"], "err", "{error}");
    assert_eq!(socket.next().await, Ok(json!({ "t": "bye", "code": close })));
    assert_eq!(socket.next().await, Err(Closed(Some(close))));
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn welcome_says_where_one_is_and_what_is_allowed() {
    let site = Site::builder()
        .set("NODE", "pond")
        .set("HEARTBEAT_MS", 12_345)
        .set("MESSAGE_MAX_CHARS", 70)
        .start()
        .await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = Socket::open(&front).await.unwrap();
    socket.send(&json!({ "t": "hello", "token": ada.token, "client": "test/1" })).await.unwrap();
    let welcome = socket.next().await.unwrap();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!(now.abs_diff(welcome["now"].as_u64().unwrap()) < 60_000);
    assert!(welcome["conn"].as_str().unwrap().starts_with("pond-"));
    assert_eq!(welcome["epoch"], json!(&*site.log().await.epoch(0)));
    assert!(welcome["seq"].is_u64());
    for (field, value) in [
        ("t", json!("welcome")),
        ("node", json!("pond")),
        ("user", json!(ada.user)),
        ("recovered", json!(false)),
        ("heartbeat_ms", json!(12_345)),
        ("limits", json!({ "frame_bytes": 65_536, "message_chars": 70, "subscriptions": 500 })),
    ] {
        assert_eq!(welcome[field], value, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_frame_is_hello_and_there_is_no_second_one() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    for (first, code) in [
        (r#"{"t":"ping","n":1}"#, ErrorCode::HelloExpected),
        ("[]", ErrorCode::HelloExpected),
        ("nonsense", ErrorCode::FrameMalformed),
        (r#"{"t":"hello","password":"x"}"#, ErrorCode::FrameMalformed),
    ] {
        let mut socket = Socket::open(&front).await.unwrap();
        socket.send_raw(tokio_tungstenite::tungstenite::Message::text(first)).await.unwrap();
        assert_eq!(thrown_out(&mut socket, 4502).await["code"], code.number(), "{first}");
    }
    let mut socket = ada.connect(&front).await;
    socket.send(&json!({ "t": "hello", "token": ada.token })).await.unwrap();
    assert_eq!(thrown_out(&mut socket, 4502).await["code"], ErrorCode::HelloRepeated.number());
    assert_eq!(socket.closed().await, Closed(None), "nothing follows the close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_may_bring_the_first_requests_along() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut socket = Socket::open(&front).await.unwrap();
    let frames = json!([
        { "t": "hello", "token": ada.token },
        { "t": "sub", "id": 1, "room": room, "after": 0 },
        { "t": "ping", "n": 2 },
    ]);
    socket.send(&frames).await.unwrap();
    let mut types = vec![];
    for _ in 0..4 {
        let of_interest = ["welcome", "ok", "ev", "err"];
        let frame = socket.until(|frame| of_interest.iter().any(|t| frame["t"] == *t)).await;
        types.push(frame["t"].clone());
    }
    assert_eq!(types, ["welcome", "ok", "ev", "ok"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_hello_in_time_is_closed() {
    let site = Site::builder().set("HELLO_TIMEOUT_MS", 50).start().await;
    let front = site.front().await.url();
    let mut socket = Socket::open(&front).await.unwrap();
    assert_eq!(socket.next().await, Ok(json!({ "t": "bye", "code": 4003 })));
    assert_eq!(socket.closed().await, Closed(Some(4003)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_may_stand_in_the_upgrade_request_instead() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let (mut socket, _) = Socket::open_with(&front, &[("authorization", &bearer)]).await.unwrap();
    socket.send(&json!({ "t": "hello" })).await.unwrap();
    assert_eq!(socket.next().await.unwrap()["user"], json!(ada.user));

    let mut nobody = Socket::open(&front).await.unwrap();
    nobody.send(&json!({ "t": "hello" })).await.unwrap();
    assert_eq!(thrown_out(&mut nobody, 4501).await["code"], ErrorCode::TokenMissing.number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upgrade_names_our_protocol_where_it_is_offered_and_refuses_what_is_none() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let upgrade = |more: &[(&'static str, &str)]| {
        let mut request = site
            .http
            .get(format!("{front}/v1/ws"))
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request
    };
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let version = ("sec-websocket-version", "13");
    for (offer, answer) in [
        (Some("natterjack.v1"), Some("natterjack.v1")),
        (Some("chat, natterjack.v1"), Some("natterjack.v1")),
        (Some("natterjack.v2"), None),
        (None, None),
    ] {
        let mut headers = vec![key, version];
        headers.extend(offer.map(|offer| ("sec-websocket-protocol", offer)));
        let response = upgrade(&headers).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        // The example of RFC 6455.
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let chosen = response.headers().get("sec-websocket-protocol").map(|v| v.to_str().unwrap());
        assert_eq!(chosen, answer, "{offer:?}");
    }
    for bad in [vec![], vec![key], vec![version], vec![key, ("sec-websocket-version", "8")]] {
        assert_eq!(refused(upgrade(&bad)).await, ErrorCode::UpgradeExpected, "{bad:?}");
    }
    assert_eq!(refused(site.http.get(format!("{front}/v1/ws"))).await, ErrorCode::UpgradeExpected);
    let forged = upgrade(&[key, version, ("authorization", "Bearer nonsense")]);
    assert_eq!(refused(forged).await, ErrorCode::TokenInvalid);
    let post = site.http.request(Method::POST, format!("{front}/v1/ws"));
    assert_eq!(refused(post).await, ErrorCode::MethodNotAllowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_with_its_token_unless_the_token_is_renewed() {
    let site = Site::builder().set("ACCESS_SECS", 2).start().await;
    let front = site.front().await.url();
    let mut ada = site.register(&front, "ada").await;
    let (mut renewed, mut neglected) = (ada.connect(&front).await, ada.connect(&front).await);
    let closed = tokio::spawn(async move { neglected.last_words().await });
    let mut renewals = 0;
    while !closed.is_finished() {
        ada = ada.refreshed(&front).await;
        let answer = renewed.ask(json!({ "t": "auth", "id": 7, "token": ada.token })).await;
        assert_eq!(answer, json!({ "t": "ok", "id": 7 }));
        renewals += 1;
    }
    assert_eq!(closed.await.unwrap(), (json!({ "t": "bye", "code": 4501 }), AUTHENTICATION));
    assert!(renewals > 0);
    renewed.assert_none(|frame| frame["t"] == "bye").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_session_or_person_renews_nothing() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let other = ada.another(&front).await;
    for token in [&other.token, &bob.token, "nonsense"] {
        let mut socket = ada.connect(&front).await;
        socket.send(&json!({ "t": "auth", "id": 7, "token": token })).await.unwrap();
        let error = thrown_out(&mut socket, 4501).await;
        assert_eq!((&error["id"], &error["code"]), (&json!(7), &json!(ErrorCode::TokenInvalid.number())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let site = Site::builder().set("HEARTBEAT_MS", 700).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let silent = Raw::connect(&front, &ada.token).await;
    let mut alive = ada.connect(&front).await;
    let words = tokio::spawn(silent.words());
    // Reading is what answers the pings.
    let idle = async { alive.until(|frame| frame["t"] == "bye").await };
    tokio::select! {
        words = words => {
            let words = words.unwrap();
            assert_eq!(words.close, Some(4003), "{words:?}");
            assert_eq!(words.frames.last(), Some(&json!({ "t": "bye", "code": 4003 })));
        }
        bye = idle => panic!("{bye}"),
    }
    assert_eq!(alive.ask(json!({ "t": "ping", "n": 5 })).await, json!({ "t": "ok", "id": 5 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_a_sign_of_life_without_any_pong() {
    let site = Site::builder().set("HEARTBEAT_MS", 700).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let silent = tokio::spawn(Raw::connect(&front, &ada.token).await.words());
    let mut talking = Raw::connect(&front, &ada.token).await;
    let mut n = 0;
    eventually("the silent one to be closed", async || {
        n += 1;
        talking.send(TEXT, json!({ "t": "ping", "n": n }).to_string().as_bytes()).await;
        silent.is_finished().then_some(())
    })
    .await;
    talking.send(TEXT, br#"{"t":"hello"}"#).await;
    let words = talking.words().await;
    assert_eq!(words.close, Some(4502), "closed for the second hello and not for silence");
    let answers = words.frames.iter().filter(|frame| frame["t"] == "ok").count();
    assert_eq!(answers, n);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_has_many_tabs_but_not_without_end() {
    let site = Site::builder().set("CONNECTIONS_PER_USER", 3).start().await;
    let front = site.front().await.url();
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut tabs = vec![];
    for _ in 0..3 {
        let mut tab = ada.connect(&front).await;
        tab.subscribe(room, json!({})).await;
        tabs.push(tab);
    }
    let mut one_more = Socket::open(&front).await.unwrap();
    one_more.send(&json!({ "t": "hello", "token": ada.token })).await.unwrap();
    assert_eq!(thrown_out(&mut one_more, 4004).await["code"], ErrorCode::RateLimited.number());
    bob.connect(&front).await;
    let seq = tabs[0].post(room, "to all of my tabs").await["seq"].clone();
    for tab in &mut tabs {
        tab.until(|frame| frame["t"] == "ev" && frame["seq"] == seq).await;
    }
    drop(tabs.pop());
    eventually("the closed tab to make room", async || ada.try_connect(&front).await.map(|_| ())).await;
}
