//! What a client may ask for: one function for each kind of frame.

mod messages;
mod people;
mod presence;

use std::{sync::Arc, time::Instant};

use natterjack_domain::{Action, RoomId};
use natterjack_eventlog::{Appended, NewEvent, Topic};
use natterjack_wire::{
    ClientFrame, Draft, ErrorCode, ServerFrame,
    frame::{CloseCode, Reply},
};

use super::{
    encode,
    session::{End, Session},
};
use crate::{
    fault::Fault,
    hub::{Followed, Handle},
    messages::Change,
    metrics,
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
            ClientFrame::Send {
                id: _,
                room,
                cid,
                body,
                reply_to,
                thread,
                mentions,
                meta,
                forwarded,
                attachments,
            } => {
                let (body, attachments) = (body.unwrap_or_default(), attachments.unwrap_or_default());
                let draft = Draft { body, reply_to, thread, mentions, meta, forwarded, attachments };
                self.send(request, room, cid, draft).await
            }
            ClientFrame::Edit { id: _, room, mid, cid, body, mentions, meta } => {
                let change = Change::Edit { body, mentions, meta, version: None };
                self.change(request, room, mid, cid, change).await
            }
            ClientFrame::Recall { room, mid, cid, .. } => {
                self.change(request, room, mid, cid, Change::Recall).await
            }
            ClientFrame::Delete { room, mid, cid, reason, .. } => {
                self.change(request, room, mid, cid, Change::Delete { reason }).await
            }
            ClientFrame::React { room, mid, cid, emoji, on, .. } => {
                self.change(request, room, mid, cid, Change::React { emoji, on }).await
            }
            ClientFrame::Pin { room, mid, cid, .. } => {
                self.change(request, room, mid, cid, Change::Pin { on: true }).await
            }
            ClientFrame::Unpin { room, mid, cid, .. } => {
                self.change(request, room, mid, cid, Change::Pin { on: false }).await
            }
            ClientFrame::Read { room, seq, thread: None } => self.read(room, seq).await,
            ClientFrame::Read { room, seq, thread: Some(thread) } => {
                self.read_thread(room, thread, seq).await
            }
            ClientFrame::Delivered { room, seq } => self.delivered(room, seq).await,
            ClientFrame::Draft { room, thread, body } => self.draft(room, thread, &body).await,
            ClientFrame::Typing { room, on } => self.typing(room, on).await,
            ClientFrame::Presence { state, watch } => self.present(state, watch),
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

    /// The room, if the person may do this there.
    async fn room(&self, room: RoomId, action: Action) -> Result<Arc<Handle>, Fault> {
        let handle = self.served(room).await?;
        handle.permit(self.user, action).await?;
        Ok(handle)
    }

    /// The room, whoever may do what there.
    async fn served(&self, room: RoomId) -> Result<Arc<Handle>, Fault> {
        match self.topics.get(&Topic::Room(room)) {
            Some(Followed::Room(handle)) if handle.is_served() => Ok(handle.clone()),
            _ => Ok(self.context.hub.room(room).await?),
        }
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
}
