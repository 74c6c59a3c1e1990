//! What people tell of themselves.

use std::sync::Arc;

use natterjack_domain::{Action, EventId, MessageBody, MessageId, RoomId, user::Event};
use natterjack_eventlog::{NewEvent, Subject, Topic};
use natterjack_wire::{
    ErrorCode, Fact,
    frame::{Ephemeral, Typing},
};

use super::{Outcome, Session};
use crate::{
    fault::Fault,
    hub::{Followed, Handle},
    kept::{Pacing, Sign},
    ws::encode,
};

impl Session {
    pub(super) async fn read(&mut self, room: RoomId, seq: u64) -> Result<Outcome, Fault> {
        let handle = self.room(room, Action::Read).await?;
        let seq = there(&handle, seq).await;
        let mark = match self.topics.get(&Topic::User(self.user)) {
            Some(Followed::Feed(feed)) => feed.read(room, seq),
            _ => Some(Event::Read { id: self.user, room, seq }),
        };
        let Some(mark) = mark else { return Ok(Outcome::Done) };
        let (receipts, user) = (self.context.receipts.clone(), self.user);
        let told = move || receipts.tell(room, handle.member_count(), Sign::Read, user, seq);
        self.keep(mark, told).await;
        Ok(Outcome::Done)
    }

    pub(super) async fn read_thread(
        &mut self,
        room: RoomId,
        thread: MessageId,
        seq: u64,
    ) -> Result<Outcome, Fault> {
        let handle = self.room(room, Action::Read).await?;
        let seq = there(&handle, seq).await;
        self.keep(Event::ThreadRead { id: self.user, room, thread, seq }, || {}).await;
        Ok(Outcome::Done)
    }

    pub(super) async fn delivered(&mut self, room: RoomId, seq: u64) -> Result<Outcome, Fault> {
        let handle = self.room(room, Action::Read).await?;
        if !handle.is_direct() {
            return Err(ErrorCode::NotDirect.into());
        }
        let seq = there(&handle, seq).await;
        let (receipts, keeper, user) =
            (self.context.receipts.clone(), self.context.keeper.clone(), self.user);
        let keep = move |event: Event| {
            let (receipts, keeper, handle) = (receipts.clone(), keeper.clone(), handle.clone());
            async move {
                let Event::Delivered { seq, .. } = event else { return Ok(()) };
                keeper.keep(event).await?;
                receipts.tell(room, handle.member_count(), Sign::Delivered, user, seq);
                Ok(())
            }
        };
        self.pace(Event::Delivered { id: user, room, seq }, keep);
        Ok(Outcome::Done)
    }

    pub(super) async fn draft(
        &mut self,
        room: RoomId,
        thread: Option<MessageId>,
        body: &str,
    ) -> Result<Outcome, Fault> {
        self.room(room, Action::Read).await?;
        let max = self.context.config.message_max_chars;
        let body = if body.trim().is_empty() { None } else { Some(MessageBody::parse(body, max)?) };
        let keeper = self.context.keeper.clone();
        let keep = move |event| {
            let keeper = keeper.clone();
            async move { keeper.keep(event).await.map(drop) }
        };
        self.pace(Event::DraftSaved { id: self.user, room, thread, body }, keep);
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

    /// Appends to the person's feed, in the order of the frames; `then` is for when the log has it.
    async fn keep(&self, event: Event, then: impl FnOnce() + Send + 'static) {
        let new = NewEvent::new(Subject::feed(self.user), EventId::random(), &Fact::User(event));
        let permit = self.in_flight.clone().acquire_owned().await;
        let pending = self.context.hub.log().begin(new).await;
        let outbox = self.member.outbox.clone();
        self.context.appends.spawn(async move {
            match pending.finish().await {
                Ok(_) => then(),
                Err(error) => {
                    let fault = Fault::from(error);
                    fault.log();
                    outbox.push(&encode::frame(&fault.frame(None)));
                }
            }
            drop(permit);
        });
    }

    fn pace<F>(&self, event: Event, keep: impl Fn(Event) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Fault>> + Send,
    {
        let context = &self.context;
        let pacing = Pacing { appends: &context.appends, draining: &context.draining };
        context.paced.push(event, self.member.outbox.clone(), &pacing, keep);
    }
}

/// What is not there yet cannot have been read; but an acknowledged message may be there before it is seen here.
async fn there(handle: &Arc<Handle>, seq: u64) -> u64 {
    if seq > handle.head() {
        handle.refresh().await;
    }
    seq.min(handle.head())
}
