//! Outgoing WebSocket frames (RFC 6455, section 5.2), encoded once and shared by all who receive them.

use bytes::Bytes;
use natterjack_eventlog::{Event, Topic};
use natterjack_wire::{
    ServerFrame,
    frame::{EVENT_SUFFIX, event_prefix, feed_prefix},
};

const FIN_TEXT: u8 = 0x81;
const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8a;
/// Longest header of an unmasked frame.
const HEADER_MAX: usize = 10;
/// What stands before an event's own bytes is not longer than this while its sequence has 12 digits.
const PREFIX_USUAL: usize = 144;

/// A whole text message in one frame.
pub fn text(payload: &[u8]) -> Bytes {
    whole(payload.len(), |out| out.extend_from_slice(payload))
}

/// A text message in one frame, written once: the header, whose length depends on the payload's,
/// is put before it at last. `expected_len`: what to make room for.
fn whole(expected_len: usize, payload: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_MAX + expected_len);
    out.resize(HEADER_MAX, 0);
    payload(&mut out);
    let (header, len) = header(FIN_TEXT, out.len() - HEADER_MAX);
    let start = HEADER_MAX - len;
    out[start..HEADER_MAX].copy_from_slice(&header[..len]);
    Bytes::from(out).slice(start..)
}

pub fn frame(frame: &ServerFrame) -> Bytes {
    text(&serde_json::to_vec(frame).expect("a frame is plain data"))
}

/// An `ev` or `u` frame around the stored bytes. Two allocations for an event (the bytes and the count of who
/// shares them), none for a delivery.
pub fn event(topic: Topic, event: &Event, prev: u64) -> Bytes {
    let body: &[u8] = if event.known { &event.body } else { b"null" };
    whole(PREFIX_USUAL + body.len() + EVENT_SUFFIX.len(), |out| {
        match topic {
            Topic::Room(room) => event_prefix(out, room, event.seq, prev, &event.ts),
            Topic::User(_) => feed_prefix(out, event.seq, prev, &event.ts),
        }
        out.extend_from_slice(body);
        out.extend_from_slice(EVENT_SUFFIX);
    })
}

pub fn ping() -> Bytes {
    Bytes::from_static(&[FIN_PING, 0])
}

/// `payload`: what the ping bore, at most 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    let (header, len) = header(FIN_PONG, payload.len());
    [&header[..len], payload].concat().into()
}

pub fn close(code: u16) -> Bytes {
    let mut out = vec![FIN_CLOSE, 2];
    out.extend_from_slice(&code.to_be_bytes());
    out.into()
}

/// What a frame that was made here bears.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEADER_MAX,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// The header of an unmasked frame, and how much of the array it takes.
fn header(first: u8, len: usize) -> ([u8; HEADER_MAX], usize) {
    let mut header = [0; HEADER_MAX];
    header[0] = first;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => {
            header[1] = short;
            (header, 2)
        }
        (_, Ok(medium)) => {
            header[1] = 126;
            header[2..4].copy_from_slice(&medium.to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(len as u64).to_be_bytes());
            (header, HEADER_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use natterjack_domain::RoomId;
    use natterjack_eventlog::Subject;
    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    fn decoded(bytes: &Bytes) -> Message {
        let stream = std::io::Cursor::new(bytes.to_vec());
        WebSocket::from_raw_socket(stream, Role::Client, None).read().unwrap()
    }

    #[test]
    fn texts_of_every_length_class_are_read_back_by_a_client() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let payload = "x".repeat(len);
            let frame = text(payload.as_bytes());
            assert_eq!(super::payload(&frame), payload.as_bytes());
            assert_eq!(decoded(&frame), Message::text(payload));
        }
        assert_eq!(decoded(&ping()), Message::Ping(Bytes::new()));
        assert_eq!(decoded(&pong(b"?")), Message::Pong(Bytes::from_static(b"?")));
    }

    #[test]
    fn an_event_is_wrapped_and_never_rebuilt() {
        let room = RoomId::random();
        let subject = Subject::timeline(room);
        let body = Bytes::from_static(br#"{"v":1, "odd" : "spacing"}"#);
        let ts = "2026-11-20T19:00:00.123456789Z".to_owned();
        let known = Event { subject, seq: 7, last: Some(3), ts, known: true, body };
        let expected = format!(
            r#"{{"t":"ev","room":"{room}","seq":7,"prev":5,"ts":"2026-11-20T19:00:00.123456789Z","e":{{"v":1, "odd" : "spacing"}}}}"#
        );
        assert_eq!(decoded(&event(subject.topic, &known, 5)), Message::text(expected));
        let unknown = Event { known: false, body: Bytes::from_static(b"\xff}"), ..known };
        let text = decoded(&event(subject.topic, &unknown, 5)).into_text().unwrap();
        assert!(text.ends_with(r#""e":null}"#), "{text}");
    }
}
