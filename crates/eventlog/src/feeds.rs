//! What is live about people, over one connection for all of them.
//!
//! A front serves thousands of people whose feeds say nothing for hours. The NATS client keeps a channel of about 5 KB
//! for each subscription; here a feed costs what it takes to name it.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, Message, ServerAddr};
use bytes::BufMut as _;
use natterjack_domain::UserId;
use natterjack_runtime::config::Secret;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    select,
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use watermelon_proto::{
    ServerMessage,
    headers::HeaderName,
    proto::{ServerOp, StreamDecoder},
};

use crate::{Config, FollowError, Link, Log, Signal, Topic, event::VERSION_HEADER, live};

/// Signals that wait to be taken; beyond it nothing more is read from the server.
const SIGNALS_WAITING: usize = 1_024;
/// Requests that are sent in one go.
const COMMANDS_AT_ONCE: usize = 256;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// What the server says of itself first.
pub(crate) const INFO_MAX_BYTES: usize = 64 << 10;
const WRITE_LIMIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(100);
/// Whoever comes while the connection is lost waits no longer for it. The client's own connections may be back sooner.
const COMES_BACK: Duration = Duration::from_secs(1);
/// A server that says nothing for three times as long is gone.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Those that make an event.
pub(crate) const HEADERS: [&str; 5] =
    ["Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence", "Nats-Time-Stamp", VERSION_HEADER];

/// Names a subscription.
pub type FeedId = u64;

/// The feeds that are followed.
pub struct Feeds {
    /// Without a bound of its own: a connection to the front brings one to come and one to go.
    commands: mpsc::UnboundedSender<Command>,
    link: watch::Receiver<Link>,
    next: AtomicU64,
    patience: Duration,
}

enum Command {
    Follow { id: FeedId, user: UserId, done: oneshot::Sender<()> },
    Leave(FeedId),
}

impl Log {
    /// Opens the connection for feeds, which comes back by itself. It ends once `Feeds` or the receiver is dropped.
    pub fn feeds(&self) -> (Feeds, mpsc::Receiver<(UserId, Signal)>) {
        let (commands, requests) = mpsc::unbounded_channel();
        let (signals, live) = mpsc::channel(SIGNALS_WAITING);
        let (sender, link) = watch::channel(Link::default());
        let connection = Follower {
            config: self.config.clone(),
            requests,
            signals,
            link: sender,
            followed: HashMap::new(),
        };
        tokio::spawn(connection.run());
        (Feeds { commands, link, next: AtomicU64::new(1), patience: self.config.read_timeout }, live)
    }
}

impl Feeds {
    pub fn name(&self) -> FeedId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Follows a person's feed, under a name that was not used before, until told to leave. When this completes, the
    /// server has the subscription: to miss nothing, ask for the [`Log::heads`] afterwards. Fails when there is
    /// no connection, nor one soon; also then it has to be left.
    pub async fn follow(&self, id: FeedId, user: UserId) -> Result<(), FollowError> {
        let mut link = self.link.clone();
        if !matches!(timeout(COMES_BACK, link.wait_for(|link| link.connected)).await, Ok(Ok(_))) {
            return Err(FollowError::Unavailable);
        }
        let (done, confirmed) = oneshot::channel();
        self.commands.send(Command::Follow { id, user, done }).map_err(|_| FollowError::Unavailable)?;
        match timeout(self.patience, confirmed).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(FollowError::Unavailable),
        }
    }

    pub fn leave(&self, id: FeedId) {
        // A connection that has ended follows nobody.
        let _ = self.commands.send(Command::Leave(id));
    }

    /// Health of the connection, and where it may have missed something.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }
}

