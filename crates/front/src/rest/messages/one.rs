//! One message, by its id alone.

use std::sync::Arc;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use natterjack_domain::{MessageId, RoomId};
use natterjack_readmodel::{Page, messages};
use natterjack_wire::{
    ErrorCode,
    rest::{EditRequest, Message, MessageChanged, VersionList},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{append, client_id};
use crate::{
    fault::Fault,
    messages::{Change, change},
    projected::Projected,
    rest::{
        extract::{Caller, Json, MessagePath, Query, ReactionPath},
        problems::Problems,
        rooms::admit,
    },
    store::Store,
    ws,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OneQuery {
    /// The message's room, where it is known: the message is found even before the read models know it.
    room: Option<RoomId>,
    /// Wait until the answer reflects this sequence of the room's stream; only with `room`.
    at_least: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeQuery {
    /// The message's room, where it is known: the message is found even before the read models know it.
    room: Option<RoomId>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveQuery {
    /// The message's room, where it is known: the message is found even before the read models know it.
    room: Option<RoomId>,
    /// Why somebody else's message is deleted; at most 500 characters.
    reason: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionsQuery {
    /// The message's room, where it is known.
    room: Option<RoomId>,
    cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
    /// Wait until the answer reflects this sequence of the room's stream; only with `room`.
    at_least: Option<u64>,
}

/// A message of a room of mine. Its `ETag` is its version: the sequence of its last edit, 0 where there was none.
#[utoipa::path(get, path = "/v1/messages/{message}", tag = "messages",
    params(("message" = uuid::Uuid, Path), OneQuery),
    responses((status = 200, body = Message), Problems))]
pub async fn message(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<OneQuery>,
) -> Result<Response, Fault> {
    let room = room_of(&store, mid, query.room).await?;
    admit(&sockets, &projected, &caller, room, query.at_least).await.map_err(unseen)?;
    let found = store.said(room, caller.user, mid).await?.ok_or(ErrorCode::MessageNotFound)?;
    // Who has left while this was waited for and read does not get it.
    sockets.hub.room(room).await?.admit(caller.user).await.map_err(|refusal| unseen(refusal.into()))?;
    let version = format!("\"{}\"", found.edited_seq.unwrap_or_default());
    let version = HeaderValue::from_str(&version).unwrap_or(HeaderValue::from_static("\"0\""));
    Ok(([(header::ETAG, version)], Body(found)).into_response())
}

/// What a message said, the newest words first.
#[utoipa::path(get, path = "/v1/messages/{message}/edits", tag = "messages",
    params(("message" = uuid::Uuid, Path), VersionsQuery),
    responses((status = 200, body = VersionList), Problems))]
pub async fn edits(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<VersionsQuery>,
) -> Result<Body<VersionList>, Fault> {
    let room = room_of(&store, mid, query.room).await?;
    admit(&sockets, &projected, &caller, room, query.at_least).await.map_err(unseen)?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| messages::versions(&c, room, mid, page).await).await?;
    sockets.hub.room(room).await?.admit(caller.user).await.map_err(|refusal| unseen(refusal.into()))?;
    Ok(Body(found.ok_or(ErrorCode::MessageNotFound)?))
}

/// Edits a message of mine, as the frame `edit` does. With `If-Match`, only if it is that version still, as far as the log
/// has told this node.
#[utoipa::path(patch, path = "/v1/messages/{message}", tag = "messages", request_body = EditRequest,
    params(("message" = uuid::Uuid, Path), ChangeQuery,
           ("If-Match" = Option<String>, Header, description = "The `ETag` of the message."),
           ("Idempotency-Key" = Option<String>, Header, description = "At most 128 bytes.")),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn edit(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    Json(request): Json<EditRequest>,
) -> Result<Body<MessageChanged>, Fault> {
    let EditRequest { body, mentions, meta } = request;
    let edit = Change::Edit { body, mentions, meta, version: version(&headers)? };
    alter(&store, &sockets, &caller, mid, query.room, &headers, edit).await
}

