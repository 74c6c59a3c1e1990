//! Changing a room: decided on its folded state, appended only if that state is still the last.

use std::time::Duration;

use natterjack_domain::{
    Action, AvatarId, EventId, InvalidText, InviteId, RoomDescription, RoomId, RoomName, RoomTopic, UserId,
    room::{self, Changes, Command, Facts, Invite, Limits, Room},
};
use natterjack_eventlog::{AppendError, NewEvent, Subject, Topic};
use natterjack_wire::{
    ErrorCode, Fact, Position,
    frame::{Ephemeral, Membership},
    rest::{self, ChangeRoomRequest, InviteList, InvitePreview, RoomChanged},
};

use crate::{
    config::RoomsConfig,
    fault::Fault,
    hub::{Hub, OpenError, now_ms},
    invites::InviteToken,
};

/// A conflict reloads and decides again, so often at most.
const ATTEMPTS: usize = 8;
/// How long this front waits for its own fold to reflect a change.
const FOLD_LIMIT: Duration = Duration::from_secs(2);
/// Integers of the protocol stay below 2^53.
const MOMENT_MAX: u64 = (1 << 53) - 1;

#[derive(Clone)]
pub struct Rooms {
    hub: Hub,
    limits: Limits,
    slow_mode_max: Duration,
}

impl Rooms {
    pub fn new(hub: Hub, config: &RoomsConfig) -> Self {
        let limits = Limits {
            members_max: config.members_max,
            direct_max: config.direct_max.min(config.members_max),
            sanctions_max: config.sanctions_max,
            invites_max: config.invites_max,
        };
        Self { hub, limits, slow_mode_max: config.slow_mode_max }
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

    /// Fails if a room that is made by `command` would be refused.
    pub fn try_create(&self, command: Command) -> Result<(), Fault> {
        Room::default().decide(command, self.limits, now_ms(self.hub.clock()))?;
        Ok(())
    }

    /// What the log holds now, not what may have been folded a moment ago.
    async fn fresh(&self, id: RoomId) -> Result<Room, Fault> {
        let handle = self.hub.room(id).await?;
        handle.assure().await?;
        handle.refresh().await;
        Ok(handle.room().0)
    }

    pub async fn is_member(&self, id: RoomId, user: UserId) -> Result<bool, Fault> {
        Ok(self.hub.room(id).await?.is_member(user))
    }

    pub async fn invites(&self, id: RoomId, user: UserId) -> Result<InviteList, Fault> {
        let (room, now) = (self.fresh(id).await?, now_ms(self.hub.clock()));
        room.permits(user, Action::CreateInvite, now)?;
        let mut items: Vec<_> = room.invites().map(|(id, invite)| told(id, invite, now)).collect();
        items.sort_unstable_by_key(|invite| invite.id);
        Ok(InviteList { items })
    }

    /// What an invite leads to. Of a room to which it does not lead, nothing is told.
    pub async fn preview(&self, token: &InviteToken, user: UserId) -> Result<InvitePreview, Fault> {
        let room = self.fresh(token.room).await.map_err(not_an_invite)?;
        let invite = room.invite(token.id()).filter(|invite| invite.is_good(now_ms(self.hub.clock())));
        let (Some(invite), Some(facts)) = (invite, room.facts()) else {
            return Err(ErrorCode::InviteInvalid.into());
        };
        Ok(InvitePreview {
            room: token.room,
            name: facts.name.clone().map(String::from).unwrap_or_default(),
            topic: facts.topic.clone().map(String::from),
            avatar: facts.avatar.clone().map(String::from),
            member_count: room.members().len() as u64,
            invited_by: invite.by,
            joined: room.is_member(user),
        })
    }

    pub async fn join_by(&self, token: &InviteToken, user: UserId) -> Result<RoomChanged, Fault> {
        let command = Command::Join { user, invite: Some(token.id()) };
        self.change(token.room, command).await.map_err(not_an_invite)
    }

    /// What a change asks for, as values.
    pub fn changes(&self, request: &ChangeRoomRequest) -> Result<Changes, Fault> {
        let slow_mode_max_s = self.slow_mode_max.as_secs();
        if request.slow_mode_s.is_some_and(|s| u64::from(s) > slow_mode_max_s) {
            let detail = format!("slow_mode_s is {slow_mode_max_s} at most");
            return Err(Fault::from(ErrorCode::RoomSettingInvalid).because(detail));
        }
        let invalid = |error: InvalidText| Fault::from(ErrorCode::RoomTextInvalid).because(error.to_string());
        let name = request.name.as_deref().map(RoomName::parse).transpose();
        Ok(Changes {
            name: name.map_err(|error| Fault::from(ErrorCode::RoomNameInvalid).because(error.to_string()))?,
            topic: request.topic.as_deref().map(RoomTopic::parse).transpose().map_err(invalid)?,
            description: request
                .description
                .as_deref()
                .map(RoomDescription::parse)
                .transpose()
                .map_err(invalid)?,
            avatar: request.avatar.as_deref().map(AvatarId::parse).transpose().map_err(invalid)?,
            visibility: request.visibility,
            slow_mode_s: request.slow_mode_s,
            read_only: request.read_only,
            members_max: request.members_max,
        })
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

/// Who knows no good token learns of a private room not even that it is there.
fn not_an_invite(fault: Fault) -> Fault {
    if fault.code == ErrorCode::RoomNotFound { ErrorCode::InviteInvalid.into() } else { fault }
}

fn told(id: InviteId, invite: &Invite, now: u64) -> rest::Invite {
    let Invite { by, expires, uses_max, uses } = *invite;
    rest::Invite { id, by, expires, uses_max, uses, valid: invite.is_good(now) }
}

/// A time in milliseconds since 1970, as clients may name it.
pub fn moment(ms: Option<u64>) -> Result<Option<u64>, Fault> {
    if ms.is_some_and(|ms| ms > MOMENT_MAX) {
        return Err(Fault::from(ErrorCode::RoomSettingInvalid).because("the time is beyond all times"));
    }
    Ok(ms)
}

fn concerned(event: &room::Event, before: &Room) -> Vec<UserId> {
    match event {
        room::Event::Created { members, .. } => members.clone(),
        room::Event::Deleted { .. } => before.members().collect(),
        _ => event.concerns().into_iter().collect(),
    }
}
