//! What logs hold can be read for ever, and is written the same way for ever.

#![allow(clippy::unwrap_used)]

mod golden;

use std::{collections::BTreeMap, error::Error, str::FromStr};

use natterjack_domain::{
    AvatarId, MessageBody, Reason, Role, RoomDescription, RoomName, RoomTopic, Visibility,
    attachment::{Attachment, AttachmentKind},
    message::{self, Emoji, Forwarded, Mentions, Meta, Posted},
    profile,
    room::Kind,
    user::quiet::{DoNotDisturb, NotifyLevel, QuietHours},
};
use natterjack_wire::{
    DecodeError, EventBody, Fact, StoredEvent,
    event::{RoomChange, VERSION},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// An id that ends in `n`.
fn id<T: FromStr<Err: std::fmt::Debug>>(n: u8) -> T {
    format!("018f3c1e-7a00-7000-8000-0000000000{n:02x}").parse().unwrap()
}

const UNTIL: u64 = 1_795_197_600_000;

fn reason() -> Reason {
    Reason::parse("spam").unwrap()
}

/// One event at least of each type, by the name of its golden file.
#[expect(clippy::too_many_lines, reason = "one example at least for each event")]
fn examples() -> BTreeMap<String, StoredEvent> {
    let event = |body| StoredEvent { v: VERSION, id: id(1), by: id(2), body };
    let text = |text: &str| MessageBody::parse(text, 100).unwrap();
    let all = [
        EventBody::RoomCreated {
            name: Some(RoomName::parse("Marsh 🐸 \"café\"").unwrap()),
            visibility: Visibility::Private,
            members: vec![id(2), id(3)],
            kind: Kind::Room,
        },
        EventBody::RoomChanged(RoomChange {
            name: Some(RoomName::parse("Pond").unwrap()),
            topic: Some(RoomTopic::parse("frogs").unwrap()),
            description: Some(RoomDescription::parse("All about\nfrogs").unwrap()),
            avatar: Some(AvatarId::parse("frog-1").unwrap()),
            visibility: Some(Visibility::Public),
            slow_mode_s: Some(30),
            read_only: Some(true),
            members_max: Some(50),
        }),
        EventBody::RoomArchived,
        EventBody::RoomRestored,
        EventBody::RoomDeleted,
        EventBody::MemberJoined { user: id(3), invite: None },
        EventBody::MemberLeft { user: id(3), reason: None },
        EventBody::RoleChanged { user: id(3), role: Role::Moderator },
        EventBody::MemberMuted { user: id(3), until: Some(UNTIL), reason: Some(reason()) },
        EventBody::MemberUnmuted { user: id(3) },
        EventBody::MemberBanned { user: id(3), until: Some(UNTIL), reason: Some(reason()) },
        EventBody::MemberUnbanned { user: id(3) },
        EventBody::InviteCreated { invite: id(7), expires: Some(UNTIL), uses_max: Some(5) },
        EventBody::InviteRevoked { invite: id(7) },
        plain("你好,\n\t\"世界\" \\ \u{1f438}\u{200d}"),
        EventBody::MessageEdited {
            mid: id(1),
            body: text("better"),
            mentions: Mentions::default(),
            meta: None,
        },
        EventBody::MessageRecalled { mid: id(1) },
        EventBody::MessageDeleted { mid: id(1), reason: Some(Reason::parse("spam").unwrap()) },
        EventBody::MessageReacted { mid: id(1), emoji: Emoji::parse("👍🏽").unwrap(), on: true },
        EventBody::MessagePinned { mid: id(1) },
        EventBody::MessageUnpinned { mid: id(1) },
        EventBody::UserRegistered { username: "ada".into() },
        EventBody::UserRead { room: id(5), seq: 9_007_199_254_740_991 },
        EventBody::UserMarkedUnread { room: id(5), seq: 812 },
        EventBody::UserThreadRead { room: id(5), thread: id(1), seq: 812 },
        EventBody::UserThreadFollowed { room: id(5), thread: id(1), on: false },
        EventBody::UserDelivered { room: id(5), seq: 812 },
        EventBody::UserDraftSaved { room: id(5), thread: None, body: Some(text("not yet")) },
        EventBody::UserMessageSaved { room: id(5), mid: id(1), on: true },
        EventBody::UserNotifyChanged { room: id(5), level: NotifyLevel::Mentions },
        EventBody::UserDndChanged {
            dnd: DoNotDisturb {
                zone: Some("Europe/Berlin".into()),
                hours: vec![QuietHours { day: 7, from_min: 1_320, to_min: 420 }],
                until: Some(1_795_197_600_000),
            },
        },
        EventBody::UserScheduled {
            sid: id(7),
            room: id(5),
            at: 1_795_197_600_000,
            body: text("good morning"),
            reply_to: None,
            thread: None,
            mentions: Mentions::default(),
        },
        EventBody::UserScheduleBegun { sid: id(7) },
        EventBody::UserScheduleCancelled { sid: id(7) },
        EventBody::UserScheduleSent { sid: id(7), seq: 813 },
        EventBody::UserScheduleFailed { sid: id(7), code: 3002 },
        EventBody::UserProfileChanged {
            nickname: profile::Nickname::parse("Ada 🐸").ok(),
            avatar: profile::Avatar::parse("frog-7").ok(),
            bio: profile::Bio::parse("counts\nfrogs").ok(),
            status: Some(profile::Status {
                text: profile::StatusText::parse("在沼泽里").unwrap(),
                emoji: profile::StatusEmoji::parse("🐸").ok(),
                until: Some(1_795_197_600_000),
            }),
        },
        EventBody::UserDeactivated {},
    ];
    let mut examples: BTreeMap<_, _> = all.map(event).into_iter().map(|e| (file_name(&e.body), e)).collect();
    examples.extend(messages());
    let more = [
        (
            "room.created.direct",
            EventBody::RoomCreated {
                name: None,
                visibility: Visibility::Private,
                members: vec![id(2), id(3)],
                kind: Kind::Direct,
            },
        ),
        (
            "room.changed.topic",
            EventBody::RoomChanged(RoomChange {
                topic: Some(RoomTopic::parse("").unwrap()),
                ..RoomChange::default()
            }),
        ),
        ("room.member_joined.invite", EventBody::MemberJoined { user: id(2), invite: Some(id(7)) }),
        ("room.member_left.removed", EventBody::MemberLeft { user: id(3), reason: Some(reason()) }),
        ("room.member_banned.for_good", EventBody::MemberBanned { user: id(3), until: None, reason: None }),
        ("room.member_muted.for_good", EventBody::MemberMuted { user: id(3), until: None, reason: None }),
        (
            "room.invite_created.open",
            EventBody::InviteCreated { invite: id(7), expires: None, uses_max: None },
        ),
    ];
    examples.extend(more.into_iter().chain(kept()).map(|(name, body)| (format!("{name}.json"), event(body))));
    examples
}

/// What people keep, in its other forms.
fn kept() -> [(&'static str, EventBody); 4] {
    let text = |text: &str| MessageBody::parse(text, 100).unwrap();
    let threaded = EventBody::UserScheduled {
        sid: id(7),
        room: id(5),
        at: 1,
        body: text("in the thread"),
        reply_to: Some(id(6)),
        thread: Some(id(1)),
        mentions: Mentions::new(vec![id(3)], false, false).unwrap(),
    };
    [
        ("user.draft_saved.none", EventBody::UserDraftSaved { room: id(5), thread: Some(id(1)), body: None }),
        ("user.scheduled.thread", threaded),
        (
            "user.profile_changed.nothing",
            EventBody::UserProfileChanged { nickname: None, avatar: None, bio: None, status: None },
        ),
        ("user.dnd_changed.none", EventBody::UserDndChanged { dnd: DoNotDisturb::default() }),
    ]
}

/// Messages that bear more than words.
fn messages() -> BTreeMap<String, StoredEvent> {
    let mut examples = BTreeMap::new();
    let text = |text: &str| MessageBody::parse(text, 100).unwrap();
    let message = |posted| StoredEvent::new(id(1), &Fact::Message(message::Event::Posted(posted)));
    let words = |words| Posted::plain(id(1), id(2), id(4), text(words));
    let reply = Posted { reply_to: Some(id(6)), ..words("yes") };
    examples.insert("message.posted.reply.json".into(), message(reply));
    let file = |kind, name: &str, mime: &str| Attachment {
        id: id(8),
        kind,
        name: name.into(),
        mime: mime.into(),
        size: 48_213,
        width: None,
        height: None,
        duration_ms: None,
        waveform: vec![],
        blur: None,
    };
    let image = file(AttachmentKind::Image, "frog 🐸.webp", "image/webp");
    let image = Attachment { width: Some(640), height: Some(480), blur: Some("LEHV6n".into()), ..image };
    let voice = file(AttachmentKind::Voice, "voice.ogg", "audio/ogg");
    let voice = Attachment { duration_ms: Some(2_500), waveform: vec![0, 7, 255], ..voice };
    let full = Posted {
        thread: Some(id(7)),
        mentions: Mentions::new(vec![id(2), id(3)], true, true).unwrap(),
        meta: Some(meta(json!({ "code": { "language": "rust", "lines": [1, 2] } }))),
        forwarded: Some(Forwarded { room: id(5), mid: id(6), author: id(3) }),
        attachments: vec![image, voice, file(AttachmentKind::File, "notes.pdf", "application/pdf")],
        ..words("all of it")
    };
    examples.insert("message.posted.full.json".into(), message(full));
    let wordless = Posted { meta: Some(meta(json!({ "sticker": "frog" }))), ..words("x") };
    examples.insert(
        "message.posted.wordless.json".into(),
        message(Posted { body: MessageBody::default(), ..wordless }),
    );
    let edited = EventBody::MessageEdited {
        mid: id(1),
        body: text("for all"),
        mentions: Mentions::new(vec![id(3)], false, true).unwrap(),
        meta: Some(meta(json!({ "a": null }))),
    };
    examples.insert(
        "message.edited.full.json".into(),
        StoredEvent { v: VERSION, id: id(1), by: id(2), body: edited },
    );
    let deleted = EventBody::MessageDeleted { mid: id(1), reason: None };
    let deleted = StoredEvent { v: VERSION, id: id(1), by: id(2), body: deleted };
    examples.insert("message.deleted.plain.json".into(), deleted);
    examples
}

fn plain(words: &str) -> EventBody {
    let posted = Posted::plain(id(1), id(2), id(4), MessageBody::parse(words, 100).unwrap());
    StoredEvent::new(id(1), &Fact::Message(message::Event::Posted(posted))).body
}

fn meta(value: Value) -> Meta {
    serde_json::from_value(value).unwrap()
}

/// No `_` arm: a new type of event gets a golden file.
fn file_name(body: &EventBody) -> String {
    let name = match body {
        EventBody::RoomCreated { .. } => "room.created",
        EventBody::RoomChanged(_) => "room.changed",
        EventBody::RoomArchived => "room.archived",
        EventBody::RoomRestored => "room.restored",
        EventBody::RoomDeleted => "room.deleted",
        EventBody::MemberJoined { .. } => "room.member_joined",
        EventBody::MemberLeft { .. } => "room.member_left",
        EventBody::RoleChanged { .. } => "room.role_changed",
        EventBody::MemberMuted { .. } => "room.member_muted",
        EventBody::MemberUnmuted { .. } => "room.member_unmuted",
        EventBody::MemberBanned { .. } => "room.member_banned",
        EventBody::MemberUnbanned { .. } => "room.member_unbanned",
        EventBody::InviteCreated { .. } => "room.invite_created",
        EventBody::InviteRevoked { .. } => "room.invite_revoked",
        EventBody::MessagePosted { .. } => "message.posted",
        EventBody::MessageEdited { .. } => "message.edited",
        EventBody::MessageRecalled { .. } => "message.recalled",
        EventBody::MessageDeleted { .. } => "message.deleted",
        EventBody::MessageReacted { .. } => "message.reacted",
        EventBody::MessagePinned { .. } => "message.pinned",
        EventBody::MessageUnpinned { .. } => "message.unpinned",
        EventBody::UserRegistered { .. } => "user.registered",
        EventBody::UserProfileChanged { .. } => "user.profile_changed",
        EventBody::UserDeactivated {} => "user.deactivated",
        EventBody::UserRead { .. } => "user.read",
        EventBody::UserMarkedUnread { .. } => "user.marked_unread",
        EventBody::UserThreadRead { .. } => "user.thread_read",
        EventBody::UserThreadFollowed { .. } => "user.thread_followed",
        EventBody::UserDelivered { .. } => "user.delivered",
        EventBody::UserDraftSaved { .. } => "user.draft_saved",
        EventBody::UserMessageSaved { .. } => "user.message_saved",
        EventBody::UserNotifyChanged { .. } => "user.notify_changed",
        EventBody::UserDndChanged { .. } => "user.dnd_changed",
        EventBody::UserScheduled { .. } => "user.scheduled",
        EventBody::UserScheduleBegun { .. } => "user.schedule_begun",
        EventBody::UserScheduleCancelled { .. } => "user.schedule_cancelled",
        EventBody::UserScheduleSent { .. } => "user.schedule_sent",
        EventBody::UserScheduleFailed { .. } => "user.schedule_failed",
    };
    format!("{name}.json")
}

#[test]
fn the_current_version_is_written_as_its_golden_files_say() {
    let written = examples()
        .into_iter()
        .map(|(name, event)| (name, String::from_utf8(event.encode().to_vec()).unwrap()));
    golden::assert_equal("events/v1", &written.collect(), false);
}

#[test]
fn every_golden_event_is_read_and_written_again_to_the_same_bytes() {
    let examples = examples();
    for (name, text) in golden::all("events/v1") {
        let event = StoredEvent::decode(text.as_bytes()).unwrap();
        assert_eq!(event, examples[&name], "{name}");
        assert_eq!(event.encode(), text.as_bytes(), "{name}");
        assert_eq!(StoredEvent::new(event.id, &event.clone().fact()), event, "{name}: through the domain");
    }
}

#[test]
fn fields_that_a_later_writer_added_are_passed_over() {
    for (name, text) in golden::all("events/v1") {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["mood"] = json!({ "deep": [1, 2, { "er": null }] });
        let read = StoredEvent::decode(value.to_string().as_bytes()).unwrap();
        assert_eq!(read, StoredEvent::decode(text.as_bytes()).unwrap(), "{name}");
    }
}

#[test]
fn a_newer_version_is_named_whatever_else_it_holds() {
    for v in [json!(2), json!(256), json!(u64::MAX)] {
        let text = json!({ "v": v, "type": "room.painted", "colour": "green" }).to_string();
        let error = StoredEvent::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::NewerVersion(found) if json!(found) == v), "{error:?}");
        assert_eq!(error.to_string(), format!("version {v} is newer than this program, which reads up to 1"));
    }
}

