//! Reading stored events by batched direct gets.
//!
//! async-nats has single direct gets only, so the request is written by hand: a JSON body to
//! `$JS.API.DIRECT.GET.<stream>` with a reply inbox (nats-server ADR-31). The answers end with a
//! status message: 204 at the end, 404 when nothing matched.

use async_nats::{Message, jetstream::stream::RawMessageErrorKind};
use futures_util::StreamExt;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    select,
    time::{Duration, Instant, sleep, timeout},
};

use crate::{
    Log,
    connection::{Connection, Link},
    definition::stream_name,
    event::{Event, NotAnEvent, number},
    metrics,
    subject::{Subject, Topic},
};

/// Most subjects in one request for heads; nats-server refuses more results than that.
pub const HEADS_MAX_SUBJECTS: usize = 1_024;
/// What an event that was appended on condition names as the one before it.
const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
/// Messages that are looked through at once.
const LOOK_PAGE: usize = 1_000;
/// How long, and how often, a replica is waited for that is behind the others.
const LOOK_WAIT: Duration = Duration::from_millis(10);
const LOOK_WAITS: usize = 20;
/// Bound of one answer, so that a batch of large events is cut before it fills the memory.
pub(crate) const BATCH_MAX_BYTES: u64 = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log did not answer in time")]
    Timeout,
    #[error("the log cannot be reached")]
    Unavailable,
    #[error("the log refuses to read: {0}")]
    Refused(String),
    #[error("an answer of the log was lost on the way")]
    Incomplete,
}

#[derive(Serialize, Default)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_last: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
}

/// The last event of a topic's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// Last sequence of the state subject of a room; 0 when there is none.
    pub state: u64,
    /// Last sequence of the timeline of a room or of a person's feed; 0 when there is none.
    pub timeline: u64,
}

impl Log {
    /// Up to `max` events of a topic after `after`, in order. Costs the log more the farther they lie back, and
    /// holds up those who append: for short tails only. See [`Self::one_by_one`].
    pub async fn tail(&self, topic: Topic, after: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        self.filtered(topic, topic.all_kinds(), after, max).await
    }

    /// The same up to `head`, one event after the other: slower, and hardly felt by others. For a batch nats-server first
    /// counts what is left of the topic, by looking at each message of many blocks with the stream locked; for one event it
    /// looks no farther than that lies. Gives what it has found when the time for a read is over.
    pub async fn one_by_one(
        &self,
        topic: Topic,
        after: u64,
        head: u64,
        max: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let stream = topic.stream(self.config.streams);
        let (mut events, mut bytes, mut at) = (vec![], 0, after);
        let begun = Instant::now();
        let in_time = || begun.elapsed() < self.config.read_timeout;
        while at < head && events.len() < max && bytes < BATCH_MAX_BYTES && in_time() {
            metrics::read("next");
            let next =
                Request { seq: Some(at + 1), next_by_subj: Some(topic.all_kinds()), ..Request::default() };
            let Some(message) = self.one(&self.replay, stream, &next).await? else { break };
            match Event::from_message(message) {
                Ok(event) => {
                    at = event.seq;
                    bytes += event.body.len() as u64;
                    events.push(event);
                }
                Err(not) => at = not.seq.ok_or(ReadError::Incomplete)?,
            }
        }
        Ok(events)
    }

    /// As [`Self::tail`], for a single subject.
    pub async fn tail_of(&self, subject: Subject, after: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        self.filtered(subject.topic, subject.to_string(), after, max).await
    }

    async fn filtered(
        &self,
        topic: Topic,
        filter: String,
        after: u64,
        max: usize,
    ) -> Result<Vec<Event>, ReadError> {
        metrics::read("topic");
        let request = Request {
            seq: Some(after + 1),
            next_by_subj: Some(filter),
            batch: Some(max),
            max_bytes: Some(BATCH_MAX_BYTES),
            ..Request::default()
        };
        let stream = topic.stream(self.config.streams);
        let events = self.batch(&self.replay, stream, &request, Event::from_message).await?;
        Ok(events.into_iter().filter_map(Result::ok).collect())
    }

