//! Every frame of the protocol as JSON, and what becomes of bad ones.

#![allow(clippy::unwrap_used)]

mod golden;

use std::{collections::BTreeMap, str::FromStr};

use natterjack_domain::message::{self, Posted};
use natterjack_domain::presence::{Availability, Presence};
use natterjack_wire::{
    ClientFrame, ErrorCode, EventBody, Fact, Position, ServerFrame, StoredEvent,
    draft::{Mentioned, Original},
    frame::{
        self, BATCH_MAX_FRAMES, ClientLimits, Ephemeral, FeedEvent, Membership, Reached, Reply, ResetReason,
        RoomEvent, Seen, Typing, Welcome,
    },
};
use proptest::prelude::*;

fn id<T: FromStr<Err: std::fmt::Debug>>(n: u8) -> T {
    format!("018f3c1e-7a00-7000-8000-0000000000{n:02x}").parse().unwrap()
}

fn position() -> Position {
    Position { epoch: "18c3f2a9d7e4b100".into(), seq: 812 }
}

fn object(text: &str) -> natterjack_wire::draft::JsonObject {
    serde_json::from_str(text).unwrap()
}

fn send(number: u64, body: &str, reply_to: Option<natterjack_domain::MessageId>) -> ClientFrame {
    ClientFrame::Send {
        id: number,
        room: id(5),
        cid: id(4),
        body: Some(body.into()),
        reply_to,
        thread: None,
        mentions: None,
        meta: None,
        forwarded: None,
        attachments: None,
    }
}

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let (room, mid, cid) = (id(5), id(1), id(4));
    vec![
        ("hello", ClientFrame::Hello { token: None, client: None, resume: None }),
        (
            "hello.full",
            ClientFrame::Hello {
                token: Some("eyJ.e30.c2ln".into()),
                client: Some("web/0.1".into()),
                resume: Some(position()),
            },
        ),
        ("auth", ClientFrame::Auth { id: 7, token: "eyJ.e30.c2ln".into() }),
        ("sub", ClientFrame::Sub { id: 1, room, after: None, epoch: None, limit: None }),
        (
            "sub.full",
            ClientFrame::Sub {
                id: 2,
                room,
                after: Some(1040),
                epoch: Some(position().epoch),
                limit: Some(100),
            },
        ),
        ("unsub", ClientFrame::Unsub { id: 3, room }),
        ("send", send(4, "你好 🐸\n\"quoted\"", None)),
        ("send.reply", send(5, "yes", Some(mid))),
        (
            "send.full",
            ClientFrame::Send {
                id: 5,
                room,
                cid,
                body: Some("all of it".into()),
                reply_to: None,
                thread: Some(id(7)),
                mentions: Some(Mentioned { users: Some(vec![id(2)]), all: Some(true), here: None }),
                meta: Some(object(r#"{"sticker":"frog"}"#)),
                forwarded: Some(Original { room: id(5), mid: id(6) }),
                attachments: Some(vec![id(8)]),
            },
        ),
        (
            "edit",
            ClientFrame::Edit { id: 6, room, mid, cid, body: "better".into(), mentions: None, meta: None },
        ),
        (
            "edit.full",
            ClientFrame::Edit {
                id: 6,
                room,
                mid,
                cid,
                body: "better".into(),
                mentions: Some(Mentioned { here: Some(true), ..Mentioned::default() }),
                meta: Some(object("{}")),
            },
        ),
        ("recall", ClientFrame::Recall { id: 7, room, mid, cid }),
        ("delete", ClientFrame::Delete { id: 8, room, mid, cid, reason: None }),
        ("delete.reason", ClientFrame::Delete { id: 8, room, mid, cid, reason: Some("spam".into()) }),
        ("react", ClientFrame::React { id: 9, room, mid, cid, emoji: "👍🏽".into(), on: true }),
        ("pin", ClientFrame::Pin { id: 10, room, mid, cid }),
        ("unpin", ClientFrame::Unpin { id: 11, room, mid, cid }),
        ("read", ClientFrame::Read { room, seq: 1057, thread: None }),
        ("read.thread", ClientFrame::Read { room, seq: 1057, thread: Some(mid) }),
        ("delivered", ClientFrame::Delivered { room, seq: 1057 }),
        ("draft", ClientFrame::Draft { room, thread: None, body: "not yet".into() }),
        ("draft.thread", ClientFrame::Draft { room, thread: Some(mid), body: String::new() }),
        ("typing", ClientFrame::Typing { room, on: true }),
        ("presence", ClientFrame::Presence { state: Some(Availability::Invisible), watch: None }),
        ("presence.watch", ClientFrame::Presence { state: None, watch: Some(vec![id(2), id(3)]) }),
        ("ping", ClientFrame::Ping { n: 9_007_199_254_740_991 }),
    ]
}

/// No `_` arm: a new frame gets a golden file.
fn type_of(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Hello { .. } => "hello",
        ClientFrame::Auth { .. } => "auth",
        ClientFrame::Sub { .. } => "sub",
        ClientFrame::Unsub { .. } => "unsub",
        ClientFrame::Send { .. } => "send",
        ClientFrame::Edit { .. } => "edit",
        ClientFrame::Recall { .. } => "recall",
        ClientFrame::Delete { .. } => "delete",
        ClientFrame::React { .. } => "react",
        ClientFrame::Pin { .. } => "pin",
        ClientFrame::Unpin { .. } => "unpin",
        ClientFrame::Read { .. } => "read",
        ClientFrame::Delivered { .. } => "delivered",
        ClientFrame::Draft { .. } => "draft",
        ClientFrame::Typing { .. } => "typing",
        ClientFrame::Presence { .. } => "presence",
        ClientFrame::Ping { .. } => "ping",
    }
}

