//! Who is in a room, what they are in it, and what is done to them.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use natterjack_domain::{Action, Reason, RoomId, room::Command};
use natterjack_readmodel::{
    Page,
    members::{self, Sanctions},
};
use natterjack_wire::{
    ErrorCode,
    rest::{AddMemberRequest, MemberList, RoomChanged, SanctionList, SanctionRequest, SetRoleRequest},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Caller, Json, MemberPath, Query, RoomPath},
    problems::Problems,
    rooms::{PageQuery, admit, assure_known, wait},
};
use crate::{
    fault::Fault,
    projected::Projected,
    rooms::{Rooms, moment},
    store::Store,
    ws,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReasonQuery {
    /// One line of 1–500 characters.
    reason: Option<String>,
}

/// The members of a room of mine and what they are in it, in the order of joining.
#[utoipa::path(get, path = "/v1/rooms/{room}/members", tag = "members", params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = MemberList), Problems))]
pub async fn members(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<MemberList>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| members::members(&c, room, page).await).await?;
    // The room is in the log: the read model will have it soon.
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

/// Adds a person to a room of mine.
#[utoipa::path(post, path = "/v1/rooms/{room}/members", tag = "members", params(("room" = uuid::Uuid, Path)),
    request_body = AddMemberRequest,
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn add_member(
    State(rooms): State<Rooms>,
    State(store): State<Store>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Json(request): Json<AddMemberRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    assure_known(&store, &[request.user]).await?;
    Ok(Body(rooms.change(room, Command::Add { by: caller.user, user: request.user }).await?))
}

/// Takes a person out of a room. Whoever is no member is no error.
#[utoipa::path(delete, path = "/v1/rooms/{room}/members/{user}", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path), ReasonQuery),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn remove_member(
    State(rooms): State<Rooms>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
    Query(query): Query<ReasonQuery>,
) -> Result<Body<RoomChanged>, Fault> {
    let reason = reason(query.reason.as_deref())?;
    Ok(Body(rooms.change(room, Command::Remove { by: caller.user, user, reason }).await?))
}

/// Gives a member a role. To make somebody the owner hands over the room.
#[utoipa::path(put, path = "/v1/rooms/{room}/members/{user}/role", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path)), request_body = SetRoleRequest,
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn set_role(
    State(rooms): State<Rooms>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
    Json(request): Json<SetRoleRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::SetRole { by: caller.user, user, role: request.role }).await?))
}

/// Mutes a member.
#[utoipa::path(put, path = "/v1/rooms/{room}/mutes/{user}", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path)), request_body = SanctionRequest,
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn mute(
    State(rooms): State<Rooms>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
    Json(request): Json<SanctionRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    let (until, reason) = (moment(request.until)?, reason(request.reason.as_deref())?);
    Ok(Body(rooms.change(room, Command::Mute { by: caller.user, user, until, reason }).await?))
}

/// Lets a muted person speak again.
#[utoipa::path(delete, path = "/v1/rooms/{room}/mutes/{user}", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn unmute(
    State(rooms): State<Rooms>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Unmute { by: caller.user, user }).await?))
}

/// Bans a person, member or not: nobody who is banned comes in.
#[utoipa::path(put, path = "/v1/rooms/{room}/bans/{user}", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path)), request_body = SanctionRequest,
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn ban(
    State(rooms): State<Rooms>,
    State(store): State<Store>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
    Json(request): Json<SanctionRequest>,
) -> Result<Body<RoomChanged>, Fault> {
    let (until, reason) = (moment(request.until)?, reason(request.reason.as_deref())?);
    if !rooms.is_member(room, user).await? {
        assure_known(&store, &[user]).await?;
    }
    Ok(Body(rooms.change(room, Command::Ban { by: caller.user, user, until, reason }).await?))
}

/// Lifts a ban. The person may come in again, and is not in by that.
#[utoipa::path(delete, path = "/v1/rooms/{room}/bans/{user}", tag = "members",
    params(("room" = uuid::Uuid, Path), ("user" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn unban(
    State(rooms): State<Rooms>,
    caller: Caller,
    MemberPath(room, user): MemberPath,
) -> Result<Body<RoomChanged>, Fault> {
    Ok(Body(rooms.change(room, Command::Unban { by: caller.user, user }).await?))
}

/// Who is muted, by id; also those for whom it is over.
#[utoipa::path(get, path = "/v1/rooms/{room}/mutes", tag = "members", params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = SanctionList), Problems))]
pub async fn mutes(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<SanctionList>, Fault> {
    sockets.hub.room(room).await?.permit(caller.user, Action::Audit).await?;
    wait(&sockets, &projected, room, query.at_least).await?;
    sanctions(&store, room, Sanctions::Mutes, &query).await
}

/// Who is banned, by id; also those for whom it is over.
#[utoipa::path(get, path = "/v1/rooms/{room}/bans", tag = "members", params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = SanctionList), Problems))]
pub async fn bans(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<SanctionList>, Fault> {
    sockets.hub.room(room).await?.permit(caller.user, Action::Audit).await?;
    wait(&sockets, &projected, room, query.at_least).await?;
    sanctions(&store, room, Sanctions::Bans, &query).await
}

async fn sanctions(
    store: &Store,
    room: RoomId,
    which: Sanctions,
    query: &PageQuery,
) -> Result<Body<SanctionList>, Fault> {
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| members::sanctions(&c, room, which, page).await).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

fn reason(text: Option<&str>) -> Result<Option<Reason>, Fault> {
    let reason = text.map(Reason::parse).transpose();
    reason.map_err(|error| Fault::from(ErrorCode::RoomTextInvalid).because(error.to_string()))
}
