//! Extractors that answer with problems.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{
        ConnectInfo, FromRef, FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request,
        rejection::JsonRejection,
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use natterjack_domain::{AttachmentId, MessageId, RoomId, ScheduleId, SessionId, UserId};
use natterjack_identity::Origin;
use natterjack_wire::ErrorCode;
use serde::de::DeserializeOwned;

use crate::{fault::Fault, limit::Limiter, ws};

/// Who asks, by the access token; also holds the person to the rate of requests.
pub struct Caller {
    pub user: UserId,
    pub session: SessionId,
}

impl<S: Sync> FromRequestParts<S> for Caller
where
    Arc<ws::Context>: FromRef<S>,
    Arc<Limiter>: FromRef<S>,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let header = parts.headers.get(header::AUTHORIZATION).ok_or(ErrorCode::TokenMissing)?;
        let context = Arc::<ws::Context>::from_ref(state);
        let claims = context.authenticate(Some(ws::bearer_token(header)?), None)?;
        Arc::<Limiter>::from_ref(state).person(claims.user)?;
        Ok(Self { user: claims.user, session: claims.session })
    }
}

/// Where a request comes from; holds the address to the rate of attempts at authentication.
pub struct Attempt {
    pub origin: Origin,
}

impl<S: Sync> FromRequestParts<S> for Attempt
where
    Arc<Limiter>: FromRef<S>,
{
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let limiter = Arc::<Limiter>::from_ref(state);
        let address = limiter.address(peer, &parts.headers);
        if let Some(address) = address {
            limiter.attempt(address)?;
        }
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
        let user_agent = user_agent.unwrap_or_default().chars().take(256).collect();
        Ok(Self { origin: Origin { user_agent, address } })
    }
}

pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

fn bad_body(rejection: &JsonRejection) -> Fault {
    let code = match (rejection, rejection.status()) {
        (JsonRejection::MissingJsonContentType(_), _) => ErrorCode::Unsupported,
        (_, StatusCode::PAYLOAD_TOO_LARGE) => ErrorCode::BodyTooLarge,
        _ => ErrorCode::RequestInvalid,
    };
    Fault::from(code).because(rejection.body_text())
}

pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match AxumQuery::from_request_parts(parts, state).await {
            Ok(AxumQuery(value)) => Ok(Self(value)),
            Err(rejection) => Err(Fault::from(ErrorCode::RequestInvalid).because(rejection.body_text())),
        }
    }
}

/// The room that the path names. A malformed id names no room.
pub struct RoomPath(pub RoomId);

impl<S: Send + Sync> FromRequestParts<S> for RoomPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<RoomId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::RoomNotFound.into())
    }
}

/// The message that the path names.
pub struct MessagePath(pub MessageId);

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<MessageId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::MessageNotFound.into())
    }
}

/// The message that the path names, and what it is reacted to with.
pub struct ReactionPath {
    pub mid: MessageId,
    pub emoji: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ReactionPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<(MessageId, String)>::from_request_parts(parts, state).await;
        path.map(|AxumPath((mid, emoji))| Self { mid, emoji }).map_err(|_| ErrorCode::MessageNotFound.into())
    }
}

/// The message to be sent later that the path names.
pub struct SchedulePath(pub ScheduleId);

impl<S: Send + Sync> FromRequestParts<S> for SchedulePath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<ScheduleId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::ScheduleNotFound.into())
    }
}

/// The message of a room that the path names.
pub struct ThreadPath {
    pub room: RoomId,
    pub root: MessageId,
}

impl<S: Send + Sync> FromRequestParts<S> for ThreadPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<(RoomId, MessageId)>::from_request_parts(parts, state).await;
        path.map(|AxumPath((room, root))| Self { room, root }).map_err(|_| ErrorCode::MessageNotFound.into())
    }
}

/// The room and the person in it that the path names.
pub struct MemberPath(pub RoomId, pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for MemberPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<(String, String)>::from_request_parts(parts, state).await;
        let AxumPath((room, user)) = path.map_err(|_| ErrorCode::RoomNotFound)?;
        let room = room.parse().map_err(|_| ErrorCode::RoomNotFound)?;
        Ok(Self(room, user.parse().map_err(|_| ErrorCode::UserNotFound)?))
    }
}

/// The person whom the path names.
pub struct PersonPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for PersonPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<UserId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::UserNotFound.into())
    }
}

/// Longest `Idempotency-Key`.
const KEY_MAX_BYTES: usize = 128;

/// What the client calls the request, so that a repeat of it is recognised.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_MAX_BYTES => Ok(Some(key)),
        _ => Err(Fault::from(ErrorCode::RequestInvalid)
            .because(format!("Idempotency-Key has to be 1–{KEY_MAX_BYTES} visible characters"))),
    }
}

/// The attachment that the path names.
pub struct AttachmentPath(pub AttachmentId);

impl<S: Send + Sync> FromRequestParts<S> for AttachmentPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<AttachmentId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::AttachmentNotFound.into())
    }
}

/// An attachment in a room.
pub struct RoomAttachmentPath(pub RoomId, pub AttachmentId);

impl<S: Send + Sync> FromRequestParts<S> for RoomAttachmentPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<(RoomId, AttachmentId)>::from_request_parts(parts, state).await;
        path.map(|AxumPath((room, id))| Self(room, id)).map_err(|_| ErrorCode::AttachmentNotFound.into())
    }
}

/// The session that the path names.
pub struct SessionPath(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = AxumPath::<SessionId>::from_request_parts(parts, state).await;
        path.map(|AxumPath(id)| Self(id)).map_err(|_| ErrorCode::SessionNotFound.into())
    }
}
