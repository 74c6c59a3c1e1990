//! What is said.

use natterjack_domain::{
    Action, ClientId, EventId, MessageId, RoomId,
    message::{self, Command},
};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_wire::{Fact, frame::Reply};

use super::{Outcome, Request, Session};
use crate::{fault::Fault, messages};

impl Session {
    pub(super) async fn send(
        &mut self,
        request: Request,
        room: RoomId,
        cid: ClientId,
        body: &str,
        reply_to: Option<MessageId>,
    ) -> Result<Outcome, Fault> {
        self.room(room, Action::Post).await?;
        let id = MessageId::derive(room, self.user, cid);
        let body = self.body(body)?;
        let fact = Fact::Message(message::Event::Posted { id, by: self.user, cid, body, reply_to });
        let event = NewEvent::new(Subject::timeline(room), id.into(), &fact);
        let reply = Reply { mid: Some(id), ..Reply::default() };
        self.append(request, event, reply).await;
        Ok(Outcome::Later)
    }

    pub(super) async fn change(
        &mut self,
        request: Request,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
        command: Command,
    ) -> Result<Outcome, Fault> {
        let action = match &command {
            Command::Edit { .. } => Action::Edit,
            Command::Recall { .. } => Action::Recall,
        };
        let handle = self.room(room, action).await?;
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
}
