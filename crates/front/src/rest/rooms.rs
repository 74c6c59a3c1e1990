//! Rooms and their members.

use std::sync::Arc;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use natterjack_domain::{Action, RoomId, RoomName, UserId, room::Command};
use natterjack_eventlog::Topic;
use natterjack_readmodel::{Page, notices, people, rooms};
use natterjack_wire::{
    ErrorCode,
    rest::{
        AuditList, ChangeRoomRequest, CreateRoomRequest, OpenDirectRequest, RoomChanged, RoomList,
        RoomSummary,
    },
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Caller, Json, Query, RoomPath, idempotency_key};
use super::problems::Problems;
use crate::{fault::Fault, projected::Projected, rooms::Rooms, store::Store, ws};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
    /// `<room>@<seq>`: wait until the answer reflects this position of that room.
    at_least: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublicQuery {
    /// Part of the room's name; all public rooms when empty.
    #[serde(default)]
    q: String,
    cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomQuery {
    /// Wait until the answer reflects this sequence of the room's stream.
    pub at_least: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    pub cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    pub limit: Option<u32>,
    /// Wait until the answer reflects this sequence of the room's stream.
    pub at_least: Option<u64>,
}

/// My rooms.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", params(ListQuery),
    responses((status = 200, body = RoomList), Problems))]
pub async fn list(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Body<RoomList>, Fault> {
    if let Some(position) = &query.at_least {
        let (room, seq) = room_position(position)?;
        let topic = Topic::Room(room);
        projected.wait(topic, &sockets.hub.log().epoch_of(topic), seq).await?;
    }
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    Ok(Body(store.query(async |c| rooms::room_list(&c, caller.user, page).await).await?))
}

fn room_position(text: &str) -> Result<(RoomId, u64), Fault> {
    text.split_once('@')
        .and_then(|(room, seq)| Some((room.parse().ok()?, seq.parse().ok()?)))
        .ok_or_else(|| Fault::from(ErrorCode::RequestInvalid).because("at_least has to be <room>@<seq>"))
}

/// Public rooms.
#[utoipa::path(get, path = "/v1/rooms/public", tag = "rooms", params(PublicQuery),
    responses((status = 200, body = RoomList), Problems))]
pub async fn public(
    State(store): State<Store>,
    caller: Caller,
    Query(query): Query<PublicQuery>,
) -> Result<Body<RoomList>, Fault> {
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    Ok(Body(store.query(async |c| rooms::public_rooms(&c, caller.user, &query.q, page).await).await?))
}

/// Creates a room; its maker is its owner and first member. With an `Idempotency-Key` a repeat, whatever its body, names
/// the same room.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", request_body = CreateRoomRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "At most 128 bytes.")),
    responses((status = 201, body = RoomChanged), Problems))]
pub async fn create(
    State(rooms): State<Rooms>,
    State(store): State<Store>,
    caller: Caller,
    headers: HeaderMap,
    Json(request): Json<CreateRoomRequest>,
) -> Result<(StatusCode, Body<RoomChanged>), Fault> {
    let name = RoomName::parse(&request.name)
        .map_err(|error| Fault::from(ErrorCode::RoomNameInvalid).because(error.to_string()))?;
    let id = room_id(&caller, &headers)?;
    assure_known(&store, &request.members).await?;
    let command =
        Command::Create { by: caller.user, name, visibility: request.visibility, members: request.members };
    Ok((StatusCode::CREATED, Body(rooms.create(id, caller.user, command).await?)))
}

fn room_id(caller: &Caller, headers: &HeaderMap) -> Result<RoomId, Fault> {
    let key = idempotency_key(headers)?;
    Ok(key.map_or_else(RoomId::random, |key| RoomId::derive(caller.user, key)))
}

/// One room: a public one, or one of mine.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = uuid::Uuid, Path), RoomQuery),
    responses((status = 200, body = RoomSummary), Problems))]
