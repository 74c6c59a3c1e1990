//! What is said in a room: history, threads, pins, and saying something.

mod one;

use std::sync::Arc;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use natterjack_domain::{ClientId, MessageId, RoomId};
use natterjack_eventlog::NewEvent;
use natterjack_readmodel::{
    Page,
    messages::{self, From},
};
use natterjack_wire::{
    Draft, ErrorCode, Position,
    rest::{MessageList, MessageSent, PinList, Thread, ThreadList},
};
use serde::Deserialize;
use utoipa::IntoParams;

pub use self::one::*;
use super::{
    extract::{Caller, Json, Query, RoomPath, ThreadPath, idempotency_key},
    problems::Problems,
    rooms::{PageQuery, RoomQuery, admit},
};
use crate::{fault::Fault, hub::Handle, projected::Projected, store::Store, ws};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    cursor: Option<String>,
    /// Messages that follow this sequence.
    after: Option<u64>,
    /// Messages about this one: its id or its sequence. Of a reply, about the message that began its thread.
    around: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
    /// Wait until the answer reflects this sequence of the room's stream.
    at_least: Option<u64>,
}

/// A page of a room's messages, oldest first; replies in threads are left out. The first page holds the newest; `next` leads
/// to older ones, `newer` to newer ones. At most one of `cursor`, `after` and `around`.
#[utoipa::path(get, path = "/v1/rooms/{room}/messages", tag = "messages",
    params(("room" = uuid::Uuid, Path), HistoryQuery),
    responses((status = 200, body = MessageList), Problems))]
pub async fn history(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<HistoryQuery>,
) -> Result<Body<MessageList>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let from = match (query.cursor.as_deref(), query.after, query.around.as_deref()) {
        (cursor, None, None) => From::Cursor(cursor),
        (None, Some(after), None) => From::After(after),
        (None, None, Some(around)) => From::Around(sequence(&store, room, around).await?),
        _ => {
            let why = "at most one of cursor, after and around";
            return Err(Fault::from(ErrorCode::RequestInvalid).because(why));
        }
    };
    let found =
        store.query(async |c| messages::history(&c, room, caller.user, from, query.limit).await).await?;
    // Who has left while this was waited for and read does not get it.
    sockets.hub.room(room).await?.admit(caller.user).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

async fn sequence(store: &Store, room: RoomId, around: &str) -> Result<u64, Fault> {
    if let Ok(seq) = around.parse() {
        return Ok(seq);
    }
    let mid: MessageId = around.parse().map_err(|_| {
        Fault::from(ErrorCode::RequestInvalid).because("around has to be a message's id or a sequence")
    })?;
    match store.place(mid).await? {
        Some((found, seq)) if found == room => Ok(seq),
        _ => Err(ErrorCode::MessageNotFound.into()),
    }
}

/// Says something, as the frame `send` does. With an `Idempotency-Key` a repeat, whatever its body, is the same message.
#[utoipa::path(post, path = "/v1/rooms/{room}/messages", tag = "messages", request_body = Draft,
    params(("room" = uuid::Uuid, Path),
           ("Idempotency-Key" = Option<String>, Header, description = "At most 128 bytes.")),
    responses((status = 201, body = MessageSent), Problems))]
pub async fn send(
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    headers: HeaderMap,
    Json(draft): Json<Draft>,
) -> Result<(StatusCode, Body<MessageSent>), Fault> {
    let cid = client_id(&caller, &headers)?;
    let handle = sockets.hub.room(room).await?;
    let (id, event) = crate::messages::send(&sockets, &handle, caller.user, cid, draft).await?;
    let position = append(&sockets, &handle, event).await?;
    Ok((StatusCode::CREATED, Body(MessageSent { id, room, cid, position })))
}

/// The pinned messages of a room, the one that was pinned last first.
#[utoipa::path(get, path = "/v1/rooms/{room}/pins", tag = "messages",
    params(("room" = uuid::Uuid, Path), RoomQuery),
    responses((status = 200, body = PinList), Problems))]
pub async fn pins(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<RoomQuery>,
) -> Result<Body<PinList>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let found = store.query(async |c| messages::pins(&c, room, caller.user).await).await?;
    sockets.hub.room(room).await?.admit(caller.user).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

/// The threads of a room, by the messages that began them, the one that was replied to last first.
#[utoipa::path(get, path = "/v1/rooms/{room}/threads", tag = "messages",
    params(("room" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = ThreadList), Problems))]
pub async fn threads(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<ThreadList>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| messages::threads(&c, room, caller.user, page).await).await?;
    sockets.hub.room(room).await?.admit(caller.user).await?;
    Ok(Body(found.ok_or(ErrorCode::ReadBehind)?))
}

/// A thread: the message that began it, and a page of its replies, oldest first. The first page holds the newest; `next`
/// leads to older ones.
#[utoipa::path(get, path = "/v1/rooms/{room}/threads/{message}", tag = "messages",
    params(("room" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = Thread), Problems))]
pub async fn thread(
    State(store): State<Store>,
    State(projected): State<Projected>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    ThreadPath { room, root }: ThreadPath,
    Query(query): Query<PageQuery>,
) -> Result<Body<Thread>, Fault> {
    admit(&sockets, &projected, &caller, room, query.at_least).await?;
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = store.query(async |c| messages::thread(&c, room, caller.user, root, page).await).await?;
    sockets.hub.room(room).await?.admit(caller.user).await?;
    Ok(Body(found.ok_or(ErrorCode::MessageNotFound)?))
}

/// What the caller calls the request: by its key, so that a repeat of it is the same.
fn client_id(caller: &Caller, headers: &HeaderMap) -> Result<ClientId, Fault> {
    let key = idempotency_key(headers)?;
    Ok(key.map_or_else(ClientId::random, |key| ClientId::derive(caller.user, key)))
}

async fn append(sockets: &ws::Context, handle: &Handle, event: NewEvent) -> Result<Position, Fault> {
    let appended = sockets.hub.log().append(event).await?;
    Ok(Position { epoch: handle.epoch.to_string(), seq: appended.seq })
}
