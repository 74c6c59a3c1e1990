//! What holds for any bytes that nats-server sends. `fuzz/` runs it, and the tests run it over the corpus.

use async_nats::{HeaderMap, HeaderValue, Message, header::HeaderName};
use bytes::{BufMut, Bytes};
use futures_util::FutureExt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use watermelon_proto::{
    ServerMessage,
    proto::{ServerOp, StreamDecoder},
};

use crate::{Event, Signal, Subject, feeds, live, reader};

/// The subject, headers one a line, an empty line, the body.
struct Told<'a> {
    subject: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Told<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.lines();
        let subject = lines.next()?;
        if subject.is_empty() || subject.contains(char::is_whitespace) {
            return None;
        }
        let headers = lines.filter_map(|line| line.split_once(':').map(|(name, value)| (name, value.trim())));
        // What no server passes on, and names of its own in other letters, which only one of the clients takes for them.
        let headers = headers.filter(|(name, value)| {
            let is_mistaken = |known: &&str| known.eq_ignore_ascii_case(name) && known != name;
            !feeds::HEADERS.iter().any(is_mistaken)
                && name.parse::<HeaderName>().is_ok()
                && value.parse::<HeaderValue>().is_ok()
        });
        Some(Self { subject, headers: headers.collect(), body: &bytes[end + 2..] })
    }

    fn message(&self) -> Message {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name.parse::<HeaderName>().expect("it was checked"), *value);
        }
        Message {
            subject: self.subject.into(),
            reply: None,
            payload: Bytes::copy_from_slice(self.body),
            length: self.body.len(),
            headers: (!headers.is_empty()).then_some(headers),
            status: None,
            description: None,
        }
    }

    /// As the connection for feeds gets it; none where its codec takes less than the other client's.
    fn over_feeds(&self) -> Option<Message> {
        let lines = self.headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat());
        let head = ["NATS/1.0\r\n", &lines.collect::<String>(), "\r\n"].concat();
        let mut wire =
            format!("HMSG {} 1 {} {}\r\n{head}", self.subject, head.len(), head.len() + self.body.len());
        wire.reserve(self.body.len());
        let mut decoder = StreamDecoder::new();
        decoder.read_buf().put_slice(wire.as_bytes());
        decoder.read_buf().put_slice(self.body);
        decoder.read_buf().put_slice(b"\r\n");
        match decoder.decode() {
            Ok(Some(ServerOp::Message { message })) => Some(feeds::told_by_the_client(message)),
            Ok(Some(_) | None) => panic!("a whole message was sent"),
            Err(_) => None,
        }
    }
}

/// A message is an event whose every part can be trusted, or none; and the same over both connections.
pub fn log_message(bytes: &[u8]) {
    let Some(told) = Told::read(bytes) else { return };
    let read = Event::from_message(told.message());
    if let Ok(event) = &read {
        check(event, told.body);
        let subject = event.subject.to_string();
        assert!(told.headers.iter().any(|(name, value)| *name == "Nats-Subject" && *value == subject));
    }
    if let Some(message) = told.over_feeds() {
        // It keeps those headers only that make an event, and may find another one missing first.
        let over_feeds = Event::from_message(message).map_err(|not| not.seq);
        assert_eq!(over_feeds, read.clone().map_err(|not| not.seq));
    }
    if let Ok(event) = Event::from_reader(told.message(), 7, "2026-11-20T19:00:00Z".into()) {
        check(&event, told.body);
        assert_eq!((event.seq, event.subject.to_string().as_str()), (7, told.subject));
    }
    match live::read(told.message()) {
        Signal::Event(event) => assert_eq!(Ok(event), read),
        Signal::Unreadable(not) => assert_eq!(Err(not), read),
        Signal::Ephemeral(body) => assert_eq!(body, told.body),
    }
}

fn check(event: &Event, body: &[u8]) {
    assert_eq!(event.subject.to_string().parse::<Subject>(), Ok(event.subject));
    assert_eq!(event.body, body);
    let quoted = format!("\"{}\"", event.ts);
    assert_eq!(
        serde_json::from_str::<String>(&quoted).ok().as_ref(),
        Some(&event.ts),
        "it stands in JSON as it is"
    );
}

/// The subject that a reader's message asks to be acknowledged on says where it stands, or nothing.
pub fn log_place(bytes: &[u8]) {
    let Ok(reply) = std::str::from_utf8(bytes) else { return };
    let message = |reply: &str| Message {
        subject: "s".into(),
        reply: Some(reply.into()),
        payload: Bytes::new(),
        length: 0,
        headers: None,
        status: None,
        description: None,
    };
    let Some(place) = reader::place(&message(reply)) else { return };
    assert!(reply.starts_with("$JS.ACK."));
    let nanos = OffsetDateTime::parse(&place.ts, &Rfc3339).expect("a time").unix_timestamp_nanos();
    let (seq, number, pending) = (place.seq, place.number, place.pending);
    let again = format!("$JS.ACK.s.c.1.{seq}.{number}.{nanos}.{pending}");
    let again = reader::place(&message(&again)).expect("it is in its short form");
    assert_eq!((again.seq, again.number, again.pending), (seq, number, pending));
    assert_eq!(again.ts, place.ts);
}

/// What the connection for feeds hears, from the server's first word on, means the same in whatever pieces it comes.
pub fn feeds(bytes: &[u8]) {
    let whole = heard(bytes, bytes.len().max(1));
    assert_eq!(whole, heard(bytes, 1));
    assert_eq!(whole, heard(bytes, 7));
    for message in whole.into_iter().flatten() {
        if let Signal::Event(event) = live::read(feeds::told_by_the_client(message)) {
            check(&event, &event.body.clone());
        }
    }
}

/// The messages before what cannot be understood; none where the greeting is not one.
fn heard(bytes: &[u8], piece: usize) -> Option<Vec<ServerMessage>> {
    let (mut decoder, mut messages, mut rest) = (StreamDecoder::new(), vec![], bytes);
    // Pieces of the greeting are as large as the server's are: it comes in one.
    feeds::await_info(&mut rest, &mut decoder).now_or_never().expect("all has come").ok()?;
    for piece in [&[][..]].into_iter().chain(rest.chunks(piece)) {
        decoder.read_buf().put_slice(piece);
        loop {
            match decoder.decode() {
                Ok(Some(ServerOp::Message { message })) => messages.push(message),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Some(messages),
            }
        }
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay::replay("log_message", log_message);
        replay::replay("log_place", log_place);
        replay::replay("feeds", feeds);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
