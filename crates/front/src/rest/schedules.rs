//! Messages that are sent later.

use std::sync::Arc;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use natterjack_domain::{MessageBody, RoomId, ScheduleId, message::Mentions, user::schedule::Plan};
use natterjack_readmodel::kept;
use natterjack_wire::{
    ErrorCode,
    draft::Mentioned,
    rest::{FeedChanged, ScheduleChanged, ScheduleList, ScheduleRequest},
};

use super::{
    extract::{Caller, Json, Query, RoomPath, SchedulePath, idempotency_key},
    kept::KeptPageQuery,
    problems::Problems,
};
use crate::{fault::Fault, kept::Keeper, schedules::Schedules, ws};

/// Has a message sent to a room of mine at a time to come. With an `Idempotency-Key` a repeat, whatever its body, names the
/// same one.
#[utoipa::path(post, path = "/v1/rooms/{room}/scheduled", tag = "scheduled",
    params(("room" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "At most 128 bytes.")),
    request_body = ScheduleRequest, responses((status = 201, body = ScheduleChanged), Problems))]
pub async fn schedule(
    State(schedules): State<Schedules>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    headers: HeaderMap,
    Json(request): Json<ScheduleRequest>,
) -> Result<(StatusCode, Body<ScheduleChanged>), Fault> {
    let key = idempotency_key(&headers)?;
    let id = key.map_or_else(ScheduleId::random, |key| ScheduleId::derive(caller.user, key));
    let plan = plan(&sockets, room, request)?;
    let FeedChanged { position } = schedules.create(caller.user, id, plan).await?;
    Ok((StatusCode::CREATED, Body(ScheduleChanged { id, position })))
}

/// What I have scheduled, and what could not be sent, by time.
#[utoipa::path(get, path = "/v1/scheduled", tag = "scheduled", params(KeptPageQuery),
    responses((status = 200, body = ScheduleList), Problems))]
pub async fn scheduled(
    State(keeper): State<Keeper>,
    caller: Caller,
    Query(query): Query<KeptPageQuery>,
) -> Result<Body<ScheduleList>, Fault> {
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let page = query.page();
    Ok(Body(keeper.store.query(async |c| kept::schedules(&c, stream, caller.user, page).await).await?))
}

/// Changes what is to be sent, and when, before it is.
#[utoipa::path(put, path = "/v1/scheduled/{id}", tag = "scheduled", params(("id" = uuid::Uuid, Path)),
    request_body = ScheduleRequest, responses((status = 200, body = ScheduleChanged), Problems))]
pub async fn reschedule(
    State(schedules): State<Schedules>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    SchedulePath(id): SchedulePath,
    Json(request): Json<ScheduleRequest>,
) -> Result<Body<ScheduleChanged>, Fault> {
    let room = schedules.room_of(caller.user, id).await?;
    let plan = plan(&sockets, room, request)?;
    let FeedChanged { position } = schedules.change(caller.user, id, plan).await?;
    Ok(Body(ScheduleChanged { id, position }))
}

/// Does not send it; or, when it could not be sent, has done with it.
#[utoipa::path(delete, path = "/v1/scheduled/{id}", tag = "scheduled", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ScheduleChanged), Problems))]
pub async fn unschedule(
    State(schedules): State<Schedules>,
    caller: Caller,
    SchedulePath(id): SchedulePath,
) -> Result<Body<ScheduleChanged>, Fault> {
    let FeedChanged { position } = schedules.cancel(caller.user, id).await?;
    Ok(Body(ScheduleChanged { id, position }))
}

fn plan(sockets: &ws::Context, room: RoomId, request: ScheduleRequest) -> Result<Plan, Fault> {
    let ScheduleRequest { at, body, reply_to, thread, mentions } = request;
    if i64::try_from(at).is_err() {
        return Err(ErrorCode::ScheduleTimeInvalid.into());
    }
    let body = MessageBody::parse(&body, sockets.config.message_max_chars)?;
    let Mentioned { users, all, here } = mentions.unwrap_or_default();
    let mentions =
        Mentions::new(users.unwrap_or_default(), all.unwrap_or_default(), here.unwrap_or_default())
            .map_err(|error| Fault::from(ErrorCode::MentionsInvalid).because(error.to_string()))?;
    Ok(Plan { room, at, body, reply_to, thread, mentions })
}