fn event(body: EventBody) -> StoredEvent {
    StoredEvent { v: 1, id: id(1), by: id(2), body }
}

fn posted() -> StoredEvent {
    let posted = Posted::plain(id(1), id(2), id(4), "hello".to_owned().try_into().unwrap());
    StoredEvent::new(id(1), &Fact::Message(message::Event::Posted(posted)))
}

fn answers() -> Vec<(&'static str, ServerFrame)> {
    let limits = ClientLimits { frame_bytes: 65_536, message_chars: 8_000, subscriptions: 500 };
    let welcome = Welcome {
        conn: "front-1-7".into(),
        node: "front-1".into(),
        user: id(2),
        epoch: position().epoch,
        seq: 845,
        recovered: true,
        now: 1_795_197_600_000,
        heartbeat_ms: 25_000,
        limits,
    };
    let subscribed = Reply {
        id: 2,
        room: Some(id(5)),
        epoch: Some(position().epoch),
        head: Some(1057),
        recovered: Some(true),
        ..Reply::default()
    };
    let error = |id, code: ErrorCode, detail: Option<&str>, retry_ms| ServerFrame::Err {
        id,
        code: code.number(),
        title: code.title(),
        detail: detail.map(str::to_owned),
        retry_ms,
    };
    vec![
        ("welcome", ServerFrame::Welcome(welcome)),
        ("ok.ping", ServerFrame::Ok(Reply { id: 9, ..Reply::default() })),
        ("ok.send", ServerFrame::Ok(Reply { id: 4, seq: Some(1058), mid: Some(id(1)), ..Reply::default() })),
        ("ok.edit", ServerFrame::Ok(Reply { id: 6, seq: Some(1059), ..Reply::default() })),
        ("ok.unsub", ServerFrame::Ok(Reply { id: 3, room: Some(id(5)), ..Reply::default() })),
        ("ok.sub", ServerFrame::Ok(Reply { recovered: None, ..subscribed.clone() })),
        ("ok.sub.resumed", ServerFrame::Ok(subscribed)),
        ("err", error(Some(4), ErrorCode::NotMember, None, None)),
        ("err.malformed", error(None, ErrorCode::FrameMalformed, Some("unknown variant `sing`"), None)),
        ("err.retry", error(Some(5), ErrorCode::LogUnavailable, None, Some(2_000))),
    ]
}