struct Follower {
    config: Arc<Config>,
    requests: mpsc::UnboundedReceiver<Command>,
    signals: mpsc::Sender<(UserId, Signal)>,
    link: watch::Sender<Link>,
    followed: HashMap<FeedId, UserId>,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the server did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the server cannot be understood")]
    Decoder(#[from] watermelon_proto::proto::error::DecoderError),
    #[error("the server refuses: {0}")]
    Refused(#[from] watermelon_proto::error::ServerError),
}

/// Nobody wants to know any more.
struct Unwanted;

impl Follower {
    async fn run(mut self) {
        self.follow_all().await;
        self.link.send_modify(|link| link.connected = false);
    }

    /// Connects again and again, until nobody wants to know any more.
    async fn follow_all(&mut self) {
        let servers: Vec<ServerAddr> =
            self.config.url.split(',').filter_map(|server| server.trim().parse().ok()).collect();
        for server in servers.iter().cycle() {
            let connected = timeout(CONNECT_LIMIT, TcpStream::connect((server.host(), server.port())));
            match connected.await.map_err(Lost::from).and_then(|stream| Ok(stream?)) {
                Ok(stream) => match self.serve(stream).await {
                    Ok(Unwanted) => return,
                    Err(error) => {
                        tracing::info!(error = &error as &dyn std::error::Error, "feeds are cut off");
                    }
                },
                Err(error) => tracing::debug!(%error, "nats-server cannot be reached"),
            }
            self.link.send_modify(|link| link.connected = false);
            if self.pause().await.is_err() {
                return;
            }
        }
    }

    /// Waits a moment, refusing whoever comes.
    async fn pause(&mut self) -> Result<(), Unwanted> {
        let pause = sleep(RETRY);
        tokio::pin!(pause);
        loop {
            select! {
                () = &mut pause => return Ok(()),
                command = self.requests.recv() => match command.ok_or(Unwanted)? {
                    Command::Follow { .. } => {}
                    Command::Leave(id) => { self.followed.remove(&id); }
                }
            }
        }
    }

    async fn serve(&mut self, stream: TcpStream) -> Result<Unwanted, Lost> {
        stream.set_nodelay(true)?;
        let (mut read, mut write) = stream.into_split();
        let mut decoder = StreamDecoder::new();
        timeout(CONNECT_LIMIT, await_info(&mut read, &mut decoder)).await??;
        // Who waits for the answer to each ping on its way; the first one answers for all who were followed before.
        let mut pings = VecDeque::from([vec![]]);
        let mut greeting = connect(&self.config);
        for (id, user) in &self.followed {
            subscribe(&mut greeting, *id, *user);
        }
        greeting.push_str("PING\r\n");
        timeout(WRITE_LIMIT, write.write_all(greeting.as_bytes())).await??;
        drop(greeting);
        let mut heard = Instant::now();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut out = String::new();
        loop {
            select! {
                read = read.read_buf(decoder.read_buf()) => {
                    if read? == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    heard = Instant::now();
                    while let Some(op) = decoder.decode()? {
                        match op {
                            ServerOp::Message { message } => if self.hand_on(message).await.is_err() {
                                return Ok(Unwanted);
                            },
                            ServerOp::Ping => out.push_str("PONG\r\n"),
                            ServerOp::Pong => self.confirm(pings.pop_front().unwrap_or_default()),
                            // A subject that is not allowed: to connect again would be told the same. It does not
                            // say whose: all who wait are refused, and may ask again.
                            ServerOp::Error { error } if error.is_fatal() == Some(false) => {
                                tracing::warn!(%error, "nats-server refuses a feed");
                                pings.iter_mut().for_each(Vec::clear);
                            }
                            ServerOp::Error { error } => return Err(error.into()),
                            ServerOp::Info { .. } | ServerOp::Success => {}
                        }
                    }
                }
                command = self.requests.recv() => {
                    let Some(command) = command else { return Ok(Unwanted) };
                    let mut waiting = vec![];
                    self.obey(command, &mut out, &mut waiting);
                    for _ in 1..COMMANDS_AT_ONCE {
                        let Ok(command) = self.requests.try_recv() else { break };
                        self.obey(command, &mut out, &mut waiting);
                    }
                    if !waiting.is_empty() {
                        out.push_str("PING\r\n");
                        pings.push_back(waiting);
                    }
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > 3 * HEARTBEAT {
                        return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                    }
                    out.push_str("PING\r\n");
                    pings.push_back(vec![]);
                }
            }
            if !out.is_empty() {
                timeout(WRITE_LIMIT, write.write_all(out.as_bytes())).await??;
                out.clear();
            }
        }
    }

    fn obey(&mut self, command: Command, out: &mut String, waiting: &mut Vec<oneshot::Sender<()>>) {
        match command {
            Command::Follow { id, user, done } => {
                self.followed.insert(id, user);
                subscribe(out, id, user);
                waiting.push(done);
            }
            Command::Leave(id) => {
                if self.followed.remove(&id).is_some() {
                    let _ = write!(out, "UNSUB {id}\r\n");
                }
            }
        }
    }

    /// The server has done what was asked before a ping.
    fn confirm(&self, waiting: Vec<oneshot::Sender<()>>) {
        for done in waiting {
            // Who asked may have gone.
            let _ = done.send(());
        }
        self.link.send_if_modified(|link| {
            let again = !link.connected;
            if again {
                *link = Link { connected: true, gaps: link.gaps + 1 };
            }
            again
        });
    }

    async fn hand_on(&self, message: ServerMessage) -> Result<(), Unwanted> {
        // Left a moment ago.
        let Some(user) = self.followed.get(&message.subscription_id.into()) else { return Ok(()) };
        self.signals.send((*user, live::read(told_by_the_client(message)))).await.map_err(|_| Unwanted)
    }
}

/// The server speaks first. What it says is read here: the codec takes no address without a scheme, and that is how the
/// members of a cluster name each other.
pub(crate) async fn await_info(
    read: &mut (impl AsyncRead + Unpin),
    decoder: &mut StreamDecoder,
) -> Result<(), Lost> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        tls_required: bool,
    }
    let mut begun = Vec::with_capacity(1_024);
    let end = loop {
        if let Some(end) = begun.windows(2).position(|two| two == b"\r\n") {
            break end;
        }
        if begun.len() > INFO_MAX_BYTES || read.read_buf(&mut begun).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    };
    let info = begun[..end].strip_prefix(b"INFO ").and_then(|info| serde_json::from_slice::<Info>(info).ok());
    let Info { tls_required } = info.ok_or(io::Error::from(io::ErrorKind::InvalidData))?;
    if tls_required {
        // Nothing secret goes over a connection that should have been encrypted.
        return Err(io::Error::from(io::ErrorKind::Unsupported).into());
    }
    decoder.read_buf().put_slice(&begun[end + 2..]);
    Ok(())
}