#[test]
fn what_is_no_event_of_this_version_is_malformed_and_says_why() {
    let posted: Value = serde_json::from_str(&golden::all("events/v1")["message.posted.json"]).unwrap();
    let with = |field: &str, value: Value| {
        let mut changed = posted.clone();
        changed[field] = value;
        changed.to_string()
    };
    let without = |field: &str| {
        let mut changed = posted.clone();
        changed.as_object_mut().unwrap().remove(field);
        changed.to_string()
    };
    let cases = [
        (with("type", json!("room.painted")), "unknown variant `room.painted`"),
        (without("type"), "missing field `type`"),
        (without("v"), "missing field `v`"),
        (with("v", json!("1")), "invalid type: string"),
        (with("v", json!(0)), "there is no version 0"),
        (with("v", json!(-1)), "invalid value: integer `-1`"),
        (without("id"), "missing field `id`"),
        (with("id", json!("018F3C1E-7A00-7000-8000-000000000001")), "an id is a UUID in hyphenated form"),
        (without("by"), "missing field `by`"),
        (without("cid"), "missing field `cid`"),
        (with("body", json!(" ")), "the text is empty"),
        (with("meta", json!([])), "invalid type: sequence"),
        (with("meta", json!({ "a": "x".repeat(4_096) })), "longer than 4096 bytes"),
        (with("attachments", json!([{}])), "missing field `id`"),
        (with("body", json!("a\u{0}b")), "control character U+0000"),
        (with("body", json!("x".repeat(8_001))), "longer than 8000 characters"),
        (with("body", json!(7)), "invalid type: integer"),
        ("null".into(), "invalid type: null"),
        ("[1]".into(), "invalid type"),
        (String::new(), "EOF"),
        (format!("{posted}{posted}"), "trailing characters"),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), "invalid type: sequence"),
    ];
    for (text, reason) in cases {
        let error = StoredEvent::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{text:.100}: {error:?}");
        assert_eq!(error.to_string(), "not a stored event");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(reason), "{text:.100}: {source}");
    }
    // Not even in a field that nobody reads: all of it is sent on as text.
    let (head, tail) = (posted.to_string().trim_end_matches('}').to_owned(), b",\"later\":\"\xff\"}");
    assert!(StoredEvent::decode(&[head.as_bytes(), tail].concat()).is_err());
}

