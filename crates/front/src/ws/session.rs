//! One client's connection, from `hello` to the close.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use natterjack_domain::{RoomId, SessionId, UserId, user};
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
    time::{Instant, interval, sleep_until, timeout},
};

use super::{
    Context, encode,
    outbox::{Lag, Outbox},
    socket::{Incoming, Socket},
};
use crate::{
    fault::Fault,
    hub::{Handle, Member},
    metrics,
};

/// How long a client may take to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
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
    pub subscriptions: HashMap<RoomId, Arc<Handle>>,
    pub read_marks: user::User,
    pub in_flight: Arc<Semaphore>,
    limiter: DefaultDirectRateLimiter,
    last_seen: Instant,
}

/// Serves one upgraded connection until it ends.
pub async fn serve(context: Arc<Context>, io: TcpStream, begun: Bytes, bearer: Option<Claims>) {
    let (read, write) = io.into_split();
    let limits = &context.config;
    let outbox = Arc::new(Outbox::new(write, limits.outbox_max_bytes));
    let mut socket = Socket::new(read, begun, outbox.clone(), limits.frame_max_bytes).await;
    let end = select! {
        end = converse(&context, &mut socket, &outbox, bearer) => end,
        driven = outbox.drive(limits.stall_timeout) => match driven {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => End::Close(CloseCode::Slow),
            _ => End::Gone,
        },
    };
    if let End::Close(code) = end {
        let retry_ms = match code {
            CloseCode::Drain => Some(rand::random_range(COME_BACK_MS)),
            _ => None,
        };
        outbox.push(&encode::frame(&ServerFrame::Bye { code: code.number(), retry_ms }));
        outbox.push(&encode::close(code.number()));
        outbox.close();
        let _ =
            timeout(CLOSE_LIMIT, async { tokio::join!(outbox.drive(CLOSE_LIMIT), socket.discard()) }).await;
        metrics::closed(code.number());
    } else {
        outbox.close();
        metrics::closed(0);
    }
}

async fn converse(
    context: &Arc<Context>,
    socket: &mut Socket,
    outbox: &Arc<Outbox>,
    bearer: Option<Claims>,
) -> End {
    let hello = match timeout(context.config.hello_timeout, await_hello(socket, outbox)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(end)) => return end,
        Err(_) => return End::Close(CloseCode::Heartbeat),
    };
    let claims = match context.authenticate(hello.token.as_deref(), bearer) {
        Ok(claims) => claims,
        Err(code) => return refuse(outbox, &Fault::from(code), CloseCode::Authentication),
    };
    let per_user = context.config.connections_per_user;
    let Some(mut registration) = context.registry.register(claims.user, claims.session, per_user) else {
        let fault = Fault::from(ErrorCode::RateLimited).because("too many connections of this person");
        return refuse(outbox, &fault, CloseCode::Unavailable);
    };
    // The session may have ended between the check of its token and now.
    if context.revocations.has_ended(claims.session) {
        return refuse(outbox, &ErrorCode::SessionEnded.into(), CloseCode::Authentication);
    }
    let member = Member { conn: registration.conn, user: claims.user, outbox: outbox.clone() };
    let mut session = Session::new(context.clone(), &claims, member);
    let end = match session.welcome(hello.resume, hello.client).await {
        Ok(()) => select! {
            // Also while a request waits, for a client that does not read its answers.
            code = &mut registration.close => End::Close(code.unwrap_or(CloseCode::Drain)),
            end = session.run(socket) => end,
        },
        Err(fault) => refuse(outbox, &fault, CloseCode::Unavailable),
    };
    session.leave().await;
    end
}

struct Hello {
    token: Option<String>,
    client: Option<String>,
    resume: Option<frame::Position>,
}

