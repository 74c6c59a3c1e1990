//! Whatever a stream holds or NATS delivers becomes an event or is named for what it lacks.

#![allow(clippy::unwrap_used)]

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::{Event, Kind, Subject, Topic, VERSION_HEADER};
use proptest::prelude::*;

const NAMES: [&str; 5] =
    ["Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence", "Nats-Time-Stamp", VERSION_HEADER];

fn message(headers: Option<HeaderMap>) -> Message {
    Message {
        subject: "live.anything".into(),
        reply: None,
        payload: Bytes::from_static(b"{}"),
        headers,
        status: None,
        description: None,
        length: 0,
    }
}

fn any_subject() -> impl Strategy<Value = Subject> {
    (any::<u128>(), 0..3).prop_map(|(id, kind)| {
        let id = uuid::Uuid::from_u128(id);
        match kind {
            0 => Subject::state(RoomId::from_uuid(id)),
            1 => Subject::timeline(RoomId::from_uuid(id)),
            _ => Subject::feed(UserId::from_uuid(id)),
        }
    })
}

/// What may stand in a header, among it what belongs there.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,60}",
        any::<u64>().prop_map(|n| n.to_string()),
        any_subject().prop_map(|s| s.to_string()),
        Just("2026-11-20T19:00:00.123456789Z".to_owned()),
        Just("1".to_owned()),
    ]
}

#[test]
fn a_message_without_headers_is_no_event_and_has_no_place() {
    let not = Event::from_message(message(None)).unwrap_err();
    assert_eq!((not.seq, not.reason), (None, "it has no headers"));
}

proptest! {
    #[test]
    fn any_text_is_a_subject_or_none(text in "\\PC{0,120}") {
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.to_string(), text);
        }
    }

    #[test]
    fn any_tokens_are_a_subject_or_none(
        tokens in prop::collection::vec("room|user|live|state|timeline|feed|[0-9a-f]{2}|[*>]|[0-9a-f-]{36}", 0..6),
    ) {
        let text = tokens.join(".");
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.to_string(), text);
        }
    }

    #[test]
    fn a_subject_reads_back_and_lies_in_its_own_partition(subject in any_subject(), streams in 1..=64_u16) {
        prop_assert_eq!(subject.to_string().parse(), Ok(subject));
        prop_assert!(subject.topic.partition() < 64);
        prop_assert!(subject.topic.stream(streams) < streams);
        prop_assert_eq!(subject.kind == Kind::Feed, matches!(subject.topic, Topic::User(_)));
    }

    #[test]
    fn any_headers_make_an_event_or_none(
        values in prop::collection::vec((0..NAMES.len(), any_value()), 0..8),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(NAMES[name], value);
        }
        if let Ok(event) = Event::from_message(message(Some(headers))) {
            let ts = format!("\"{}\"", event.ts);
            prop_assert!(!event.ts.is_empty() && !ts[1..ts.len() - 1].contains(['"', '\\']), "{ts}");
        }
    }
}