fn subscribe(out: &mut String, id: FeedId, user: UserId) {
    let _ = write!(out, "SUB {} {id}\r\n", Topic::User(user).live());
}

fn connect(config: &Config) -> String {
    #[derive(Serialize)]
    struct Connect<'a> {
        verbose: bool,
        pedantic: bool,
        headers: bool,
        protocol: u8,
        name: &'static str,
        lang: &'static str,
        version: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pass: Option<&'a str>,
    }
    let connect = Connect {
        verbose: false,
        pedantic: false,
        headers: true,
        // Not told of changes in the cluster, for the same reason.
        protocol: 0,
        name: "natterjack feeds",
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        user: config.user.as_deref(),
        pass: config.password.as_ref().map(Secret::expose),
    };
    format!("CONNECT {}\r\n", serde_json::to_string(&connect).expect("plain data"))
}

/// The same message as the NATS client would have it, with those headers that make an event.
pub(crate) fn told_by_the_client(message: ServerMessage) -> Message {
    let base = message.base;
    let mut headers = HeaderMap::new();
    for name in HEADERS {
        let value = base.headers.get(&HeaderName::from_static(name)).and_then(|value| value.to_str().ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Message {
        subject: base.subject.as_str().into(),
        reply: None,
        length: base.payload.len(),
        payload: base.payload,
        headers: (!headers.is_empty()).then_some(headers),
        status: None,
        description: None,
    }
}
