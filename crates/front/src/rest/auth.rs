//! Registering, logging in and out.

use std::sync::Arc;

use axum::{Json as Body, extract::State, http::StatusCode};
use natterjack_wire::rest::{LoginRequest, LoginResponse, RefreshRequest, RegisterRequest};

use super::extract::{Attempt, Caller, Json};
use super::problems::Problems;
use crate::{fault::Fault, identity::Accounts};

/// Creates an account and begins a session.
#[utoipa::path(post, path = "/v1/auth/register", tag = "auth", security(()), request_body = RegisterRequest,
    responses((status = 201, body = LoginResponse), Problems))]
pub async fn register(
    State(accounts): State<Arc<Accounts>>,
    attempt: Attempt,
    Json(request): Json<RegisterRequest>,
) -> Result<(StatusCode, Body<LoginResponse>), Fault> {
    let login = accounts.register(request, attempt.origin).await?;
    Ok((StatusCode::CREATED, Body(login)))
}

/// Begins a session.
#[utoipa::path(post, path = "/v1/auth/login", tag = "auth", security(()), request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), Problems))]
pub async fn login(
    State(accounts): State<Arc<Accounts>>,
    attempt: Attempt,
    Json(request): Json<LoginRequest>,
) -> Result<Body<LoginResponse>, Fault> {
    Ok(Body(accounts.login(request, &attempt.origin).await?))
}

/// Exchanges a refresh token for new tokens. A token that was exchanged before ends its session.
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "auth", security(()), request_body = RefreshRequest,
    responses((status = 200, body = LoginResponse), Problems))]
pub async fn refresh(
    State(accounts): State<Arc<Accounts>>,
    _attempt: Attempt,
    Json(request): Json<RefreshRequest>,
) -> Result<Body<LoginResponse>, Fault> {
    Ok(Body(accounts.refresh(&request.refresh_token).await?))
}

/// Ends this session, on every front.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "auth",
    responses((status = 204), Problems))]
pub async fn logout(State(accounts): State<Arc<Accounts>>, caller: Caller) -> Result<StatusCode, Fault> {
    accounts.logout(caller.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of this person, this one too.
#[utoipa::path(post, path = "/v1/auth/logout-all", tag = "auth",
    responses((status = 204), Problems))]
pub async fn logout_all(State(accounts): State<Arc<Accounts>>, caller: Caller) -> Result<StatusCode, Fault> {
    accounts.logout_everywhere(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}
