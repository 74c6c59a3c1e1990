//! Reading a whole stream in its order, by a consumer of the reader's own.
//!
//! A batched direct get costs nats-server four times as much for each message as a pull consumer does. The consumer knows
//! nothing that the reader does not: it waits for no acknowledgement, lives in the server's memory, and goes with the reader.

use std::time::Duration;

use async_nats::{
    Client, Message,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{runtime::Handle, select, sync::watch, time::timeout};

use crate::{
    Link, Log,
    definition::stream_name,
    event::{Event, NotAnEvent},
    metrics,
    read::{BATCH_MAX_BYTES, ReadError},
};

/// The server forgets a consumer that nobody has asked for this long.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);
/// How nats-server ends an answer that has reached [`BATCH_MAX_BYTES`].
const CUT: &str = "Message Size Exceeds MaxBytes";

/// Reads one stream from a place on, over the connection that carries live events. Made by [`Log::reader`].
///
/// An error, or being cut off, ends it: nobody would know where its consumer is. So does a gap of its connection, after
/// which the stream may be another one.
pub struct Reader {
    consumer: Consumer,
    link: watch::Receiver<Link>,
    gaps: u64,
    answers_within: Duration,
}

/// Stored messages that follow each other.
#[derive(Debug, Default)]
pub struct Run {
    /// A message that is no event is given as what is known of it.
    pub events: Vec<Result<Event, NotAnEvent>>,
    /// There was more when the last of them was sent.
    pub more: bool,
}

struct Consumer {
    client: Client,
    /// `<stream>.<consumer>`.
    name: String,
    /// Messages that it has sent so far.
    sent: u64,
}

/// What is known of a message by the subject that it asks to be acknowledged on.
pub(crate) struct Place {
    pub seq: u64,
    pub ts: String,
    /// Its number among all that its consumer has sent.
    pub number: u64,
    pub pending: u64,
}

#[derive(Serialize)]
struct Pull {
    batch: usize,
    max_bytes: u64,
    no_wait: bool,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl Log {
    /// A reader of stream `stream` that begins after the sequence `after`.
    pub async fn reader(&self, stream: u16, after: u64) -> Result<Reader, ReadError> {
        let (client, link) = (self.live.client.clone(), self.live.link.clone());
        let Link { connected, gaps } = *link.borrow();
        if !connected {
            return Err(ReadError::Unavailable);
        }
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: FORGOTTEN_AFTER,
            ..pull::Config::default()
        };
        let stream = stream_name(stream);
        let answers_within = self.config.read_timeout;
        // Over the connection that it will be asked on: the server at its other end has heard of it then.
        let context = jetstream::context::ContextBuilder::new().timeout(answers_within).build(client.clone());
        let made = context.create_consumer_on_stream(config, &stream).await;
        let made = made.map_err(|error| ReadError::Refused(error.to_string()))?;
        let name = format!("{stream}.{}", made.cached_info().name);
        Ok(Reader { consumer: Consumer { client, name, sent: 0 }, link, gaps, answers_within })
    }
}

impl Reader {
    /// Up to `max` messages that are stored already, in order and without leaving any out: what is not there is not in
    /// the stream.
    pub async fn next(self, max: usize) -> Result<(Self, Run), ReadError> {
        self.pull(max, None).await
    }

    /// The next message, as soon as there is one; none after `limit`.
    pub async fn wait(self, limit: Duration) -> Result<(Self, Run), ReadError> {
        self.pull(1, Some(limit)).await
    }

    async fn pull(mut self, max: usize, wait: Option<Duration>) -> Result<(Self, Run), ReadError> {
        metrics::read("run");
        let limit = self.answers_within + wait.unwrap_or_default();
        let gaps = self.gaps;
        let run = select! {
            biased;
            _ = self.link.wait_for(|link| !link.connected || link.gaps != gaps) => {
                return Err(ReadError::Unavailable);
            }
            run = timeout(limit, self.consumer.pull(max, wait)) => run.unwrap_or(Err(ReadError::Timeout))?,
        };
        Ok((self, run))
    }
}

impl Consumer {
    async fn pull(&mut self, max: usize, wait: Option<Duration>) -> Result<Run, ReadError> {
        let expires = wait.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let request = Pull { batch: max, max_bytes: BATCH_MAX_BYTES, no_wait: wait.is_none(), expires };
        let body = serde_json::to_vec(&request).expect("a request is plain data");
        let (inbox, subject) = (self.client.new_inbox(), format!("$JS.API.CONSUMER.MSG.NEXT.{}", self.name));
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|_| ReadError::Unavailable)?;
        let asked = self.client.publish_with_reply(subject, inbox, body.into()).await;
        asked.map_err(|_| ReadError::Unavailable)?;
        let (mut run, mut bytes) = (Run::default(), 0);
        // An answer that comes to its size exactly ends without a word.
        while run.events.len() < max && bytes < BATCH_MAX_BYTES {
            let message = answers.next().await.ok_or(ReadError::Unavailable)?;
            match message.status.map(|s| s.as_u16()) {
                None => {
                    let place = place(&message).ok_or(ReadError::Incomplete)?;
                    self.sent += 1;
                    bytes += message.length as u64;
                    if place.number != self.sent {
                        return Err(ReadError::Incomplete);
                    }
                    run.more = place.pending > 0;
                    run.events.push(Event::from_reader(message, place.seq, place.ts));
                }
                // Nothing was there, or nothing came in time.
                Some(404 | 408) => {
                    run.more = false;
                    break;
                }
                Some(409) if message.description.as_deref() == Some(CUT) => break,
                Some(503) => return Err(ReadError::Unavailable),
                Some(status) => {
                    let text = message.description.unwrap_or_default();
                    return Err(ReadError::Refused(format!("{status} {text}")));
                }
            }
        }
        Ok(run)
    }
}

