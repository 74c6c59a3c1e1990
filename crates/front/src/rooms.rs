//! Changing a room: decided on its folded state, appended only if that state is still the last.

use std::time::Duration;

use natterjack_domain::{
    EventId, RoomId, UserId,
    room::{self, Command, Limits, Room},
};
use natterjack_eventlog::{AppendError, NewEvent, Subject, Topic};
use natterjack_wire::{
    ErrorCode, Fact, Position,
    frame::{Ephemeral, Membership},
    rest::RoomChanged,
};

use crate::{
    fault::Fault,
    hub::{Hub, OpenError},
};

/// A conflict reloads and decides again, so often at most.
const ATTEMPTS: usize = 8;
/// How long this front waits for its own fold to reflect a change.
const FOLD_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Rooms {
    hub: Hub,
    limits: Limits,
}

impl Rooms {
    pub fn new(hub: Hub, members_max: usize) -> Self {
        Self { hub, limits: Limits { members_max } }
    }

    /// Creates the room `id`. Its owner may repeat the request: a room that is there already is the answer.
    pub async fn create(&self, id: RoomId, command: Command) -> Result<RoomChanged, Fault> {
        let Command::Create { by, .. } = &command else { return Err(ErrorCode::Internal.into()) };
        let by = *by;
        let events = match self.hub.room(id).await {
            Err(error) if matches!(*error, OpenError::NoSuchRoom) => {
                Room::default().decide(command, self.limits)?
            }
            Err(error) => return Err(error.into()),
            Ok(_) => return self.created_before(id, by).await,
        };
        match self.append(id, EventId::from_uuid(*id.as_uuid()), &events, 0).await {
            Ok(seq) => {
                self.settle(id, seq, &events).await;
                Ok(self.changed(id, seq))
            }
            Err(AppendError::Conflict) => self.created_before(id, by).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn created_before(&self, id: RoomId, by: UserId) -> Result<RoomChanged, Fault> {
        let handle = match self.hub.room(id).await {
            // An opening that began before the room was there has many who wait for it: its answer is an old one.
            Err(error) if matches!(*error, OpenError::NoSuchRoom) => self.hub.room(id).await?,
            opened => opened?,
        };
        let (room, _) = handle.room();
        match room.facts() {
            Some(facts) if facts.owner == by => Ok(self.changed(id, handle.head())),
            _ => Err(ErrorCode::RoomNotFound.into()),
        }
    }

    /// Decides and appends. A command that changes nothing is answered with where the room is.
    pub async fn change(&self, id: RoomId, command: Command) -> Result<RoomChanged, Fault> {
        let handle = self.hub.room(id).await?;
        handle.assure().await?;
        let mut is_fresh = false;
        for _ in 0..ATTEMPTS {
            let (room, state_head) = handle.room();
            let decided = room.decide(command.clone(), self.limits);
            let comes_to_nothing = decided.as_ref().map_or(true, Vec::is_empty);
            // Only an append finds out by itself that another front was quicker.
            if comes_to_nothing && !is_fresh {
                handle.refresh().await;
                is_fresh = true;
                continue;
            }
            let events = decided?;
            if events.is_empty() {
                return Ok(self.changed(id, handle.head()));
            }
            match self.append(id, EventId::random(), &events, state_head).await {
                Ok(seq) => {
                    self.settle(id, seq, &events).await;
                    return Ok(self.changed(id, seq));
                }
                Err(AppendError::Conflict) => {
                    handle.refresh().await;
                    is_fresh = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::RoomContended.into())
    }

    /// Appends the events of one decision, each on top of the one before. Rules decide one event at a time so
    /// far; `id` names the first.
    async fn append(
        &self,
        room: RoomId,
        id: EventId,
        events: &[room::Event],
        state_head: u64,
    ) -> Result<u64, AppendError> {
        let mut last = state_head;
        for (index, event) in events.iter().enumerate() {
            let id = if index == 0 { id } else { EventId::random() };
            let new = NewEvent::new(Subject::state(room), id, &Fact::Room(event.clone())).expecting(last);
            last = self.hub.log().append(new).await?.seq;
        }
        Ok(last)
    }

    /// Waits until this front knows, and tells those concerned, who may have no connection to the room.
    async fn settle(&self, id: RoomId, seq: u64, events: &[room::Event]) {
        if let Ok(handle) = self.hub.room(id).await {
            handle.folded(seq, FOLD_LIMIT).await;
        }
        let notice = Ephemeral { membership: Some(Membership { room: id, seq }), ..Ephemeral::default() };
        let body = bytes::Bytes::from(serde_json::to_vec(&notice).expect("a notice is plain data"));
        for user in events.iter().flat_map(concerned) {
            // The projector tells them again.
            let _ = self.hub.log().signal(Topic::User(user), body.clone()).await;
        }
    }

    fn changed(&self, room: RoomId, seq: u64) -> RoomChanged {
        let epoch = self.hub.log().epoch_of(Topic::Room(room)).to_string();
        RoomChanged { room, position: Position { epoch, seq } }
    }
}

fn concerned(event: &room::Event) -> Vec<UserId> {
    match event {
        room::Event::Created { members, .. } => members.clone(),
        room::Event::MemberJoined { user, .. } | room::Event::MemberLeft { user, .. } => vec![*user],
    }
}
