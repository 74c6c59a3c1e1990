//! People and their sessions.

use natterjack_domain::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::frame::Position;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// 3–32 of `a–z 0–9 . _ -`, beginning with a letter; capitals are folded.
    pub username: String,
    #[serde(default)]
    pub email: Option<String>,
    /// 8–256 bytes.
    pub password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// User name or e-mail address.
    pub login: String,
    pub password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    pub refresh_token: String,
}

/// A session has begun or goes on. Each refresh token works once.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginResponse {
    pub user: UserId,
    pub username: String,
    pub session: SessionId,
    pub access_token: String,
    pub expires_in_secs: u64,
    pub refresh_token: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Person {
    pub id: UserId,
    pub username: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonList {
    pub items: Vec<Person>,
    /// Passed as `cursor`, gives the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}
