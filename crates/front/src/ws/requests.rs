//! What a client may ask for: one function for each kind of frame.

use std::{sync::Arc, time::Instant};

use natterjack_domain::{
    ClientId, EventId, MessageBody, MessageId, RoomId,
    message::{self, Command},
};
use natterjack_eventlog::{Appended, NewEvent, Subject, Topic};
use natterjack_wire::{
    ClientFrame, ErrorCode, Fact, ServerFrame,
    frame::{CloseCode, Ephemeral, Reply, Typing},
};

use super::{
    encode,
    session::{End, Session},
};
use crate::{
    fault::Fault,
    hub::{Followed, Handle},
    messages, metrics,
};

/// A frame that is being answered; what is needed to count and time it.
#[derive(Clone, Copy)]
struct Request {
    id: Option<u64>,
    kind: &'static str,
    begun: Instant,
}

/// What a frame comes to.
enum Outcome {
    Answer(Reply),
    /// Answered already, or needs no answer.
    Done,
    /// The answer follows when the log has acknowledged.
    Later,
}

impl Session {
    /// Acts on one frame. Gives the end of the connection when it has to come to that.
    pub(super) async fn handle(&mut self, frame: ClientFrame) -> Option<End> {
        let request = Request { id: frame.id(), kind: frame.kind(), begun: Instant::now() };
        let hello_again = matches!(frame, ClientFrame::Hello { .. });
        match self.act(frame, request).await {
            Ok(Outcome::Answer(reply)) => {
                self.member.outbox.push(&encode::frame(&ServerFrame::Ok(reply)));
                metrics::frame(request.kind, "ok", request.begun.elapsed());
            }
            Ok(Outcome::Done) => metrics::frame(request.kind, "ok", request.begun.elapsed()),
            Ok(Outcome::Later) => {}
            Err(fault) => {
                fault.log();
                self.member.outbox.push(&encode::frame(&fault.frame(request.id)));
                metrics::frame(request.kind, fault.code.name(), request.begun.elapsed());
                if hello_again {
                    return Some(End::Close(CloseCode::Protocol));
                }
                if request.kind == "auth" {
                    return Some(End::Close(CloseCode::Authentication));
                }
            }
        }
        None
    }

    async fn act(&mut self, frame: ClientFrame, request: Request) -> Result<Outcome, Fault> {
        match frame {
            ClientFrame::Hello { .. } => Err(ErrorCode::HelloRepeated.into()),
            ClientFrame::Ping { n } => Ok(Outcome::Answer(Reply { id: n, ..Reply::default() })),
            ClientFrame::Auth { id, token } => {
                self.renew(&token)?;
                Ok(Outcome::Answer(Reply { id, ..Reply::default() }))
            }
            ClientFrame::Sub { id, room, after, epoch, limit } => {
                self.subscribe(id, room, after, epoch, limit).await?;
                Ok(Outcome::Done)
            }
            ClientFrame::Unsub { id, room } => {
                self.unsubscribe(room).await?;
                Ok(Outcome::Answer(Reply { id, room: Some(room), ..Reply::default() }))
            }
            ClientFrame::Send { room, cid, body, reply_to, .. } => {
                self.send(request, room, cid, &body, reply_to).await
            }
            ClientFrame::Edit { room, mid, cid, body, .. } => {
                let body = self.body(&body)?;
                let command = Command::Edit { by: self.user, body };
                self.change(request, room, mid, cid, command).await
            }
            ClientFrame::Recall { room, mid, cid, .. } => {
                self.change(request, room, mid, cid, Command::Recall { by: self.user }).await
            }
            ClientFrame::Read { room, seq } => self.read(room, seq).await,
            ClientFrame::Typing { room, on } => self.typing(room, on).await,
        }
    }

    fn renew(&mut self, token: &str) -> Result<(), Fault> {
        let claims = self.context.authenticate(Some(token), None)?;
        if claims.user != self.user || claims.session != self.login {
            return Err(Fault::from(ErrorCode::TokenInvalid).because("the token is another session's"));
        }
        self.expires = tokio::time::Instant::now() + self.context.until(claims.expires_at);
        Ok(())
    }

    fn body(&self, text: &str) -> Result<MessageBody, Fault> {
        Ok(MessageBody::parse(text, self.context.config.message_max_chars)?)
    }

