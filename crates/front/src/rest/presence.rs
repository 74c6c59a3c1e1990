//! Who is there.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use natterjack_domain::UserId;
use natterjack_readmodel::{PAGE_DEFAULT, PAGE_MAX};
use natterjack_wire::{ErrorCode, rest::OnlineList};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Caller, Query, RoomPath};
use super::problems::Problems;
use crate::{fault::Fault, presence::Presence, ws};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OnlineQuery {
    cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
}

impl OnlineQuery {
    fn page(&self) -> Result<(Option<UserId>, usize), ErrorCode> {
        let after =
            self.cursor.as_deref().map(str::parse).transpose().map_err(|_| ErrorCode::CursorInvalid)?;
        Ok((after, self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as usize))
    }
}

/// Who is there on the whole site, in the order of their ids, and how many. Needs neither the log nor the database.
#[utoipa::path(get, path = "/v1/users/online", tag = "people", params(OnlineQuery),
    responses((status = 200, body = OnlineList), Problems))]
pub async fn everybody(
    State(presence): State<Presence>,
    _caller: Caller,
    Query(query): Query<OnlineQuery>,
) -> Result<Body<OnlineList>, Fault> {
    let (after, limit) = query.page()?;
    Ok(Body(presence.everybody(after, limit)))
}

/// The members of a room of mine who are there, in the order of their ids, and how many.
#[utoipa::path(get, path = "/v1/rooms/{room}/online", tag = "rooms", params(("room" = uuid::Uuid, Path), OnlineQuery),
    responses((status = 200, body = OnlineList), Problems))]
pub async fn in_room(
    State(presence): State<Presence>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<OnlineQuery>,
) -> Result<Body<OnlineList>, Fault> {
    let (after, limit) = query.page()?;
    let handle = sockets.hub.room(room).await?;
    handle.admit(caller.user).await?;
    Ok(Body(handle.read(|room| presence.in_room(room, after, limit))))
}