    /// The events of `subject` from `head` back to `down_to` (excluded), newest first, `max` at most; and the sequence of
    /// the event before the last one given, 0 when that is the subject's first.
    ///
    /// An event that was appended on condition names the one before it, and the log has checked that. Following these
    /// names finds each event by its sequence, which searches nothing and holds up nobody, however far apart they lie.
    /// An event that names none ends the way: it is not given, and its sequence is the one returned.
    pub async fn back_from(
        &self,
        subject: Subject,
        head: u64,
        down_to: u64,
        max: usize,
    ) -> Result<(Vec<Event>, u64), ReadError> {
        metrics::read("back");
        let stream = subject.topic.stream(self.config.streams);
        let (mut events, mut at) = (vec![], head);
        while at > down_to && events.len() < max {
            let request = Request { seq: Some(at), ..Request::default() };
            let Some(message) = self.one(&self.replay, stream, &request).await? else { break };
            let before = message.headers.as_ref().and_then(|h| number(h, EXPECTED_LAST));
            match (before, Event::from_message(message)) {
                (Some(before), Ok(event)) if before < at && event.subject == subject => {
                    events.push(event);
                    at = before;
                }
                _ => break,
            }
        }
        Ok((events, at))
    }

    /// The message that a request names; none where the replica that answers does not hold it.
    async fn one(
        &self,
        connection: &Connection,
        stream: u16,
        request: &Request,
    ) -> Result<Option<Message>, ReadError> {
        if !connection.link.borrow().connected {
            return Err(ReadError::Unavailable);
        }
        let body = serde_json::to_vec(request).expect("a request is plain data");
        let subject = format!("$JS.API.DIRECT.GET.{}", stream_name(stream));
        let answer = timeout(self.config.read_timeout, connection.client.request(subject, body.into())).await;
        let message = answer.map_err(|_| ReadError::Timeout)?.map_err(|_| ReadError::Unavailable)?;
        match message.status.map(|s| s.as_u16()) {
            None => Ok(Some(message)),
            Some(404) => Ok(None),
            Some(503) => Err(ReadError::Unavailable),
            Some(status) => Err(ReadError::Refused(status.to_string())),
        }
    }

    /// The message at `seq` of stream `stream`, from whichever replica holds it: the leader, or the one nearest to any of
    /// this log's connections. None where none of them can read it.
    pub async fn again(&self, stream: u16, seq: u64) -> Result<Option<Result<Event, NotAnEvent>>, ReadError> {
        metrics::read("again");
        let context = self.jetstream.get_stream_no_info(stream_name(stream)).await;
        let context = context.map_err(|_| ReadError::Unavailable)?;
        match timeout(self.config.read_timeout, context.get_raw_message(seq)).await {
            Ok(Ok(message)) => return Ok(Some(Event::from_stored(message))),
            Ok(Err(error)) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
            Ok(Err(_)) => return Err(ReadError::Unavailable),
            Err(_) => return Err(ReadError::Timeout),
        }
        for connection in [&self.replay, &self.live, &self.publish] {
            let request = Request { seq: Some(seq), ..Request::default() };
            if let Some(message) = self.one(connection, stream, &request).await? {
                return Ok(Some(Event::from_message(message)));
            }
        }
        Ok(None)
    }

    /// The first sequence after `after` and up to `up_to` that the stream gives no message for, be it an event or not.
    pub(crate) async fn first_hole(
        &self,
        stream: u16,
        after: u64,
        up_to: u64,
    ) -> Result<Option<u64>, ReadError> {
        metrics::read("look");
        let (mut at, mut waits) = (after, 0);
        while at < up_to {
            let batch = usize::try_from(up_to - at).map_or(LOOK_PAGE, |left| left.min(LOOK_PAGE));
            let request = Request {
                seq: Some(at + 1),
                batch: Some(batch),
                max_bytes: Some(BATCH_MAX_BYTES),
                ..Request::default()
            };
            let seq = |message: Message| message.headers.as_ref().and_then(|h| number(h, "Nats-Sequence"));
            let page = self.batch(&self.replay, stream, &request, seq).await?;
            if page.is_empty() {
                // A replica that is behind; or a hole at the end, which looks the same.
                if waits == LOOK_WAITS {
                    return Err(ReadError::Incomplete);
                }
                waits += 1;
                sleep(LOOK_WAIT).await;
            }
            for seq in page {
                if seq != Some(at + 1) {
                    return Ok(Some(at + 1));
                }
                at += 1;
            }
        }
        Ok(None)
    }

    /// When the message at `seq` was stored, in nanoseconds since 1970; nothing where that cannot be told.
    pub(crate) async fn stored_at(&self, stream: u16, seq: u64) -> Result<Option<i128>, ReadError> {
        let event = self.again(stream, seq).await?.and_then(Result::ok);
        let at = event.and_then(|event| OffsetDateTime::parse(&event.ts, &Rfc3339).ok());
        Ok(at.map(OffsetDateTime::unix_timestamp_nanos))
    }

    /// The heads of one topic, asked over the connection that carries its live events: what was subscribed to
    /// before is in force when the answer is made.
    pub async fn heads(&self, topic: Topic) -> Result<Heads, ReadError> {
        Ok(self.heads_of(topic.stream(self.config.streams), &[topic]).await?.pop().unwrap_or_default())
    }