fn unasked() -> Vec<(&'static str, ServerFrame)> {
    let ts = || "2026-11-20T19:00:00.123456789Z".to_owned();
    let in_room = |e| ServerFrame::Ev(RoomEvent { room: id(5), seq: 1058, prev: 1043, ts: ts(), e });
    let read = event(EventBody::UserRead { room: id(5), seq: 1057 });
    let typing = vec![Typing { user: id(2), on: true }];
    let presence = vec![
        Seen { user: id(2), state: Presence::Away, since: Some(1_795_197_600_000), status: None },
        Seen { user: id(3), state: Presence::Offline, since: None, status: Some(None) },
    ];
    let membership = Some(Membership { room: id(5), seq: 3 });
    let reset = |room, reason| ServerFrame::Reset { room, epoch: position().epoch, reason };
    vec![
        ("ev", in_room(Some(posted()))),
        ("ev.joined", in_room(Some(event(EventBody::MemberJoined { user: id(3), invite: None })))),
        ("ev.foreign", in_room(None)),
        ("u", ServerFrame::U(FeedEvent { seq: 846, prev: 845, ts: ts(), e: Some(read) })),
        ("eph.typing", ServerFrame::Eph(Ephemeral { room: Some(id(5)), typing, ..Ephemeral::default() })),
        (
            "eph.reads",
            ServerFrame::Eph(Ephemeral {
                room: Some(id(5)),
                reads: vec![Reached { user: id(2), seq: 1057 }, Reached { user: id(3), seq: 1043 }],
                ..Ephemeral::default()
            }),
        ),
        (
            "eph.delivered",
            ServerFrame::Eph(Ephemeral {
                room: Some(id(5)),
                delivered: vec![Reached { user: id(2), seq: 1057 }],
                ..Ephemeral::default()
            }),
        ),
        ("eph.presence", ServerFrame::Eph(Ephemeral { presence, ..Ephemeral::default() })),
        ("eph.membership", ServerFrame::Eph(Ephemeral { membership, ..Ephemeral::default() })),
        ("reset.room", reset(Some(id(5)), ResetReason::NotMember)),
        ("reset.gap", reset(Some(id(5)), ResetReason::GapTooLarge)),
        ("reset.late", reset(Some(id(5)), ResetReason::LateEvent)),
        ("reset.feed", reset(None, ResetReason::EpochChanged)),
        ("bye.drain", ServerFrame::Bye { code: 4001, retry_ms: Some(750) }),
        ("bye", ServerFrame::Bye { code: 4502, retry_ms: None }),
    ]
}

fn golden_frames() -> BTreeMap<String, String> {
    let json = |side: &str, name: &str, text| (format!("{side}.{name}.json"), text);
    let client = client_frames();
    let client = client.iter().map(|(n, frame)| json("client", n, serde_json::to_string(frame).unwrap()));
    let server = answers().into_iter().chain(unasked()).collect::<Vec<_>>();
    let server = server.iter().map(|(n, frame)| json("server", n, serde_json::to_string(frame).unwrap()));
    client.chain(server).collect()
}

#[test]
fn frames_are_as_their_golden_files_say() {
    golden::assert_equal("frames", &golden_frames(), true);
}

#[test]
fn every_golden_frame_of_a_client_is_read_to_what_it_was_written_from() {
    let files = golden::all("frames");
    for (name, frame) in client_frames() {
        assert!(name.starts_with(type_of(&frame)));
        assert_eq!(frame::parse(&files[&format!("client.{name}.json")]), [Ok(frame)], "{name}");
    }
}

