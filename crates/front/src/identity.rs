//! Accounts as the front uses them: identity, and the word to all fronts when a session ends.

use natterjack_domain::{SessionId, UserId};
use natterjack_identity::{
    Email, Identity, InvalidEmail, InvalidPassword, InvalidUsername, Login, LoginError, Password,
    RefreshError, RegisterError, Registration, SessionError, Username,
};
use natterjack_wire::{
    ErrorCode,
    rest::{LoginRequest, LoginResponse, RegisterRequest},
};

use crate::{fault::Fault, outside::Log, revocation::Revocations};

pub struct Accounts {
    identity: Identity,
    revocations: Revocations,
    log: Log,
}

impl Accounts {
    pub fn new(identity: Identity, revocations: Revocations, log: Log) -> Self {
        Self { identity, revocations, log }
    }

    pub async fn register(
        &self,
        request: RegisterRequest,
        user_agent: String,
    ) -> Result<LoginResponse, Fault> {
        let registration = Registration {
            username: request.username.parse::<Username>()?,
            email: request.email.map(|email| email.parse::<Email>()).transpose()?,
            password: Password::new(request.password)?,
            user_agent,
        };
        Ok(response(self.identity.register(registration).await?))
    }

    pub async fn login(&self, request: LoginRequest, user_agent: &str) -> Result<LoginResponse, Fault> {
        // A password that could never have been set is wrong, without a word on why.
        let password = Password::new(request.password).map_err(|_| ErrorCode::CredentialsWrong)?;
        Ok(response(self.identity.login(&request.login, &password, user_agent).await?))
    }

    pub async fn refresh(&self, token: &str) -> Result<LoginResponse, Fault> {
        match self.identity.refresh(token).await {
            Ok(login) => Ok(response(login)),
            Err(error) => {
                if let RefreshError::Reused { session, .. } = &error {
                    self.revocations.end(&self.log, vec![*session]).await;
                }
                Err(error.into())
            }
        }
    }

    pub async fn logout(&self, session: SessionId) -> Result<(), Fault> {
        self.identity.logout(session).await?;
        self.revocations.end(&self.log, vec![session]).await;
        Ok(())
    }

    pub async fn logout_everywhere(&self, user: UserId) -> Result<(), Fault> {
        let ended = self.identity.logout_everywhere(user).await?;
        self.revocations.end(&self.log, ended).await;
        Ok(())
    }
}

fn response(login: Login) -> LoginResponse {
    LoginResponse {
        user: login.user,
        username: login.username,
        session: login.session,
        access_token: login.access_token,
        expires_in_secs: login.expires_in_secs,
        refresh_token: login.refresh_token,
    }
}

impl From<InvalidUsername> for Fault {
    fn from(error: InvalidUsername) -> Self {
        Self::from(ErrorCode::UsernameInvalid).because(error.to_string())
    }
}

impl From<InvalidEmail> for Fault {
    fn from(error: InvalidEmail) -> Self {
        Self::from(ErrorCode::EmailInvalid).because(error.to_string())
    }
}

impl From<InvalidPassword> for Fault {
    fn from(error: InvalidPassword) -> Self {
        Self::from(ErrorCode::PasswordInvalid).because(error.to_string())
    }
}

impl From<RegisterError> for Fault {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::UsernameTaken => ErrorCode::UsernameTaken.into(),
            RegisterError::EmailTaken => ErrorCode::EmailTaken.into(),
            RegisterError::Busy { retry_after } => Self::from(ErrorCode::Busy).retry_after(retry_after),
            RegisterError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            RegisterError::Hash(_) | RegisterError::Database(_) => Self::caused(ErrorCode::Internal, error),
        }
    }
}

impl From<LoginError> for Fault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused | LoginError::Disabled => ErrorCode::CredentialsWrong.into(),
            LoginError::Busy { retry_after } => Self::from(ErrorCode::Busy).retry_after(retry_after),
            LoginError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            LoginError::Hash(_) | LoginError::Database(_) => Self::caused(ErrorCode::Internal, error),
        }
    }
}

impl From<RefreshError> for Fault {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid | RefreshError::Expired => ErrorCode::RefreshInvalid.into(),
            RefreshError::Ended => ErrorCode::SessionEnded.into(),
            RefreshError::Reused { .. } => ErrorCode::RefreshReused.into(),
            RefreshError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            RefreshError::Database(_) => Self::caused(ErrorCode::Internal, error),
        }
    }
}

impl From<SessionError> for Fault {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            SessionError::Database(_) => Self::caused(ErrorCode::Internal, error),
        }
    }
}