    /// The room, if the person may read and write there.
    async fn room(&self, room: RoomId) -> Result<Arc<Handle>, Fault> {
        let handle = match self.topics.get(&Topic::Room(room)) {
            Some(Followed::Room(handle)) if handle.is_served() => handle.clone(),
            _ => self.context.hub.room(room).await?,
        };
        handle.admit(self.user).await?;
        Ok(handle)
    }

    async fn send(
        &mut self,
        request: Request,
        room: RoomId,
        cid: ClientId,
        body: &str,
        reply_to: Option<MessageId>,
    ) -> Result<Outcome, Fault> {
        self.room(room).await?;
        let id = MessageId::derive(room, self.user, cid);
        let body = self.body(body)?;
        let fact = Fact::Message(message::Event::Posted { id, by: self.user, cid, body, reply_to });
        let event = NewEvent::new(Subject::timeline(room), id.into(), &fact);
        let reply = Reply { mid: Some(id), ..Reply::default() };
        self.append(request, event, reply).await;
        Ok(Outcome::Later)
    }

    async fn change(
        &mut self,
        request: Request,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
        command: Command,
    ) -> Result<Outcome, Fault> {
        let handle = self.room(room).await?;
        let message = messages::find(&self.context, &handle, room, mid).await?;
        let Some(fact) = message.decide(command)? else {
            let id = request.id.unwrap_or_default();
            return Ok(Outcome::Answer(Reply { id, ..Reply::default() }));
        };
        let id = EventId::of_change(mid, self.user, cid, request.kind);
        let event = NewEvent::new(Subject::timeline(room), id, &Fact::Message(fact));
        self.append(request, event, Reply::default()).await;
        Ok(Outcome::Later)
    }

    /// Sends the event on its way, in the order of the frames, and answers when the log has acknowledged it.
    async fn append(&self, request: Request, event: NewEvent, reply: Reply) {
        let permit = self.in_flight.clone().acquire_owned().await;
        let pending = self.context.hub.log().begin(event).await;
        let outbox = self.member.outbox.clone();
        self.context.appends.spawn(async move {
            let frame = match pending.finish().await {
                Ok(Appended { seq, .. }) => {
                    metrics::frame(request.kind, "ok", request.begun.elapsed());
                    let id = request.id.unwrap_or_default();
                    ServerFrame::Ok(Reply { id, seq: Some(seq), ..reply })
                }
                Err(error) => {
                    let fault = Fault::from(error);
                    fault.log();
                    metrics::frame(request.kind, fault.code.name(), request.begun.elapsed());
                    fault.frame(request.id)
                }
            };
            outbox.push(&encode::frame(&frame));
            drop(permit);
        });
    }

    async fn read(&mut self, room: RoomId, seq: u64) -> Result<Outcome, Fault> {
        let handle = self.room(room).await?;
        // What is not there yet cannot have been read; but an acknowledged message may be there before it is seen here.
        if seq > handle.head() {
            handle.refresh().await;
        }
        let seq = seq.min(handle.head());
        let Some(mark) = self.read_marks.lock().read(self.user, room, seq) else { return Ok(Outcome::Done) };
        let event = NewEvent::new(Subject::feed(self.user), EventId::random(), &Fact::User(mark.clone()));
        let permit = self.in_flight.clone().acquire_owned().await;
        let pending = self.context.hub.log().begin(event).await;
        let (marks, outbox) = (self.read_marks.clone(), self.member.outbox.clone());
        self.context.appends.spawn(async move {
            match pending.finish().await {
                Ok(_) => marks.lock().apply(&mark),
                Err(error) => {
                    let fault = Fault::from(error);
                    fault.log();
                    outbox.push(&encode::frame(&fault.frame(None)));
                }
            }
            drop(permit);
        });
        Ok(Outcome::Done)
    }

    async fn typing(&mut self, room: RoomId, on: bool) -> Result<Outcome, Fault> {
        self.room(room).await?;
        let typing = vec![Typing { user: self.user, on }];
        let signal = Ephemeral { room: Some(room), typing, ..Ephemeral::default() };
        let body = serde_json::to_vec(&signal).expect("a signal is plain data").into();
        // Not stored, not acknowledged: a lost one is no loss.
        let _ = self.context.hub.log().signal(Topic::Room(room), body).await;
        Ok(Outcome::Done)
    }
}