/// Best effort: who misses it forgets the consumer later.
impl Drop for Consumer {
    fn drop(&mut self) {
        let (client, subject) = (self.client.clone(), format!("$JS.API.CONSUMER.DELETE.{}", self.name));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { client.publish(subject, Bytes::new()).await });
        }
    }
}

/// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<number>.<nanoseconds>.<pending>` (nats-server ADR-15), or its
/// longer form, which names domain and account too.
pub(crate) fn place(message: &Message) -> Option<Place> {
    let subject = message.reply.as_deref()?;
    let tokens = subject.strip_prefix("$JS.ACK.")?.split('.');
    let skip = if tokens.clone().count() == 7 { 3 } else { 5 };
    let mut numbers = tokens.skip(skip).map(|token| token.parse::<u64>().ok());
    let mut number = || numbers.next().flatten();
    let (seq, nth, nanos, pending) = (number()?, number()?, number()?, number()?);
    Some(Place { seq, ts: time_stamp(nanos.into())?, number: nth, pending })
}

/// As the log writes times in headers (Go's `RFC3339Nano`): without zeros at the end.
pub(crate) fn time_stamp(nanos: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_log_writes_them() {
        let written = |nanos| time_stamp(nanos).unwrap();
        assert_eq!(written(1_795_270_811_281_462_790), "2026-11-21T14:20:11.28146279Z");
        assert_eq!(written(1_795_270_811_000_000_001), "2026-11-21T14:20:11.000000001Z");
        assert_eq!(written(1_795_270_811_500_000_000), "2026-11-21T14:20:11.5Z");
        assert_eq!(written(1_795_270_811_000_000_000), "2026-11-21T14:20:11Z");
    }

    #[test]
    fn both_forms_of_a_place_are_read_and_nothing_else() {
        let read = |reply: &str| {
            let message = Message {
                subject: "s".into(),
                reply: Some(reply.into()),
                payload: Bytes::new(),
                headers: None,
                status: None,
                description: None,
                length: 0,
            };
            place(&message).map(|place| (place.seq, place.number, place.pending))
        };
        assert_eq!(read("$JS.ACK.CHAT-0.c.1.7.3.1795270811281462790.9"), Some((7, 3, 9)));
        assert_eq!(read("$JS.ACK._.acc.CHAT-0.c.1.7.3.1795270811281462790.9"), Some((7, 3, 9)));
        assert_eq!(read("$JS.ACK._.acc.CHAT-0.c.1.7.3.1795270811281462790.9.token"), Some((7, 3, 9)));
        assert_eq!(read("$JS.ACK.CHAT-0.c.1.7.3.1795270811281462790"), None);
        assert_eq!(read("$JS.FC.CHAT-0.c.x"), None);
    }
}
