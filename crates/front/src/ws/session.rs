//! One client's connection, from `hello` to the close.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use natterjack_domain::{SessionId, UserId, user};
use natterjack_eventlog::Topic;
use natterjack_identity::Claims;
use natterjack_wire::{
    ClientFrame, ErrorCode, ServerFrame,
    frame::{self, CloseCode},
};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    select,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Context, encode,
    hello::{self, Frames, Opened, refuse},
    outbox::Outbox,
    socket::{Incoming, Socket},
};
use crate::{
    fault::Fault,
    hub::{Followed, Member},
    metrics,
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
    pub read_marks: Arc<Mutex<user::User>>,
    pub in_flight: Arc<Semaphore>,
    last_seen: Instant,
}

/// Serves one upgraded connection until it ends.
///
/// What a connection costs is this future, for as long as it does nothing. What it does now and then is boxed: it
/// takes its memory for the moment.
pub async fn serve(context: Arc<Context>, io: TcpStream, begun: Bytes, bearer: Option<Box<Claims>>) {
    let (read, write) = io.into_split();
    let limits = &context.config;
    let outbox = Arc::new(Outbox::new(write, limits.outbox_max_bytes));
    let mut socket = Socket::new(read, &begun, outbox.clone(), limits.frame_max_bytes);
    drop(begun);
    // Here, so that whatever ends the conversation finds it and lets the topics know.
    let mut session = None;
    let end = select! {
        end = converse(&context, &mut socket, &outbox, bearer, &mut session) => end,
        driven = outbox.drive(limits.stall_timeout) => match driven {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => End::Close(CloseCode::Slow),
            _ => End::Gone,
        },
    };
    if let (End::Close(CloseCode::Drain), Some(session)) = (end, &session) {
        // What the client has sent is answered before it is sent away.
        let all = u32::try_from(context.config.sends_in_flight).unwrap_or(u32::MAX);
        let _ = timeout(ANSWER_LIMIT, session.in_flight.acquire_many(all)).await;
    }
    match end {
        End::Close(code) => Box::pin(part(&mut socket, &outbox, code)).await,
        End::Gone => outbox.finish(&[]),
    }
    if let Some(session) = session {
        session.leave().await;
    }
    metrics::closed(match end {
        End::Close(code) => code.number(),
        End::Gone => 0,
    });
}

async fn converse(
    context: &Arc<Context>,
    socket: &mut Socket,
    outbox: &Arc<Outbox>,
    bearer: Option<Box<Claims>>,
    session: &mut Option<Session>,
) -> End {
    let opened = match Box::pin(hello::open(context, socket, outbox, bearer)).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let Opened { session: new, mut registration, client, resume, requests } = opened;
    let session = session.insert(new);
    let conversation = async {
        match Box::pin(session.welcome(resume, client)).await {
            Ok(()) => session.run(socket, requests).await,
            Err(fault) => refuse(outbox, &fault, CloseCode::Unavailable),
        }
    };
    select! {
        // Also while a request waits, for a client that does not read its answers.
        code = &mut registration.close => End::Close(code.unwrap_or(CloseCode::Drain)),
        end = conversation => end,
    }
}

/// Says goodbye, and waits a moment until the client has closed too.
async fn part(socket: &mut Socket, outbox: &Outbox, code: CloseCode) {
    let retry_ms = (code == CloseCode::Drain).then(|| rand::random_range(COME_BACK_MS));
    let bye = encode::frame(&ServerFrame::Bye { code: code.number(), retry_ms });
    outbox.finish(&[bye, encode::close(code.number())]);
    let written = outbox.drive(CLOSE_LIMIT);
    let _ = timeout(CLOSE_LIMIT, async { tokio::join!(written, socket.discard()) }).await;
}

impl Session {
    pub fn new(context: Arc<Context>, claims: &Claims, member: Member) -> Self {
        Self {
            user: claims.user,
            login: claims.session,
            member,
            expires: Instant::now() + context.until(claims.expires_at),
            topics: HashMap::new(),
            read_marks: Arc::default(),
            in_flight: Arc::new(Semaphore::new(context.config.sends_in_flight)),
            last_seen: Instant::now(),
            context,
        }
    }

    async fn run(&mut self, socket: &mut Socket, first: Frames) -> End {
        if let Some(end) = Box::pin(self.take(first)).await {
            return end;
        }
        let outbox = self.member.outbox.clone();
        let mut heartbeat = Instant::now() + self.context.config.heartbeat;
        loop {
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
                () = sleep_until(heartbeat.min(self.expires)) => {
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

    fn size_of_future<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_a_small_future() {
        let bytes = size_of_future(serve);
        assert!(bytes <= 1_900, "{bytes} bytes");
    }
}
