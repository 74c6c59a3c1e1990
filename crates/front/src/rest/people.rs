//! People.

use std::sync::Arc;

use axum::{Json as Body, extract::State, http::StatusCode};
use natterjack_domain::presence;
use natterjack_readmodel::{Page, people};
use natterjack_wire::{
    ErrorCode,
    rest::{
        ChangeMe, DeactivateRequest, Me, PasswordRequest, PersonList, PersonPresence, PublicProfile,
        SessionList,
    },
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Caller, Json, PersonPath, Query, SessionPath};
use super::problems::Problems;
use crate::{fault::Fault, identity::Accounts, presence::Presence, store::Store, ws};

/// Everything about me.
#[utoipa::path(get, path = "/v1/me", tag = "people",
    responses((status = 200, body = Me), Problems))]
pub async fn me(State(accounts): State<Arc<Accounts>>, caller: Caller) -> Result<Body<Me>, Fault> {
    Ok(Body(accounts.me(caller.user).await?))
}

/// Changes what is named, and leaves the rest.
#[utoipa::path(patch, path = "/v1/me", tag = "people", request_body = ChangeMe,
    responses((status = 200, body = Me), Problems))]
pub async fn change_me(
    State(accounts): State<Arc<Accounts>>,
    State(presence): State<Presence>,
    caller: Caller,
    Json(request): Json<ChangeMe>,
) -> Result<Body<Me>, Fault> {
    let tells_status = request.status.is_some();
    let me = accounts.change(caller.user, request).await?;
    if tells_status {
        presence.tell_status(caller.user, me.status.clone());
    }
    Ok(Body(me))
}

/// Changes my password and ends all my other sessions, on every front.
#[utoipa::path(post, path = "/v1/me/password", tag = "people", request_body = PasswordRequest,
    responses((status = 204), Problems))]
pub async fn change_password(
    State(accounts): State<Arc<Accounts>>,
    caller: Caller,
    Json(request): Json<PasswordRequest>,
) -> Result<StatusCode, Fault> {
    accounts.change_password(caller.user, caller.session, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes my account for good and ends all my sessions. Nobody else gets its names.
#[utoipa::path(post, path = "/v1/me/deactivate", tag = "people", request_body = DeactivateRequest,
    responses((status = 204), Problems))]
pub async fn deactivate(
    State(accounts): State<Arc<Accounts>>,
    caller: Caller,
    Json(request): Json<DeactivateRequest>,
) -> Result<StatusCode, Fault> {
    accounts.deactivate(caller.user, request.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    cursor: Option<String>,
    /// 1–200 (brought into that range), 50 when missing.
    limit: Option<u32>,
}

/// Where I am logged in, the latest first.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "people", params(SessionsQuery),
    responses((status = 200, body = SessionList), Problems))]
pub async fn sessions(
    State(accounts): State<Arc<Accounts>>,
    caller: Caller,
    Query(query): Query<SessionsQuery>,
) -> Result<Body<SessionList>, Fault> {
    let page = (query.cursor.as_deref(), query.limit);
    Ok(Body(accounts.sessions(caller.user, caller.session, page.0, page.1).await?))
}

/// Ends all my sessions but this one, on every front.
#[utoipa::path(delete, path = "/v1/me/sessions", tag = "people",
    responses((status = 204), Problems))]
pub async fn end_other_sessions(
    State(accounts): State<Arc<Accounts>>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    accounts.end_other_sessions(caller.user, caller.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of my sessions, on every front.
#[utoipa::path(delete, path = "/v1/me/sessions/{session}", tag = "people",
    params(("session" = uuid::Uuid, Path)), responses((status = 204), Problems))]
pub async fn end_session(
    State(accounts): State<Arc<Accounts>>,
    caller: Caller,
    SessionPath(session): SessionPath,
) -> Result<StatusCode, Fault> {
    accounts.end_session(caller.user, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Beginning of the user name or the nickname, in whatever case and width; everybody when empty.
    #[serde(default)]
    q: String,
    cursor: Option<String>,
    /// 1–200, 50 when missing.
    limit: Option<u32>,
}

/// People by the beginning of their user name or nickname, in the order of that name.
#[utoipa::path(get, path = "/v1/users", tag = "people", params(Search),
    responses((status = 200, body = PersonList), Problems))]
pub async fn search(
    State(store): State<Store>,
    _caller: Caller,
    Query(search): Query<Search>,
) -> Result<Body<PersonList>, Fault> {
    let page = Page { cursor: search.cursor.as_deref(), limit: search.limit };
    Ok(Body(store.query(async |c| people::people(&c, &search.q, page).await).await?))
}

/// One person: what everybody may know, and whether the person is there.
#[utoipa::path(get, path = "/v1/users/{user}", tag = "people", params(("user" = uuid::Uuid, Path)),
    responses((status = 200, body = PublicProfile), Problems))]
pub async fn person(
    State(store): State<Store>,
    State(accounts): State<Arc<Accounts>>,
    State(there): State<Presence>,
    State(sockets): State<Arc<ws::Context>>,
    _caller: Caller,
    PersonPath(user): PersonPath,
) -> Result<Body<PublicProfile>, Fault> {
    let found = store.query(async |c| people::person(&c, user).await).await?;
    let mut profile = found.ok_or(ErrorCode::UserNotFound)?;
    let now_ms = sockets.now_ms();
    profile.status.take_if(|status| status.is_over(now_ms));
    let seen = there.of(user);
    profile.presence = PersonPresence { state: seen.state, since: seen.since, last_seen: None };
    if seen.state == presence::Presence::Offline {
        profile.presence.last_seen = accounts.last_seen(user).await?;
    }
    Ok(Body(profile))
}