async fn await_hello(socket: &mut Socket, outbox: &Outbox) -> Result<Hello, End> {
    let protocol = |fault: Fault| Err(refuse(outbox, &fault, CloseCode::Protocol));
    loop {
        let text = match socket.next().await {
            Incoming::Text(text) => text,
            Incoming::Alive => continue,
            Incoming::Gone => return Err(End::Gone),
            Incoming::Broken(code) => return protocol(code.into()),
        };
        return match frame::parse(&text).into_iter().next() {
            Some(Ok(ClientFrame::Hello { token, client, resume })) => Ok(Hello { token, client, resume }),
            Some(Err(malformed)) => protocol(Fault::from(malformed.code).because(malformed.detail)),
            Some(Ok(_)) | None => protocol(ErrorCode::HelloExpected.into()),
        };
    }
}

/// Says why, and gives the end to come to.
fn refuse(outbox: &Outbox, fault: &Fault, close: CloseCode) -> End {
    outbox.push(&encode::frame(&fault.frame(None)));
    End::Close(close)
}

impl Session {
    fn new(context: Arc<Context>, claims: &Claims, member: Member) -> Self {
        let limits = &context.config;
        let per_second =
            std::num::NonZeroU32::new(limits.frames_per_second).unwrap_or(std::num::NonZeroU32::MIN);
        let burst = std::num::NonZeroU32::new(limits.frames_burst).unwrap_or(std::num::NonZeroU32::MIN);
        Self {
            user: claims.user,
            login: claims.session,
            member,
            expires: Instant::now() + context.until(claims.expires_at),
            subscriptions: HashMap::new(),
            read_marks: user::User::default(),
            in_flight: Arc::new(Semaphore::new(limits.sends_in_flight)),
            limiter: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)),
            last_seen: Instant::now(),
            context,
        }
    }

    async fn run(&mut self, socket: &mut Socket) -> End {
        let mut heartbeat = interval(self.context.config.heartbeat);
        heartbeat.reset();
        let outbox = self.member.outbox.clone();
        loop {
            select! {
                incoming = socket.next() => {
                    self.last_seen = Instant::now();
                    match incoming {
                        Incoming::Text(text) => if let Some(end) = self.take(&text).await { return end },
                        Incoming::Alive => {}
                        Incoming::Gone => return End::Gone,
                        Incoming::Broken(code) => return refuse(&outbox, &code.into(), CloseCode::Protocol),
                    }
                }
                lags = outbox.lagging() => {
                    for lag in lags {
                        self.catch_up(lag).await;
                    }
                }
                _ = heartbeat.tick() => if let Some(code) = self.check_life() { return End::Close(code) },
                () = sleep_until(self.expires) => {
                    return refuse(&outbox, &ErrorCode::TokenExpired.into(), CloseCode::Authentication);
                }
            }
        }
    }

    async fn take(&mut self, text: &str) -> Option<End> {
        for frame in frame::parse(text) {
            // A client that does not read its answers gets to ask no more questions.
            self.member.outbox.ready().await;
            if let Err(not_until) = self.limiter.check() {
                metrics::rate_limited("frames");
                let wait = not_until
                    .wait_time_from(governor::clock::Clock::now(&governor::clock::DefaultClock::default()));
                let id = frame.as_ref().map_or_else(|malformed| malformed.id, ClientFrame::id);
                let fault = Fault::from(ErrorCode::RateLimited).retry_after(wait);
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
        let limits = &self.context.config;
        let outbox = &self.member.outbox;
        if self.last_seen.elapsed() > 2 * limits.heartbeat {
            return Some(CloseCode::Heartbeat);
        }
        if outbox.backlog_bytes() == 0 {
            outbox.push(&encode::ping());
        }
        None
    }

    /// Fetches from the log what the client was too slow to take.
    async fn catch_up(&mut self, lag: Lag) {
        metrics::lagged();
        if let Err(fault) = self.resume_lagging(lag).await {
            tracing::debug!(%fault, topic = %lag.topic, "a slow connection cannot be caught up yet");
            let outbox = self.member.outbox.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                outbox.mark_lagging(lag);
            });
        }
    }

    async fn leave(&mut self) {
        let conn = self.member.conn;
        for (_, handle) in self.subscriptions.drain() {
            handle.detach(conn).await;
        }
        if let Ok(feed) = self.context.hub.open(Topic::User(self.user)).await {
            feed.detach(conn).await;
        }
    }
}
