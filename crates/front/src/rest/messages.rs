//! History.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use natterjack_readmodel::{Page, messages};
use natterjack_wire::{ErrorCode, rest::MessageList};

use super::{
    extract::{Caller, Query, RoomPath},
    problems::Problems,
    rooms::{PageQuery, admit},
};
use crate::{fault::Fault, projected::Projected, store::Store, ws};

/// A page of a room's messages, oldest first. The first page holds the newest; `next` leads to older ones.
#[utoipa::path(get, path = "/v1/rooms/{room}/messages", tag = "messages",
    params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = MessageList), Problems))]
pub async fn history(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<MessageList>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| messages::history(&c, room, page).await).await?;
    // Who has left while this was waited for and read does not get it.
    sockets.hub.room(room).await?.admit(caller.user).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}
