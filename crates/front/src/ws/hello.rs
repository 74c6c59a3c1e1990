//! The opening of a connection: who is there, and may they come in?

use std::sync::Arc;

use natterjack_identity::Claims;
use natterjack_wire::{
    ClientFrame, ErrorCode,
    frame::{self, CloseCode, Malformed, Position},
};
use tokio::{select, time::timeout};

use super::{
    Context, encode,
    outbox::Outbox,
    session::{End, Session},
    socket::{Incoming, Socket},
};
use crate::{fault::Fault, hub::Member, registry::Registration};

pub(super) type Frames = Vec<Result<ClientFrame, Malformed>>;

/// What a client says first.
pub(super) struct Hello {
    token: Option<String>,
    pub client: Option<String>,
    pub resume: Option<Position>,
    /// What came in the same message.
    pub requests: Frames,
}

/// Waits for `hello`, checks the token, and registers the connection.
pub(super) async fn open(
    context: &Arc<Context>,
    socket: &mut Socket,
    outbox: &Arc<Outbox>,
    bearer: Option<Claims>,
) -> Result<(Session, Registration, Hello), End> {
    let hello = select! {
        biased;
        hello = timeout(context.config.hello_timeout, await_hello(socket, outbox)) => match hello {
            Ok(hello) => hello?,
            Err(_) => return Err(End::Close(CloseCode::Heartbeat)),
        },
        () = context.draining.cancelled() => return Err(End::Close(CloseCode::Drain)),
    };
    let claims = context
        .authenticate(hello.token.as_deref(), bearer)
        .map_err(|code| refuse(outbox, &code.into(), CloseCode::Authentication))?;
    let per_user = context.config.connections_per_user;
    let registration = context.registry.register(claims.user, claims.session, per_user).ok_or_else(|| {
        let fault = Fault::from(ErrorCode::RateLimited).because("too many connections of this person");
        refuse(outbox, &fault, CloseCode::Unavailable)
    })?;
    // The session may have ended between the check of its token and now.
    context
        .assure_open(claims.session)
        .map_err(|code| refuse(outbox, &code.into(), CloseCode::Authentication))?;
    let member = Member { conn: registration.conn, user: claims.user, outbox: outbox.clone() };
    let session = Session::new(context.clone(), &claims, member);
    Ok((session, registration, hello))
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
        let mut frames = frame::parse(&text).into_iter();
        return match frames.next() {
            Some(Ok(ClientFrame::Hello { token, client, resume })) => {
                Ok(Hello { token, client, resume, requests: frames.collect() })
            }
            Some(Err(malformed)) => protocol(Fault::from(malformed.code).because(malformed.detail)),
            Some(Ok(_)) | None => protocol(ErrorCode::HelloExpected.into()),
        };
    }
}

/// Says why, and gives the end to come to.
pub(super) fn refuse(outbox: &Outbox, fault: &Fault, close: CloseCode) -> End {
    fault.log();
    outbox.push(&encode::frame(&fault.frame(None)));
    End::Close(close)
}
