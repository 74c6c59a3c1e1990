//! An event as the log delivers it.

use async_nats::{HeaderMap, Message, jetstream::message::StreamMessage};
use bytes::Bytes;

use crate::{reader::time_stamp, subject::Subject};

/// Marks an event that a front wrote: its body is a [`natterjack_wire::StoredEvent`]. The value is the
/// version of the headers.
pub const VERSION_HEADER: &str = "Nj-V";

/// A stored event. The body shares the bytes that came from the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub subject: Subject,
    /// Sequence in its stream.
    pub seq: u64,
    /// Sequence of the event before it on the same subject, 0 for the first. Only live events bear it.
    pub last: Option<u64>,
    /// When the log stored it, in the log's own words (RFC 3339, UTC, nanoseconds).
    pub ts: String,
    /// Whether a front wrote it. The body of any other message cannot be trusted to be JSON.
    pub known: bool,
    pub body: Bytes,
}

/// A message without what makes an event: its sequence, its time, a subject of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message at sequence {seq:?} is not an event: {reason}")]
pub struct NotAnEvent {
    /// Its sequence, where that at least is known.
    pub seq: Option<u64>,
    pub reason: &'static str,
}

impl Event {
    /// Reads a message of a direct get or a republished one: both bear the same headers.
    pub fn from_message(message: Message) -> Result<Self, NotAnEvent> {
        let headers = message.headers.as_ref();
        let seq = headers.and_then(|h| number(h, "Nats-Sequence"));
        let not = |reason| NotAnEvent { seq, reason };
        let headers = headers.ok_or(not("it has no headers"))?;
        let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
        Ok(Self {
            subject: text("Nats-Subject")
                .and_then(|s| s.parse().ok())
                .ok_or(not("its subject is none of the log's"))?,
            seq: seq.ok_or(not("it has no sequence"))?,
            last: number(headers, "Nats-Last-Sequence"),
            ts: text("Nats-Time-Stamp").filter(|ts| is_plain(ts)).ok_or(not("it has no time"))?.to_owned(),
            known: is_known(Some(headers)),
            body: message.payload,
        })
    }

    /// Reads a message of a [`crate::Reader`]'s: it bears its own subject, and those headers only that it was stored with.
    pub(crate) fn from_reader(message: Message, seq: u64, ts: String) -> Result<Self, NotAnEvent> {
        let not = |reason| NotAnEvent { seq: Some(seq), reason };
        Ok(Self {
            subject: message.subject.parse().map_err(|_| not("its subject is none of the log's"))?,
            seq,
            last: None,
            ts,
            known: is_known(message.headers.as_ref()),
            body: message.payload,
        })
    }

    /// Reads a message that the stream's leader was asked for.
    pub(crate) fn from_stored(message: StreamMessage) -> Result<Self, NotAnEvent> {
        let not = |reason| NotAnEvent { seq: Some(message.sequence), reason };
        Ok(Self {
            subject: message.subject.parse().map_err(|_| not("its subject is none of the log's"))?,
            seq: message.sequence,
            last: None,
            ts: time_stamp(message.time.unix_timestamp_nanos()).ok_or(not("it has no time"))?,
            known: is_known(Some(&message.headers)),
            body: message.payload,
        })
    }
}

fn is_known(headers: Option<&HeaderMap>) -> bool {
    headers.and_then(|headers| headers.get(VERSION_HEADER)).is_some_and(|version| version.as_str() == "1")
}

/// The time goes into frames as it is.
fn is_plain(ts: &str) -> bool {
    !ts.is_empty() && ts.len() <= 64 && ts.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