#[test]
fn an_event_around_stored_bytes_is_the_frame_that_the_type_describes() {
    let files = golden::all("frames");
    let ts = "2026-11-20T19:00:00.123456789Z";
    let mut spliced = vec![];
    frame::event_prefix(&mut spliced, id(5), 1058, 1043, ts);
    spliced.extend_from_slice(&posted().encode());
    spliced.extend_from_slice(frame::EVENT_SUFFIX);
    assert_eq!(String::from_utf8(spliced).unwrap(), files["server.ev.json"]);

    let mut spliced = vec![];
    frame::feed_prefix(&mut spliced, 846, 845, ts);
    spliced.extend_from_slice(&event(EventBody::UserRead { room: id(5), seq: 1057 }).encode());
    spliced.extend_from_slice(frame::EVENT_SUFFIX);
    assert_eq!(String::from_utf8(spliced).unwrap(), files["server.u.json"]);
}

#[test]
fn an_array_is_read_frame_by_frame_and_a_bad_one_spoils_no_other() {
    let text =
        r#" [{"t":"ping","n":1},{"t":"sing","id":7},{"t":"ping","n":2,"volume":11},5,{"t":"ping","n":3}] "#;
    let frames = frame::parse(text);
    let good: Vec<_> = frames.iter().map(|f| f.as_ref().ok()).collect();
    let ping = |n| ClientFrame::Ping { n };
    assert_eq!(good, [Some(&ping(1)), None, None, None, Some(&ping(3))]);
    let sing = frames[1].as_ref().unwrap_err();
    assert_eq!((sing.id, sing.code), (Some(7), ErrorCode::FrameMalformed));
    assert!(sing.detail.contains("unknown variant `sing`"), "{sing}");
    assert!(frames[2].as_ref().unwrap_err().detail.contains("unknown field `volume`"));
    assert_eq!(frames[3].as_ref().unwrap_err().id, None);
    assert_eq!(frame::parse("[]"), []);
}

#[test]
fn an_array_of_too_many_frames_is_refused_as_a_whole() {
    let pings = |n| format!("[{}]", vec![r#"{"t":"ping","n":1}"#; n].join(","));
    assert_eq!(frame::parse(&pings(BATCH_MAX_FRAMES)).len(), BATCH_MAX_FRAMES);
    let refused = frame::parse(&pings(BATCH_MAX_FRAMES + 1));
    let refused = refused.iter().map(|f| f.as_ref().unwrap_err().code).collect::<Vec<_>>();
    assert_eq!(refused, [ErrorCode::BatchTooLong]);
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for deep in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(100_000), deep("[{\"t\":", "}]")] {
        assert!(frame::parse(&deep).iter().all(Result::is_err));
        assert!(frame::parse(&format!(r#"{{"t":"ping","n":{deep}}}"#)).iter().all(Result::is_err));
        assert!(frame::parse(&format!(r#"{{"x":{deep},"t":"ping","n":1}}"#)).iter().all(Result::is_err));
    }
}

proptest! {
    #[test]
    fn any_text_gives_frames_or_errors(text in "\\PC{0,200}") {
        let _ = frame::parse(&text);
    }

    #[test]
    fn any_bytes_in_the_middle_of_a_frame_give_frames_or_errors(
        which in 0..15_usize, at in any::<prop::sample::Index>(), junk in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,40}",
    ) {
        let mut text = serde_json::to_string(&client_frames()[which].1).unwrap();
        let at = at.index(text.len());
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &junk);
        for frame in frame::parse(&text).into_iter().chain(frame::parse(&format!("[{text}]"))).flatten() {
            let again = serde_json::to_string(&frame).unwrap();
            prop_assert_eq!(frame::parse(&again), [Ok(frame)]);
        }
    }

    #[test]
    fn any_body_of_a_message_comes_back_as_it_was_sent(body in any::<String>()) {
        let sent = send(1, &body, None);
        prop_assert_eq!(frame::parse(&serde_json::to_string(&sent).unwrap()), [Ok(sent)]);
    }
}
