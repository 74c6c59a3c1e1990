//! Invites: links into a room. Who has the link may come in; the log and the tables hold only a digest of it.

use axum::{
    Json as Body,
    extract::{Path, State},
    http::StatusCode,
};
use natterjack_domain::{InviteId, room::Command};
use natterjack_wire::{
    ErrorCode,
    rest::{CreateInviteRequest, InviteCreated, InviteList, InvitePreview, RoomChanged},
};

use super::{
    extract::{Caller, Json, RoomPath},
    problems::Problems,
};
use crate::{
    fault::Fault,
    invites::InviteToken,
    rooms::{Rooms, moment},
};

/// Makes an invite. Its token is told this once.
#[utoipa::path(post, path = "/v1/rooms/{room}/invites", tag = "invites", params(("room" = uuid::Uuid, Path)),
    request_body = CreateInviteRequest, responses((status = 201, body = InviteCreated), Problems))]
pub async fn create_invite(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Json(request): Json<CreateInviteRequest>,
) -> Result<(StatusCode, Body<InviteCreated>), Fault> {
    let expires = moment(request.expires)?;
    if request.uses_max == Some(0) {
        return Err(Fault::from(ErrorCode::RoomSettingInvalid).because("uses_max has to be 1 at least"));
    }
    let token = InviteToken::random(room);
    let invite = token.id();
    let command = Command::CreateInvite { by: caller.user, invite, expires, uses_max: request.uses_max };
    let position = rooms.change(room, command).await?.position;
    Ok((StatusCode::CREATED, Body(InviteCreated { token: token.to_string(), invite, position })))
}

/// The invites to a room: for its moderators.
#[utoipa::path(get, path = "/v1/rooms/{room}/invites", tag = "invites", params(("room" = uuid::Uuid, Path)),
    responses((status = 200, body = InviteList), Problems))]
pub async fn invites(
    State(rooms): State<Rooms>,
    caller: Caller,
    RoomPath(room): RoomPath,
) -> Result<Body<InviteList>, Fault> {
    Ok(Body(rooms.invites(room, caller.user).await?))
}

/// Revokes an invite. One that is not there is no error.
#[utoipa::path(delete, path = "/v1/rooms/{room}/invites/{invite}", tag = "invites",
    params(("room" = uuid::Uuid, Path), ("invite" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn revoke_invite(
    State(rooms): State<Rooms>,
    caller: Caller,
    path: Result<Path<(natterjack_domain::RoomId, InviteId)>, axum::extract::rejection::PathRejection>,
) -> Result<Body<RoomChanged>, Fault> {
    let Path((room, invite)) = path.map_err(|_| ErrorCode::RoomNotFound)?;
    Ok(Body(rooms.change(room, Command::RevokeInvite { by: caller.user, invite }).await?))
}

/// What an invite leads to, before one joins.
#[utoipa::path(get, path = "/v1/invites/{token}", tag = "invites", params(("token" = String, Path)),
    responses((status = 200, body = InvitePreview), Problems))]
pub async fn preview_invite(
    State(rooms): State<Rooms>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Body<InvitePreview>, Fault> {
    let token: InviteToken = token.parse()?;
    Ok(Body(rooms.preview(&token, caller.user).await?))
}

/// Joins by an invite, private rooms too.
#[utoipa::path(post, path = "/v1/invites/{token}", tag = "invites", params(("token" = String, Path)),
    responses((status = 200, body = RoomChanged), Problems))]
pub async fn join_by_invite(
    State(rooms): State<Rooms>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Body<RoomChanged>, Fault> {
    let token: InviteToken = token.parse()?;
    Ok(Body(rooms.join_by(&token, caller.user).await?))
}
