//! One client's connection, from `hello` to the close.

use std::{io, pin::pin, sync::Arc, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use natterjack_domain::{SessionId, UserId, presence::Availability};
use natterjack_eventlog::Topic;
use natterjack_identity::Claims;
use natterjack_wire::{
    ClientFrame, ErrorCode, ServerFrame,
    frame::{self, CloseCode},
};
use tokio::{
    net::TcpStream,
    select,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Context, encode,
    hello::{self, Frames, Hello, refuse},
    outbox::Outbox,
    socket::{Incoming, Socket},
    upgrade::{Arrival, Held},
};
use crate::{
    fault::Fault,
    hub::{Followed, Member},
    metrics,
    outside::{HashMap, ReadHalf, WriteHalf},
    presence::Present,
    registry::Registration,
};

/// How long a client may take to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a draining connection waits for answers of the log.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Clients come back after a drain within this time, each at its own moment.
const COME_BACK_MS: std::ops::Range<u64> = 100..2_000;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Gone,
    Close(CloseCode),
}

pub(super) struct Session {
    pub context: Arc<Context>,
    pub user: UserId,
    pub login: SessionId,
    pub member: Member,
    /// When the access token runs out.
    pub expires: Instant,
    /// Where the connection is a member: its rooms, and the person's own feed.
    pub topics: HashMap<Topic, Followed>,
    /// Topics that are to be caught up a while later.
    pub retries: Vec<(Topic, AbortOnDropHandle<()>)>,
    pub in_flight: Arc<Semaphore>,
    /// None until the client has said how present it is, or has not said so with its first words.
    pub presence: Option<Present>,
    last_seen: Instant,
}

/// Serves one connection from the upgrade to its end.
///
/// What a connection costs is this future, for as long as it does nothing. What it does now and then is boxed: it
/// takes its memory for the moment.
pub(super) async fn serve(context: Arc<Context>, arrival: Box<Arrival>) {
    let Some((mut connection, hello)) = Box::pin(Connection::open(context, arrival)).await else { return };
    let end = connection.converse(hello).await;
    Box::pin(connection.close(end)).await;
}

/// The same over a connection of the model's.
#[cfg(test)]
pub(crate) async fn serve_over(context: Arc<Context>, read: ReadHalf, write: WriteHalf, claims: Claims) {
    let greeted = Connection::greet(context, read, write, &[], Some(claims), Held::default()).await;
    let Some((mut connection, hello)) = greeted else { return };
    let end = connection.converse(hello).await;
    connection.close(end).await;
}

/// A client that was let in.
struct Connection {
    socket: Socket,
    session: Session,
    registration: Registration,
    _held: Held,
}

impl Connection {
    /// Gives the client's first words too; `None` when it was not let in.
    async fn open(context: Arc<Context>, arrival: Box<Arrival>) -> Option<(Self, Box<Hello>)> {
        let Arrival { upgraded, bearer, held } = *arrival;
        let parts = match upgraded.await.map(Upgraded::downcast::<TokioIo<TcpStream>>) {
            Ok(Ok(parts)) => parts,
            Ok(Err(_)) => {
                tracing::error!("an upgraded connection is no TCP connection");
                return None;
            }
            Err(error) => {
                tracing::debug!(%error, "an upgrade failed");
                return None;
            }
        };
        let (read, write) = parts.io.into_inner().into_split();
        Self::greet(context, read, write, &parts.read_buf, bearer, held).await
    }

    /// `begun`: bytes that were read together with the upgrade request.
    pub(super) async fn greet(
        context: Arc<Context>,
        read: impl Into<ReadHalf>,
        write: impl Into<WriteHalf>,
        begun: &[u8],
        bearer: Option<Claims>,
        held: Held,
    ) -> Option<(Self, Box<Hello>)> {
        let limits = &context.config;
        let outbox = Arc::new(Outbox::new(write.into(), limits.outbox_max_bytes));
        let mut socket = Socket::new(read.into(), begun, outbox.clone(), limits.frame_max_bytes);
        let opened = select! {
            biased;
            opened = hello::open(&context, &mut socket, &outbox, bearer) => opened,
            driven = outbox.drive(limits.stall_timeout) => Err(End::of(driven)),
        };
        match opened {
            Ok((session, registration, hello)) => {
                Some((Self { socket, session, registration, _held: held }, Box::new(hello)))
            }
            Err(end) => {
                part(&mut socket, &outbox, end).await;
                None
            }
        }
    }

    async fn converse(&mut self, hello: Box<Hello>) -> End {
        let stall_limit = self.session.context.config.stall_timeout;
        let outbox = self.session.member.outbox.clone();
        select! {
            biased;
            // Also while a request waits, for a client that does not read its answers.
            code = &mut self.registration.close => End::Close(code.unwrap_or(CloseCode::Drain)),
            end = self.session.run(&mut self.socket, hello) => end,
            driven = outbox.drive(stall_limit) => End::of(driven),
        }
    }

    async fn close(mut self, end: End) {
        drop(self.registration);
        let session = self.session;
        if end == End::Close(CloseCode::Drain) {
            // What the client has sent is answered before it is sent away.
            let all = u32::try_from(session.context.config.sends_in_flight).unwrap_or(u32::MAX);
            let _ = timeout(ANSWER_LIMIT, session.in_flight.acquire_many(all)).await;
        }
        part(&mut self.socket, &session.member.outbox, end).await;
        session.leave().await;
    }
}

impl End {
    /// When the outbox can write no more.
    fn of(driven: io::Result<()>) -> Self {
        match driven {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Self::Close(CloseCode::Slow),
            _ => Self::Gone,
        }
    }
}

