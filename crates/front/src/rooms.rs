//! Changing a room: decided on its folded state, appended only if that state is still the last.

use std::time::Duration;

use natterjack_domain::{
    EventId, RoomId, UserId,
    room::{self, Command, Facts, Limits, Room},
};
use natterjack_eventlog::{AppendError, NewEvent, Subject, Topic};
use natterjack_wire::{
    ErrorCode, Fact, Position,
    frame::{Ephemeral, Membership},
    rest::RoomChanged,
};

use crate::{
    config::RoomsConfig,
    fault::Fault,
    hub::{Hub, OpenError, now_ms},
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
    pub fn new(hub: Hub, config: &RoomsConfig) -> Self {
        let limits = Limits {
            members_max: config.members_max,
            direct_max: config.direct_max.min(config.members_max),
            sanctions_max: config.sanctions_max,
            invites_max: config.invites_max,
        };
        Self { hub, limits }
    }

    /// Creates the room `id`. Its owner may repeat the request: a room that is there already is the answer. In a direct
    /// room it is for whoever is in it.
    pub async fn create(&self, id: RoomId, by: UserId, command: Command) -> Result<RoomChanged, Fault> {
        match self.hub.room(id).await {
            Err(error) if matches!(*error, OpenError::NoSuchRoom) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return self.created_before(id, by).await,
        }
        let now = now_ms(self.hub.clock());
        let Some(event) = Room::default().decide(command, self.limits, now)? else {
            return Err(ErrorCode::Internal.into());
        };
        match self.append(id, EventId::from_uuid(*id.as_uuid()), &event, 0).await {
            Ok(seq) => {
                self.settle(id, seq, &event, &Room::default()).await;
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
        let is_theirs =
            |facts: &Facts| if facts.kind.is_direct() { room.is_member(by) } else { facts.owner == by };
        if room.facts().is_some_and(is_theirs) {
            Ok(self.changed(id, handle.head()))
        } else {
            Err(ErrorCode::RoomNotFound.into())
        }
    }

    /// Decides and appends. A command that changes nothing is answered with where the room is.
    pub async fn change(&self, id: RoomId, command: Command) -> Result<RoomChanged, Fault> {
        let handle = self.hub.room(id).await?;
        handle.assure().await?;
        let mut is_fresh = false;
        for _ in 0..ATTEMPTS {
            let (room, state_head) = handle.room();
            let decided = room.decide(command.clone(), self.limits, now_ms(self.hub.clock()));
            // Only an append finds out by itself that another front was quicker.
            if !matches!(decided, Ok(Some(_))) && !is_fresh {
                handle.refresh().await;
                is_fresh = true;
                continue;
            }
            let Some(event) = decided? else { return Ok(self.changed(id, handle.head())) };
            match self.append(id, EventId::random(), &event, state_head).await {
                Ok(seq) => {
                    self.settle(id, seq, &event, &room).await;
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

    async fn append(
        &self,
        room: RoomId,
        id: EventId,
        event: &room::Event,
        state_head: u64,
    ) -> Result<u64, AppendError> {
        let new = NewEvent::new(Subject::state(room), id, &Fact::Room(event.clone())).expecting(state_head);
        Ok(self.hub.log().append(new).await?.seq)
    }

    /// Waits until this front knows, and tells those concerned, who may have no connection to the room: `before` is the
    /// room before the event.
    async fn settle(&self, id: RoomId, seq: u64, event: &room::Event, before: &Room) {
        if let Ok(handle) = self.hub.room(id).await {
            handle.folded(seq, FOLD_LIMIT).await;
        }
        let notice = Ephemeral { membership: Some(Membership { room: id, seq }), ..Ephemeral::default() };
        let body = bytes::Bytes::from(serde_json::to_vec(&notice).expect("a notice is plain data"));
        for user in concerned(event, before) {
            // The projector tells them again.
            let _ = self.hub.log().signal(Topic::User(user), body.clone()).await;
        }
    }

    fn changed(&self, room: RoomId, seq: u64) -> RoomChanged {
        let epoch = self.hub.log().epoch_of(Topic::Room(room)).to_string();
        RoomChanged { room, position: Position { epoch, seq } }
    }
}

fn concerned(event: &room::Event, before: &Room) -> Vec<UserId> {
    match event {
        room::Event::Created { members, .. } => members.clone(),
        room::Event::Deleted { .. } => before.members().collect(),
        _ => event.concerns().into_iter().collect(),
    }
}
