//! What is said.

use natterjack_domain::{ClientId, MessageId, RoomId};
use natterjack_wire::{Draft, frame::Reply};

use super::{Outcome, Request, Session};
use crate::{
    fault::Fault,
    messages::{self, Change},
};

impl Session {
    pub(super) async fn send(
        &mut self,
        request: Request,
        room: RoomId,
        cid: ClientId,
        draft: Draft,
    ) -> Result<Outcome, Fault> {
        let handle = self.served(room).await?;
        let (mid, event) = messages::send(&self.context, &handle, self.user, cid, draft).await?;
        self.append(request, event, Reply { mid: Some(mid), ..Reply::default() }).await;
        Ok(Outcome::Later)
    }

    pub(super) async fn change(
        &mut self,
        request: Request,
        room: RoomId,
        mid: MessageId,
        cid: ClientId,
        change: Change,
    ) -> Result<Outcome, Fault> {
        let handle = self.served(room).await?;
        let Some(event) = messages::change(&self.context, &handle, self.user, mid, cid, change).await? else {
            let id = request.id.unwrap_or_default();
            return Ok(Outcome::Answer(Reply { id, ..Reply::default() }));
        };
        self.append(request, event, Reply::default()).await;
        Ok(Outcome::Later)
    }
}
