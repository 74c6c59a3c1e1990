use std::time::Duration;

use natterjack_database::Error as DatabaseError;
use natterjack_domain::{SessionId, UserId};

use crate::hashing::HashError;

/// Why a password could not be hashed, for reasons that the caller cannot change.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HashFailure(HashError);

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the username is taken")]
    UsernameTaken,
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error("too many passwords are being hashed")]
    Busy { retry_after: Duration },
    #[error("the password could not be hashed")]
    Hash(#[source] HashFailure),
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the account could not be stored")]
    Database(#[source] DatabaseError),
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or the password is another: which of them is not told.
    #[error("unknown name or wrong password")]
    Refused,
    /// The password is right.
    #[error("the account is disabled")]
    Disabled,
    #[error("too many passwords are being checked")]
    Busy { retry_after: Duration },
    #[error("the password could not be checked")]
    Hash(#[source] HashFailure),
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the session could not be stored")]
    Database(#[source] DatabaseError),
}

/// Why a refresh token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It is none of this installation, or was forgotten long ago.
    #[error("the refresh token is not valid")]
    Invalid,
    /// It, or its session, has not been used for too long.
    #[error("the session has expired")]
    Expired,
    /// Its session was ended, or its account disabled.
    #[error("the session has ended")]
    Ended,
    /// It had been replaced already: someone else has a copy. The session was ended just now; tell all fronts.
    #[error("the refresh token was used before; the session has been ended")]
    Reused { user: UserId, session: SessionId },
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the session could not be renewed")]
    Database(#[source] DatabaseError),
}

/// Why sessions could not be read or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the sessions could not be read or changed")]
    Database(#[source] DatabaseError),
}

/// Why nothing about an account was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Closed, since the token was issued.
    #[error("the account is disabled")]
    Disabled,
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the account could not be read or changed")]
    Database(#[source] DatabaseError),
}

/// Why what needs the password was not done.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("wrong password")]
    Wrong,
    #[error("too many passwords are being checked")]
    Busy { retry_after: Duration },
    #[error("the password could not be checked")]
    Hash(#[source] HashFailure),
    #[error("accounts are unavailable")]
    Unavailable(#[source] DatabaseError),
    #[error("the account could not be changed")]
    Database(#[source] DatabaseError),
}

macro_rules! from_database {
    ($($error:ty),*) => {$(
        impl From<DatabaseError> for $error {
            fn from(error: DatabaseError) -> Self {
                if error.is_unavailable() { Self::Unavailable(error) } else { Self::Database(error) }
            }
        }

        impl From<tokio_postgres::Error> for $error {
            fn from(error: tokio_postgres::Error) -> Self {
                DatabaseError::from(error).into()
            }
        }
    )*};
}

from_database!(RegisterError, LoginError, RefreshError, SessionError, ChangeError, PasswordError);

macro_rules! from_hash {
    ($($error:ty),*) => {$(
        impl From<HashError> for $error {
            fn from(error: HashError) -> Self {
                match error {
                    HashError::Busy { retry_after } => Self::Busy { retry_after },
                    error => Self::Hash(HashFailure(error)),
                }
            }
        }
    )*};
}

from_hash!(RegisterError, LoginError, PasswordError);

impl RegisterError {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::UsernameTaken => "username_taken",
            Self::EmailTaken => "email_taken",
            Self::Busy { .. } => "busy",
            Self::Hash(_) => "hash",
            Self::Unavailable(_) => "unavailable",
            Self::Database(_) => "database",
        }
    }
}

impl LoginError {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Disabled => "disabled",
            Self::Busy { .. } => "busy",
            Self::Hash(_) => "hash",
            Self::Unavailable(_) => "unavailable",
            Self::Database(_) => "database",
        }
    }
}

impl PasswordError {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Busy { .. } => "busy",
            Self::Hash(_) => "hash",
            Self::Unavailable(_) => "unavailable",
            Self::Database(_) => "database",
        }
    }
}

impl RefreshError {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Reused { .. } => "reused",
            Self::Unavailable(_) => "unavailable",
            Self::Database(_) => "database",
        }
    }
}
