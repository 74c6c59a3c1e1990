//! A publisher that knows nothing but the stream: the same subjects, headers and sizes as the product's, on the core that a
//! front and its clients would have.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use async_nats::jetstream;
use bytes::Bytes;
use hdrhistogram::Histogram;
use natterjack_domain::RoomId;
use natterjack_eventlog::{Config, Subject, Topic};
use parking_lot::Mutex;
use tokio::{runtime, sync::oneshot, task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    cores,
    load::{self, Latency, OpenLoop},
    reference::raw_log::{event, headers},
};

pub struct Publisher {
    pub config: Config,
    pub rooms: Vec<RoomId>,
    pub warm_up: Duration,
    pub span: Duration,
}

#[derive(Clone, Copy)]
pub enum Load {
    /// So many messages wait for their acknowledgement at any time.
    InFlight(usize),
    /// So many messages, divided by streams, go in so many atomic batches each; the next one after its acknowledgement.
    Batches {
        messages: usize,
        at_once: usize,
    },
    PerSecond(f64),
}

/// Acknowledgements a second, and the time from sending (in an open loop: from when it was to be sent).
#[derive(Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub latency: Latency,
}

/// How long acknowledgements took, of what was sent since the beginning.
pub struct Timings(Mutex<(u64, Histogram<u64>)>);

impl Timings {
    pub fn new() -> Self {
        Self(Mutex::new((u64::MAX, load::histogram())))
    }

    pub fn begin(&self) {
        *self.0.lock() = (load::now(), load::histogram());
    }

    /// What was sent at `at` is acknowledged now.
    pub fn record(&self, at: u64) {
        let (from, histogram) = &mut *self.0.lock();
        if at >= *from {
            histogram.saturating_record(load::now().saturating_sub(at));
        }
    }

    /// `span` after the beginning; nothing if there was no acknowledgement.
    pub fn end(&self, span: Duration) -> Option<Measured> {
        let (_, histogram) = &*self.0.lock();
        let per_second = histogram.len() as f64 / span.as_secs_f64();
        (!histogram.is_empty()).then(|| Measured { per_second, latency: Latency::of(histogram) })
    }
}

impl Publisher {
    pub async fn run(&self, load: Load) -> anyhow::Result<Measured> {
        let (handle, ready) = oneshot::channel();
        let (_stop, stopped) = oneshot::channel::<()>();
        let publisher = move || {
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
            let _ = handle.send(runtime.handle().clone());
            // Until the measurement has ended.
            let _ = runtime.block_on(stopped);
        };
        cores::on(cores::MEASURED, || thread::spawn(publisher))?;
        let runtime = ready.await.context("the publisher's thread has failed")?;
        let connection = runtime.spawn(async_nats::connect(self.config.url.clone())).await??;
        let source = Arc::new(Source::new(connection, &self.rooms)?);
        let mut tasks = JoinSet::new();
        let mut open_loop = None;
        match load {
            Load::InFlight(count) => {
                for _ in 0..count {
                    tasks.spawn_on(one_by_one(source.clone()), &runtime);
                }
            }
            Load::Batches { messages, at_once } => {
                let streams = self.config.streams;
                for stream in 0..streams {
                    let of_stream = |room: &&RoomId| Topic::Room(**room).stream(streams) == stream;
                    let rooms: Vec<_> = self.rooms.iter().filter(of_stream).copied().collect();
                    for n in 0..at_once {
                        let (parts, part) =
                            (usize::from(streams) * at_once, usize::from(stream) * at_once + n);
                        // What is left over goes to the first.
                        let size = messages / parts + usize::from(part < messages % parts);
                        tasks.spawn_on(in_batches(source.clone(), rooms.clone(), size), &runtime);
                    }
                }
            }
            Load::PerSecond(rate) => {
                let (source, runtime) = (source.clone(), runtime.clone());
                open_loop = Some(OpenLoop::every(Duration::from_secs_f64(1.0 / rate), move |at| {
                    let source = source.clone();
                    // One that fails is missing in the count.
                    runtime.spawn(async move { source.publish(at).await });
                }));
            }
        }
        sleep(self.warm_up).await;
        source.timings.begin();
        sleep(self.span).await;
        let measured = source.timings.end(self.span);
        drop(open_loop);
        if let Some(ended) = tasks.try_join_next() {
            ended??;
        }
        measured.context("nothing was acknowledged")
    }
}

/// What the publisher's tasks share.
struct Source {
    jetstream: jetstream::Context,
    rooms: Vec<RoomId>,
    turn: AtomicUsize,
    body: Bytes,
    timings: Timings,
}

impl Source {
    fn new(client: async_nats::Client, rooms: &[RoomId]) -> anyhow::Result<Self> {
        let (_, body) = event(*rooms.first().context("there are no rooms")?, 0)?;
        let jetstream = jetstream::context::ContextBuilder::new().max_ack_inflight(65_536).build(client);
        let rooms = rooms.to_vec();
        Ok(Self { jetstream, rooms, turn: AtomicUsize::new(0), body, timings: Timings::new() })
    }

    async fn publish(&self, at: u64) -> anyhow::Result<()> {
        let room = self.rooms[self.turn.fetch_add(1, Relaxed) % self.rooms.len()];
        let (subject, headers) = (Subject::timeline(room).to_string(), headers(&Uuid::new_v4().to_string()));
        self.jetstream.publish_with_headers(subject, headers, self.body.clone()).await?.await?;
        self.timings.record(at);
        Ok(())
    }
}

async fn one_by_one(source: Arc<Source>) -> anyhow::Result<()> {
    loop {
        source.publish(load::now()).await?;
    }
}

async fn in_batches(source: Arc<Source>, rooms: Vec<RoomId>, size: usize) -> anyhow::Result<()> {
    let size = size.max(1);
    let client = source.jetstream.client();
    loop {
        let (at, id) = (load::now(), Uuid::new_v4().simple().to_string());
        for (index, room) in rooms.iter().cycle().take(size).enumerate() {
            let (subject, mut headers) =
                (Subject::timeline(*room).to_string(), headers(&Uuid::new_v4().to_string()));
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
            if index + 1 < size {
                client.publish_with_headers(subject, headers, source.body.clone()).await?;
            } else {
                headers.insert("Nats-Batch-Commit", "1");
                source.jetstream.publish_with_headers(subject, headers, source.body.clone()).await?.await?;
            }
        }
        for _ in 0..size {
            source.timings.record(at);
        }
    }
}
