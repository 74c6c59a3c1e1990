//! An error on its way to a client: the one place where errors become codes.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use natterjack_domain::{
    InvalidText, message, room,
    user::{quiet::InvalidQuiet, schedule},
};
use natterjack_eventlog::{AppendError, ReadError};
use natterjack_wire::{ErrorCode, Problem, ServerFrame};

use crate::hub::{CutOff, OpenError, Refusal};

/// What a client is told, and what only the log is told.
#[derive(Debug)]
pub struct Fault {
    pub code: ErrorCode,
    detail: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// When to try again after an outage.
const RETRY_DEFAULT: Duration = Duration::from_secs(2);

impl Fault {
    /// An error whose cause is the operator's business.
    pub fn caused(code: ErrorCode, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::from(code) }
    }

    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Logs a failure of ours, with its causes, once. What a client did wrong is no news.
    pub fn log(&self) {
        if let Some(source) = &self.source {
            let error = source.as_ref() as &dyn Error;
            if self.code == ErrorCode::Internal {
                tracing::error!(error, code = self.code.number(), "{}", self.code.title());
            } else {
                tracing::warn!(error, code = self.code.number(), "{}", self.code.title());
            }
        }
    }

    pub fn frame(&self, id: Option<u64>) -> ServerFrame {
        ServerFrame::Err {
            id,
            code: self.code.number(),
            title: self.code.title(),
            detail: self.detail.clone(),
            retry_ms: self.retry_ms(),
        }
    }

    fn retry_ms(&self) -> Option<u64> {
        let wait = self.retry_after.or_else(|| self.code.is_transient().then_some(RETRY_DEFAULT))?;
        Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.title())
    }
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self { code, detail: None, retry_after: None, source: None }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.log();
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_ms = self.retry_ms();
        let problem = Problem { detail: self.detail, retry_ms, ..Problem::new(self.code) };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(ms) = retry_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What to upgrade to: RFC 9110, 15.5.22, and RFC 6455, 4.4.
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl From<room::Rejection> for Fault {
    fn from(rejection: room::Rejection) -> Self {
        let code = match rejection {
            room::Rejection::NotFound => return ErrorCode::RoomNotFound.into(),
            room::Rejection::NotMember => return ErrorCode::NotMember.into(),
            room::Rejection::Exists => return Self::caused(ErrorCode::Internal, rejection),
            room::Rejection::Full { .. } => ErrorCode::RoomFull,
            room::Rejection::NotPermitted { .. } => ErrorCode::RoleTooLow,
            room::Rejection::NotInDirect => ErrorCode::NotInDirect,
            room::Rejection::OutOfRank => ErrorCode::RankTooLow,
            room::Rejection::NoSuchMember => ErrorCode::NoSuchMember,
            room::Rejection::Muted { .. } => ErrorCode::Muted,
            room::Rejection::Banned { .. } => ErrorCode::Banned,
            room::Rejection::ReadOnly => ErrorCode::RoomReadOnly,
            room::Rejection::Archived => ErrorCode::RoomArchived,
            room::Rejection::LastOwner => ErrorCode::LastOwner,
            room::Rejection::InviteInvalid => ErrorCode::InviteInvalid,
            room::Rejection::TooMany { .. } => ErrorCode::RoomListFull,
            room::Rejection::DirectSize { .. } => ErrorCode::DirectSize,
            room::Rejection::Capacity { .. } => ErrorCode::RoomSettingInvalid,
        };
        Self::from(code).because(rejection.to_string())
    }
}

impl From<CutOff> for Fault {
    fn from(cut_off: CutOff) -> Self {
        Self::from(ErrorCode::LogUnavailable).because(cut_off.to_string())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::CutOff(cut_off) => cut_off.into(),
            Refusal::TooSoon(wait) => Self::from(ErrorCode::SlowMode).retry_after(wait),
        }
    }
}

impl From<message::Rejection> for Fault {
    fn from(rejection: message::Rejection) -> Self {
        match rejection {
            message::Rejection::NotAuthor => ErrorCode::NotAuthor.into(),
            message::Rejection::Gone => ErrorCode::MessageRecalled.into(),
            message::Rejection::TooLate { .. } => {
                Self::from(ErrorCode::RecallTooLate).because(rejection.to_string())
            }
            message::Rejection::TooManyReactions => {
                Self::from(ErrorCode::TooManyReactions).because(rejection.to_string())
            }
            message::Rejection::TooManyPins => {
                Self::from(ErrorCode::TooManyPins).because(rejection.to_string())
            }
        }
    }
}

impl From<schedule::Rejection> for Fault {
    fn from(rejection: schedule::Rejection) -> Self {
        match rejection {
            schedule::Rejection::NotFound => ErrorCode::ScheduleNotFound.into(),
            schedule::Rejection::Begun => ErrorCode::ScheduleBegun.into(),
        }
    }
}

impl From<InvalidQuiet> for Fault {
    fn from(error: InvalidQuiet) -> Self {
        Self::from(ErrorCode::QuietInvalid).because(error.to_string())
    }
}

/// As a message's text; room names have a code of their own.
impl From<InvalidText> for Fault {
    fn from(error: InvalidText) -> Self {
        let code = match error {
            InvalidText::Empty => ErrorCode::MessageEmpty,
            InvalidText::TooLong { .. } => ErrorCode::MessageTooLong,
            InvalidText::ControlCharacter(_) | InvalidText::NotAnAvatar => ErrorCode::MessageInvalid,
        };
        Self::from(code).because(error.to_string())
    }
}

impl From<Arc<OpenError>> for Fault {
    fn from(error: Arc<OpenError>) -> Self {
        match *error {
            OpenError::NoSuchRoom => ErrorCode::RoomNotFound.into(),
            OpenError::Follow(_) | OpenError::Read(_) => Self::caused(ErrorCode::LogUnavailable, error),
            OpenError::Aborted => ErrorCode::Draining.into(),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::caused(ErrorCode::LogUnavailable, error)
    }
}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict => Self::caused(ErrorCode::RoomContended, error),
            AppendError::Refused(_) | AppendError::Damaged(_) => Self::caused(ErrorCode::LogRefuses, error),
            AppendError::Unavailable(_) => Self::caused(ErrorCode::LogUnavailable, error),
        }
    }
}

/// What went wrong with Postgres. A client can only wait, or has found a defect.
impl From<natterjack_database::Error> for Fault {
    fn from(error: natterjack_database::Error) -> Self {
        if error.is_unavailable() {
            Self::caused(ErrorCode::DatabaseUnavailable, error)
        } else {
            Self::caused(ErrorCode::Internal, error)
        }
    }
}

impl From<natterjack_readmodel::Error> for Fault {
    fn from(error: natterjack_readmodel::Error) -> Self {
        match error {
            natterjack_readmodel::Error::Database(error) => error.into(),
            natterjack_readmodel::Error::Cursor(_) => ErrorCode::CursorInvalid.into(),
            natterjack_readmodel::Error::TooLong => ErrorCode::SearchTooBroad.into(),
        }
    }
}