    /// Whether the leader has an event of `subject`: for who is told by another replica that there is none.
    pub async fn leader_has(&self, subject: Subject) -> Result<bool, ReadError> {
        metrics::read("leader");
        let stream = self.jetstream.get_stream_no_info(stream_name(self.stream_of(subject.topic))).await;
        let stream = stream.map_err(|_| ReadError::Unavailable)?;
        let subject = subject.to_string();
        let asked = timeout(self.config.read_timeout, stream.get_last_raw_message_by_subject(&subject)).await;
        match asked.map_err(|_| ReadError::Timeout)? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(_) => Err(ReadError::Unavailable),
        }
    }

    /// The heads of up to [`HEADS_MAX_SUBJECTS`]/2 topics of one stream, in the order of `topics`.
    pub async fn heads_of(&self, stream: u16, topics: &[Topic]) -> Result<Vec<Heads>, ReadError> {
        metrics::read("heads");
        let request =
            Request { multi_last: Some(topics.iter().map(Topic::all_kinds).collect()), ..Request::default() };
        let mut heads = vec![Heads::default(); topics.len()];
        // A small question: one that a server took with it when it went is soon asked again.
        let asking = self.batch(&self.live, stream, &request, Event::from_message);
        let found = timeout(self.config.ack_timeout, asking).await.unwrap_or(Err(ReadError::Timeout))?;
        for event in found.into_iter().flatten() {
            for (topic, heads) in topics.iter().zip(&mut heads) {
                if *topic == event.subject.topic {
                    match event.subject.kind {
                        crate::Kind::State => heads.state = event.seq,
                        crate::Kind::Timeline | crate::Kind::Feed => heads.timeline = event.seq,
                    }
                }
            }
        }
        Ok(heads)
    }

    /// The last sequence that stream `stream` has given out; 0 while nothing was ever stored.
    pub async fn last_seq(&self, stream: u16) -> Result<u64, ReadError> {
        metrics::read("last");
        let found = self.jetstream.get_stream(stream_name(stream)).await;
        found.map(|stream| stream.cached_info().state.last_sequence).map_err(|_| ReadError::Unavailable)
    }

    /// `read` gets each message as it comes: their headers cost more than the messages, and need not pile up.
    async fn batch<T>(
        &self,
        connection: &Connection,
        stream: u16,
        request: &Request,
        read: impl Fn(Message) -> T,
    ) -> Result<Vec<T>, ReadError> {
        let mut link = connection.link.clone();
        let Link { connected, gaps } = *link.borrow_and_update();
        if !connected {
            return Err(ReadError::Unavailable);
        }
        select! {
            answer = timeout(self.config.read_timeout, exchange(connection, stream, request, read)) => {
                answer.unwrap_or(Err(ReadError::Timeout))
            }
            // The answer has gone with the connection.
            _ = link.wait_for(|link| !link.connected || link.gaps != gaps) => Err(ReadError::Unavailable),
        }
    }
}

async fn exchange<T>(
    connection: &Connection,
    stream: u16,
    request: &Request,
    read: impl Fn(Message) -> T,
) -> Result<Vec<T>, ReadError> {
    let client = &connection.client;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| ReadError::Unavailable)?;
    let body = serde_json::to_vec(request).expect("a request is plain data");
    let subject = format!("$JS.API.DIRECT.GET.{}", stream_name(stream));
    client.publish_with_reply(subject, inbox, body.into()).await.map_err(|_| ReadError::Unavailable)?;
    let (mut messages, mut pending) = (vec![], None);
    while let Some(message) = answers.next().await {
        match message.status.map(|s| s.as_u16()) {
            None => {
                pending = check_pending(pending, &message)?;
                messages.push(read(message));
            }
            Some(204 | 404) => return Ok(messages),
            Some(503) => return Err(ReadError::Unavailable),
            Some(status) => {
                let text = message.description.unwrap_or_default();
                return Err(ReadError::Refused(format!("{status} {text}")));
            }
        }
    }
    Err(ReadError::Unavailable)
}

/// Each answer says how many are left after it: a lost one shows.
fn check_pending(before: Option<u64>, message: &Message) -> Result<Option<u64>, ReadError> {
    let now = message.headers.as_ref().and_then(|headers| number(headers, "Nats-Num-Pending"));
    match (before, now) {
        // What is appended meanwhile may add to it, never take away more than one.
        (Some(before), Some(now)) if now + 1 < before => Err(ReadError::Incomplete),
        _ => Ok(now),
    }
}
