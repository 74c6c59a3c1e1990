//! People and their sessions.

use natterjack_domain::{SessionId, UserId, presence::Presence, profile::Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::frame::{Position, Seen, some};

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

/// A person as lists show one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Person {
    pub id: UserId,
    pub username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// The account is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deactivated: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonList {
    pub items: Vec<Person>,
    /// Passed as `cursor`, gives the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub as_of: Position,
}

/// All that others may know of a person.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PublicProfile {
    #[serde(flatten)]
    pub person: Person,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    pub presence: PersonPresence,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PersonPresence {
    pub state: Presence,
    /// Since when, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// When somebody who is offline was last there, in milliseconds since 1970, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
}

/// Everything about myself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    pub id: UserId,
    pub username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Nobody else is told what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// In milliseconds since 1970.
    pub created_at: u64,
}

/// What is to change about myself: a missing field stays as it is, `null` takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMe {
    /// 1–50 characters.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub nickname: Option<Option<String>>,
    /// 1–100 visible ASCII characters, which mean something to clients only.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub avatar: Option<Option<String>>,
    /// 1–500 characters.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub bio: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<StatusRequest>)]
    pub status: Option<Option<StatusRequest>>,
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Option<String>>,
    /// `+`, the country's number and the rest: 7–15 digits.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub phone: Option<Option<String>>,
    /// A language tag (BCP 47) such as `en`, `zh-Hans` or `de-CH`, 2–35 characters.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    pub locale: Option<Option<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// 1–100 characters.
    pub text: String,
    /// 1–16 characters.
    #[serde(default)]
    pub emoji: Option<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(default)]
    pub until: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password as it is.
    pub old: String,
    /// 8–256 bytes.
    pub new: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeactivateRequest {
    pub password: String,
}

/// One login on one device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    pub id: SessionId,
    /// What the device called itself when it logged in (`User-Agent`).
    pub device: String,
    /// From where it logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// In milliseconds since 1970, as are the others.
    pub created_at: u64,
    /// When its tokens were last renewed.
    pub last_used_at: u64,
    pub expires_at: u64,
    /// Whether it is the one that asks.
    pub current: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionList {
    /// The latest first.
    pub items: Vec<Session>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Who is there, by their ids.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OnlineList {
    pub items: Vec<Seen>,
    /// All of them, on this page or not.
    pub count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