/// Recalls a message of mine; deletes somebody else's, or one of mine that is too old to be recalled, where I may.
#[utoipa::path(delete, path = "/v1/messages/{message}", tag = "messages",
    params(("message" = uuid::Uuid, Path), RemoveQuery,
           ("Idempotency-Key" = Option<String>, Header, description = "At most 128 bytes.")),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn remove(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<RemoveQuery>,
    headers: HeaderMap,
) -> Result<Body<MessageChanged>, Fault> {
    let remove = Change::Remove { reason: query.reason };
    alter(&store, &sockets, &caller, mid, query.room, &headers, remove).await
}

/// Reacts to a message. Doing so twice is no error.
#[utoipa::path(put, path = "/v1/messages/{message}/reactions/{emoji}", tag = "messages",
    params(("message" = uuid::Uuid, Path), ("emoji" = String, Path), ChangeQuery),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn react(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    ReactionPath { mid, emoji }: ReactionPath,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Body<MessageChanged>, Fault> {
    let react = Change::React { emoji, on: true };
    alter(&store, &sockets, &caller, mid, query.room, &headers, react).await
}

/// Takes a reaction back. Doing so twice is no error.
#[utoipa::path(delete, path = "/v1/messages/{message}/reactions/{emoji}", tag = "messages",
    params(("message" = uuid::Uuid, Path), ("emoji" = String, Path), ChangeQuery),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn unreact(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    ReactionPath { mid, emoji }: ReactionPath,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Body<MessageChanged>, Fault> {
    let react = Change::React { emoji, on: false };
    alter(&store, &sockets, &caller, mid, query.room, &headers, react).await
}

/// Pins a message to its room. Doing so twice is no error.
#[utoipa::path(put, path = "/v1/messages/{message}/pin", tag = "messages",
    params(("message" = uuid::Uuid, Path), ChangeQuery),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn pin(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Body<MessageChanged>, Fault> {
    alter(&store, &sockets, &caller, mid, query.room, &headers, Change::Pin { on: true }).await
}

/// Unpins a message. Doing so twice is no error.
#[utoipa::path(delete, path = "/v1/messages/{message}/pin", tag = "messages",
    params(("message" = uuid::Uuid, Path), ChangeQuery),
    responses((status = 200, body = MessageChanged), Problems))]
pub async fn unpin(
    State(store): State<Store>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(mid): MessagePath,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Body<MessageChanged>, Fault> {
    alter(&store, &sockets, &caller, mid, query.room, &headers, Change::Pin { on: false }).await
}

async fn alter(
    store: &Store,
    sockets: &ws::Context,
    caller: &Caller,
    mid: MessageId,
    room: Option<RoomId>,
    headers: &HeaderMap,
    what: Change,
) -> Result<Body<MessageChanged>, Fault> {
    let cid = client_id(caller, headers)?;
    let room = room_of(store, mid, room).await?;
    let handle = sockets.hub.room(room).await?;
    handle.admit(caller.user).await.map_err(|refusal| unseen(refusal.into()))?;
    let position = match change(sockets, &handle, caller.user, mid, cid, what).await? {
        Some(event) => Some(append(sockets, &handle, event).await?),
        None => None,
    };
    Ok(Body(MessageChanged { id: mid, room, position }))
}

async fn room_of(store: &Store, mid: MessageId, room: Option<RoomId>) -> Result<RoomId, Fault> {
    match room {
        Some(room) => Ok(room),
        None => Ok(store.place(mid).await?.ok_or(ErrorCode::MessageNotFound)?.0),
    }
}

/// Where one may not read, no message is known to be.
fn unseen(fault: Fault) -> Fault {
    match fault.code {
        ErrorCode::RoomNotFound | ErrorCode::NotMember => ErrorCode::MessageNotFound.into(),
        _ => fault,
    }
}

/// The version that `If-Match` asks for.
fn version(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|v| v.parse().ok());
    let why = "If-Match has to be the ETag of the message, or *";
    version.map(Some).ok_or_else(|| Fault::from(ErrorCode::RequestInvalid).because(why))
}