/// Says goodbye where somebody may hear it, and waits a moment until the client has closed too.
async fn part(socket: &mut Socket, outbox: &Outbox, end: End) {
    match end {
        End::Close(code) => {
            let retry_ms = (code == CloseCode::Drain).then(|| rand::random_range(COME_BACK_MS));
            let bye = encode::frame(&ServerFrame::Bye { code: code.number(), retry_ms });
            outbox.finish(&[bye, encode::close(code.number())]);
            let written = outbox.drive(CLOSE_LIMIT);
            let _ = timeout(CLOSE_LIMIT, async { tokio::join!(written, socket.discard()) }).await;
        }
        End::Gone => outbox.finish(&[]),
    }
    metrics::closed(match end {
        End::Close(code) => code.number(),
        End::Gone => 0,
    });
}

impl Session {
    pub fn new(context: Arc<Context>, claims: &Claims, member: Member) -> Self {
        Self {
            user: claims.user,
            login: claims.session,
            member,
            expires: Instant::now() + context.until(claims.expires_at),
            topics: HashMap::default(),
            retries: vec![],
            in_flight: Arc::new(Semaphore::new(context.config.sends_in_flight)),
            presence: None,
            last_seen: Instant::now(),
            context,
        }
    }

    async fn run(&mut self, socket: &mut Socket, hello: Box<Hello>) -> End {
        if let Some(end) = Box::pin(self.begin(hello)).await {
            return end;
        }
        let outbox = self.member.outbox.clone();
        let mut clock = pin!(sleep(self.context.config.heartbeat));
        let mut heartbeat = clock.deadline();
        loop {
            if clock.deadline() != heartbeat.min(self.expires) {
                clock.as_mut().reset(heartbeat.min(self.expires));
            }
            select! {
                // What has arrived counts before a clock does: a front that was held up must not blame the client.
                biased;
                incoming = socket.next() => {
                    self.last_seen = Instant::now();
                    let ended = match incoming {
                        Incoming::Text(text) => Box::pin(self.take(frame::parse(&text))).await,
                        Incoming::Alive => None,
                        Incoming::Gone => Some(End::Gone),
                        Incoming::Broken(code) => Some(refuse(&outbox, &code.into(), CloseCode::Protocol)),
                    };
                    if let Some(end) = ended {
                        return end;
                    }
                }
                lags = outbox.lagging() => {
                    for lag in lags {
                        Box::pin(self.catch_up(lag)).await;
                    }
                }
                () = &mut clock => {
                    if self.expires <= Instant::now() {
                        return refuse(&outbox, &ErrorCode::TokenExpired.into(), CloseCode::Authentication);
                    }
                    heartbeat = Instant::now() + self.context.config.heartbeat;
                    if let Some(code) = self.check_life() {
                        return End::Close(code);
                    }
                }
            }
        }
    }

    /// Welcomes the client, and acts on what it sent along.
    async fn begin(&mut self, hello: Box<Hello>) -> Option<End> {
        let Hello { client, resume, requests, .. } = *hello;
        match self.welcome(resume, client).await {
            Ok(()) => {
                let ended = self.take(requests).await;
                // Whoever is not to be seen says so with the first words, and was never seen then.
                self.be_present(None);
                ended
            }
            Err(fault) => Some(refuse(&self.member.outbox, &fault, CloseCode::Unavailable)),
        }
    }

    /// The person is there, in this state; without one, as before, or online.
    pub(super) fn be_present(&mut self, state: Option<Availability>) -> &Present {
        if let (Some(present), Some(state)) = (&self.presence, state) {
            present.say(state);
        }
        let (context, user, conn) = (&self.context, self.user, self.member.conn);
        self.presence
            .get_or_insert_with(|| context.presence.enter(user, conn, state.unwrap_or(Availability::Online)))
    }

    async fn take(&mut self, frames: Frames) -> Option<End> {
        for frame in frames {
            if self.expires <= Instant::now() && !matches!(frame, Ok(ClientFrame::Auth { .. })) {
                let outbox = &self.member.outbox;
                return Some(refuse(outbox, &ErrorCode::TokenExpired.into(), CloseCode::Authentication));
            }
            // A client that does not read its answers gets to ask no more questions.
            self.member.outbox.ready().await;
            if let Err(fault) = self.context.limiter.frame(self.user) {
                let id = frame.as_ref().map_or_else(|malformed| malformed.id, ClientFrame::id);
                self.member.outbox.push(&encode::frame(&fault.frame(id)));
                continue;
            }
            match frame {
                Ok(frame) => {
                    if let Some(end) = self.handle(frame).await {
                        return Some(end);
                    }
                }
                Err(malformed) => {
                    metrics::frame("malformed", malformed.code.name(), Duration::ZERO);
                    let fault = Fault::from(malformed.code).because(malformed.detail);
                    self.member.outbox.push(&encode::frame(&fault.frame(malformed.id)));
                }
            }
        }
        None
    }

    fn check_life(&self) -> Option<CloseCode> {
        let outbox = &self.member.outbox;
        if self.last_seen.elapsed() > 2 * self.context.config.heartbeat {
            return Some(CloseCode::Heartbeat);
        }
        if outbox.backlog_bytes() == 0 {
            outbox.push(&encode::ping());
        }
        None
    }

    async fn leave(self) {
        for followed in self.topics.values() {
            followed.detach(self.member.conn).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_a_small_future() {
        let bytes = size_of_future(serve);
        assert!(bytes <= 1_000, "{bytes} bytes");
    }
}