#[test]
fn deep_nesting_is_no_danger() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let head = r#"{"v":1,"type":"message.recalled","id":"#;
        assert!(StoredEvent::decode(format!("{head}{deep}}}").as_bytes()).is_err());
        assert!(StoredEvent::decode(deep.as_bytes()).is_err());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Such as are read to the last bit.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        ".{0,20}".prop_map(Value::from),
        Just(json!("018f3c1e-7a00-7000-8000-000000000001")),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_give_an_event_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = StoredEvent::decode(&bytes);
    }

    #[test]
    fn any_value_in_any_field_gives_an_event_or_an_error(
        example in any::<prop::sample::Index>(), field in 0..16_usize, value in any_json(),
    ) {
        let examples: Vec<_> = examples().into_values().collect();
        let event = example.get(&examples);
        let mut changed: Value = serde_json::from_slice(&event.encode()).unwrap();
        let fields: Vec<String> = changed.as_object().unwrap().keys().cloned().collect();
        changed[&fields[field % fields.len()]] = value;
        if let Ok(read) = StoredEvent::decode(changed.to_string().as_bytes()) {
            prop_assert_eq!(StoredEvent::decode(&read.encode()).unwrap(), read);
        }
    }

    #[test]
    fn any_text_comes_back_as_it_was_written(text in "\\PC{1,60}") {
        prop_assume!(MessageBody::parse(&text, 100).is_ok());
        let event = StoredEvent { v: VERSION, id: id(1), by: id(2), body: plain(&text) };
        prop_assert_eq!(StoredEvent::decode(&event.encode()).unwrap(), event);
    }

    #[test]
    fn half_an_event_is_an_error(example in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let examples: Vec<_> = examples().into_values().collect();
        let bytes = example.get(&examples).encode();
        prop_assert!(StoredEvent::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
