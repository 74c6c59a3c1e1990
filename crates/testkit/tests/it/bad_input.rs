//! Frames that should not have been sent: each gets its named error, and the connection loses nothing but what it must.

use natterjack_domain::{ClientId, RoomId};
use natterjack_testkit::{Site, Socket};
use natterjack_wire::ErrorCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{BINARY, Raw, TEXT};

async fn say(socket: &mut Socket, text: &str) -> Value {
    socket.send_raw(Message::text(text)).await.unwrap();
    answer(socket).await
}

/// The next answer, whatever else comes before it.
async fn answer(socket: &mut Socket) -> Value {
    socket.until(|frame| frame["t"] == "ok" || frame["t"] == "err").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_cannot_be_read_is_refused_and_the_connection_goes_on() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = ada.connect(&front).await;
    let room = RoomId::random();
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let too_many = format!("[{}]", vec![r#"{"t":"ping","n":1}"#; 65].join(","));
    let malformed = ErrorCode::FrameMalformed;
    for (text, id, code) in [
        ("nonsense".to_owned(), None, malformed),
        (String::new(), None, malformed),
        ("null".into(), None, malformed),
        (deep.clone(), None, malformed),
        (format!(r#"{{"t":"ping","n":{deep}}}"#), None, malformed),
        (r#"{"t":"sing","id":7}"#.into(), Some(7), malformed),
        (r#"{"id":8}"#.into(), Some(8), malformed),
        (format!(r#"{{"t":"unsub","id":9,"room":"{room}","loud":true}}"#), Some(9), malformed),
        (r#"{"t":"unsub","id":10,"room":"nowhere"}"#.into(), Some(10), malformed),
        (r#"{"t":"unsub","id":-1,"room":"nowhere"}"#.into(), None, malformed),
        (r#"{"t":"welcome","id":11}"#.into(), Some(11), malformed),
        (too_many, None, ErrorCode::BatchTooLong),
    ] {
        let error = say(&mut socket, &text).await;
        assert_eq!(error["code"], code.number(), "{text:.60}: {error}");
        assert_eq!(error["id"].as_u64(), id, "{text:.60}: {error}");
        assert!(error["detail"].is_string() && error["title"] == code.title(), "{error}");
    }
    assert_eq!(say(&mut socket, r#"{"t":"ping","n":1}"#).await, json!({ "t": "ok", "id": 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_frame_in_an_array_spoils_none_of_the_others() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut socket = ada.connect(&front).await;
    let send = |id: u64, body: &str| json!({ "t": "send", "id": id, "room": room, "cid": ClientId::random(), "body": body });
    let frames = json!([send(1, "one"), { "t": "sing", "id": 2 }, send(3, ""), send(4, "four"), { "t": "ping", "n": 5 }]);
    socket.send(&frames).await.unwrap();
    let mut answers = vec![];
    for _ in 0..5 {
        answers.push(answer(&mut socket).await);
    }
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let told: Vec<_> = answers.iter().map(|a| (a["t"].as_str().unwrap(), a["code"].as_u64())).collect();
    let expected = [("ok", None), ("err", Some(4001)), ("err", Some(2002)), ("ok", None), ("ok", None)];
    assert_eq!(told, expected);
    assert!(answers[0]["seq"].as_u64() < answers[3]["seq"].as_u64(), "the order of the frames is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_protocol_closes_the_connection_and_says_why_first() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let huge = vec![b'x'; 4 << 20];
    let cases: [(&str, u8, &[u8], ErrorCode); 6] = [
        ("a byte too many", TEXT, &huge[..65_537], ErrorCode::FrameTooLarge),
        ("four megabytes", TEXT, &huge, ErrorCode::FrameTooLarge),
        ("binary", BINARY, b"{}", ErrorCode::NotText),
        ("not UTF-8", TEXT, b"{\"t\":\"\xff\"}", ErrorCode::NotText),
        ("a reserved bit", TEXT | 0x40, b"{}", ErrorCode::FrameMalformed),
        ("an unknown opcode", 0x83, b"{}", ErrorCode::FrameMalformed),
    ];
    for (what, first, payload, code) in cases {
        let (before, after) = (Raw::open(&front), Raw::connect(&front, &ada.token));
        let (mut before, mut after) = tokio::join!(before, after);
        tokio::join!(before.send(first, payload), after.send(first, payload));
        let (before, after) = tokio::join!(before.words(), after.words());
        for words in [before, after] {
            assert_eq!(words.close, Some(4502), "{what}: {words:?}");
            let (bye, rest) = words.frames.split_last().unwrap();
            assert_eq!(*bye, json!({ "t": "bye", "code": 4502 }), "{what}");
            assert_eq!(rest.last().unwrap()["code"], code.number(), "{what}: {words:?}");
        }
    }
    let mut raw = Raw::connect(&front, &ada.token).await;
    let padded = format!("{}{}", r#"{"t":"ping","n":3}"#, " ".repeat(65_536 - 18));
    raw.send(TEXT, padded.as_bytes()).await;
    raw.send(BINARY, b"").await;
    let words = raw.words().await;
    assert!(words.frames.contains(&json!({ "t": "ok", "id": 3 })), "the longest frame of all is fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_fragments_is_one_message() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut raw = Raw::connect(&front, &ada.token).await;
    raw.send(0x01, br#"{"t":"pi"#).await;
    raw.send(0x89, b"a ping of the transport in between").await;
    raw.send(0x00, br#"ng","n""#).await;
    raw.send(0x80, b":4}").await;
    raw.send(BINARY, b"").await;
    let words = raw.words().await;
    assert!(words.frames.contains(&json!({ "t": "ok", "id": 4 })), "{words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_too_fast_is_told_when_to_go_on_and_stays_connected() {
    let site = Site::builder().start().await;
    let front = site.front_with(&[("FRAMES_PER_SECOND", "1"), ("FRAMES_BURST", "3")]).await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = ada.connect(&front).await;
    let pings: Vec<_> = (0..10).map(|n| json!({ "t": "ping", "n": n })).collect();
    socket.send(&Value::from(pings)).await.unwrap();
    let mut refused = 0;
    for n in 0..10 {
        let answer = answer(&mut socket).await;
        assert_eq!(answer["id"], n, "{answer}");
        if answer["t"] == "err" {
            assert_eq!(answer["code"], ErrorCode::RateLimited.number());
            assert!((1..=1_000).contains(&answer["retry_ms"].as_u64().unwrap()), "{answer}");
            refused += 1;
        }
    }
    assert!((1..=7).contains(&refused), "{refused} of ten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_limited_and_only_what_was_begun_can_be_ended() {
    let site = Site::builder().set("SUBSCRIPTIONS_MAX", 2).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = ada.connect(&front).await;
    let mut rooms = vec![];
    for n in 0..3 {
        rooms.push(ada.create_room(&front, &format!("Pond {n}"), "public").await);
    }
    for room in &rooms[..2] {
        assert_eq!(socket.subscribe(*room, json!({})).await["t"], "ok");
    }
    assert_eq!(socket.subscribe(rooms[2], json!({})).await["code"], ErrorCode::TooManySubscriptions.number());
    assert_eq!(socket.subscribe(rooms[0], json!({})).await["t"], "ok", "once more is not one more");
    let unsub = |room: RoomId| json!({ "t": "unsub", "id": 1, "room": room });
    assert_eq!(socket.ask(unsub(rooms[2])).await["code"], ErrorCode::NotSubscribed.number());
    assert_eq!(socket.ask(unsub(rooms[1])).await, json!({ "t": "ok", "id": 1, "room": rooms[1] }));
    assert_eq!(socket.ask(unsub(rooms[1])).await["code"], ErrorCode::NotSubscribed.number());
    assert_eq!(socket.subscribe(rooms[2], json!({})).await["t"], "ok");
}