pub async fn room(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<RoomQuery>,
) -> Result<Body<RoomSummary>, Fault> {
    wait(&sockets, &projected, room, query.at_least).await?;
    let summary = store.query(async |c| rooms::room(&c, room, caller.user).await).await?;
    Ok(Body(summary.ok_or(ErrorCode::RoomNotFound)?))
}

/// Joins a public room. Joining twice is no error.
#[utoipa::path(post, path = "/v1/rooms/{room}/join", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn join(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Join { user: caller.user, invite: None }).await?))
}

/// Leaves a room. Leaving twice is no error.
#[utoipa::path(post, path = "/v1/rooms/{room}/leave", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn leave(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Leave { user: caller.user }).await?))
}

/// Changes what a room is called, is about, and asks of its members.
#[utoipa::path(patch, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    request_body = ChangeRoomRequest, responses((status = 200, body = RoomChanged), Problems))]
pub async fn change(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Json(request): Json<ChangeRoomRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    let changes = rooms.changes(&request)?;
    Ok(Body(rooms.change(room, Command::Change { by: caller.user, changes }).await?))
}

/// Archives a room: it can be read, and nothing in it changes.
#[utoipa::path(post, path = "/v1/rooms/{room}/archive", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn archive(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Archive { by: caller.user }).await?))
}

/// Makes an archived room one like others again.
#[utoipa::path(post, path = "/v1/rooms/{room}/restore", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn restore(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Restore { by: caller.user }).await?))
}

/// Deletes a room for everybody, for good.
#[utoipa::path(delete, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn delete(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Delete { by: caller.user }).await?))
}

/// The room between me and these people, which is made when it is not there: one for each pair, one for each set.
#[utoipa::path(post, path = "/v1/rooms/direct", tag = "rooms", request_body = OpenDirectRequest,
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn open_direct(
    State(rooms): State<Rooms>,
    State(store): State<Store>,
    caller: Caller,
    Json(request): Json<OpenDirectRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    let command = Command::OpenDirect { by: caller.user, others: request.users.clone() };
    // Before anybody is looked for, since it bounds how many are.
    rooms.try_create(command.clone())?;
    assure_known(&store, &request.users).await?;
    let people: Vec<_> = request.users.into_iter().chain([caller.user]).collect();
    Ok(Body(rooms.create(RoomId::among(&people), caller.user, command).await?))
}

/// What was done to a room, by whom, to whom and why: for its moderators.
#[utoipa::path(get, path = "/v1/rooms/{room}/audit", tag = "rooms", params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = AuditList), Problems))]
pub async fn audit(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<AuditList>, Fault> {
    sockets.hub.room(room).await?.permit(caller.user, Action::Audit).await?;
    wait(&sockets, &projected, room, query.at_least).await?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| notices::audit(&c, room, page).await).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

/// Fails if there is no such person among these.
pub async fn assure_known(store: &Store, people: &[UserId]) -> Result<(), Fault> {
    if people.is_empty() {
        return Ok(());
    }
    let unknown = store.query(async |c| people::unknown(&c, people).await).await?;
    match unknown.first() {
        Some(user) => Err(Fault::from(ErrorCode::UserNotFound).because(user.to_string())),
        None => Ok(()),
    }
}

/// Lets a member read what is in a room, once the read models reflect `at_least`.
pub async fn admit(
    sockets: &ws::Context,
    projected: &Projected,
    caller: &Caller,
    room: RoomId,
    at_least: Option<u64>,
) -> Result<(), Fault> {
    sockets.hub.room(room).await?.admit(caller.user).await?;
    wait(sockets, projected, room, at_least).await
}

/// Waits until the read models reflect `at_least` of the room's stream.
pub async fn wait(
    sockets: &ws::Context,
    projected: &Projected,
    room: RoomId,
    at_least: Option<u64>,
) -> Result<(), Fault> {
    let topic = Topic::Room(room);
    match at_least {
        Some(seq) => projected.wait(topic, &sockets.hub.log().epoch_of(topic), seq).await,
        None => Ok(()),
    }
}
