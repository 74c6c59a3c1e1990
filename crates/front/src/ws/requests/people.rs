//! What people tell of themselves.

use natterjack_domain::{Action, EventId, RoomId};
use natterjack_eventlog::{NewEvent, Subject, Topic};
use natterjack_wire::{
    Fact,
    frame::{Ephemeral, Typing},
};

use super::{Outcome, Session};
use crate::{fault::Fault, ws::encode};

impl Session {
    pub(super) async fn read(&mut self, room: RoomId, seq: u64) -> Result<Outcome, Fault> {
        let handle = self.room(room, Action::Read).await?;
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

    pub(super) async fn typing(&mut self, room: RoomId, on: bool) -> Result<Outcome, Fault> {
        self.room(room, Action::Post).await?;
        let typing = vec![Typing { user: self.user, on }];
        let signal = Ephemeral { room: Some(room), typing, ..Ephemeral::default() };
        let body = serde_json::to_vec(&signal).expect("a signal is plain data").into();
        // Not stored, not acknowledged: a lost one is no loss.
        let _ = self.context.hub.log().signal(Topic::Room(room), body).await;
        Ok(Outcome::Done)
    }
}
