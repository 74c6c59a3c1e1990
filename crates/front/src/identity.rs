//! Accounts as the front uses them: identity, and the word to all fronts when a session ends.

use std::sync::Arc;

use natterjack_domain::{
    InvalidText, SessionId, UserId,
    profile::{self, Avatar, Bio, Nickname, Status, StatusEmoji, StatusText, TIME_MAX_MS},
};
use natterjack_identity::{
    Account, Change, ChangeError, Email, Identity, InvalidEmail, InvalidPassword, InvalidUsername, Locale,
    Login, LoginError, Origin, Password, PasswordError, Phone, RefreshError, RegisterError, Registration,
    SessionError, Username,
};
use natterjack_wire::{
    ErrorCode,
    rest::{
        ChangeMe, LoginRequest, LoginResponse, Me, PasswordRequest, RegisterRequest, Session, SessionList,
        StatusRequest,
    },
};
use time::OffsetDateTime;

use crate::{fault::Fault, limit::Limiter, outside::Log, revocation::Revocations};

/// Sessions on a page.
const SESSIONS_DEFAULT: u32 = 50;
const SESSIONS_MAX: u32 = 200;

pub struct Accounts {
    identity: Identity,
    revocations: Revocations,
    limiter: Arc<Limiter>,
    log: Log,
}

impl Accounts {
    pub fn new(identity: Identity, revocations: Revocations, limiter: Arc<Limiter>, log: Log) -> Self {
        Self { identity, revocations, limiter, log }
    }

    pub async fn register(&self, request: RegisterRequest, origin: Origin) -> Result<LoginResponse, Fault> {
        let registration = Registration {
            username: request.username.parse::<Username>()?,
            email: request.email.map(|email| email.parse::<Email>()).transpose()?,
            password: Password::new(request.password)?,
            origin,
        };
        if let Some(address) = registration.origin.address {
            self.limiter.registration(address)?;
        }
        Ok(response(self.identity.register(registration).await?))
    }

    pub async fn login(&self, request: LoginRequest, origin: &Origin) -> Result<LoginResponse, Fault> {
        self.limiter.password(&request.login)?;
        // A password that could never have been set is wrong, without a word on why.
        let password = Password::new(request.password).map_err(|_| ErrorCode::CredentialsWrong)?;
        Ok(response(self.identity.login(&request.login, &password, origin).await?))
    }

    pub async fn me(&self, user: UserId) -> Result<Me, Fault> {
        Ok(me(self.identity.account(user).await?))
    }

    /// What the person is from now on.
    pub async fn change(&self, user: UserId, request: ChangeMe) -> Result<Me, Fault> {
        if request.email.is_some() {
            // It tells whether somebody has an address.
            self.limiter.password(&user.to_string())?;
        }
        Ok(me(self.identity.change(user, change(request)?).await?))
    }

    pub async fn change_password(
        &self,
        user: UserId,
        session: SessionId,
        request: PasswordRequest,
    ) -> Result<(), Fault> {
        self.limiter.password(&user.to_string())?;
        let new = Password::new(request.new)?;
        let old = Password::new(request.old).map_err(|_| ErrorCode::PasswordWrong)?;
        let ended = self.identity.change_password(user, &old, &new, session).await?;
        self.revocations.end(&self.log, ended).await;
        Ok(())
    }

    pub async fn deactivate(&self, user: UserId, password: String) -> Result<(), Fault> {
        self.limiter.password(&user.to_string())?;
        let password = Password::new(password).map_err(|_| ErrorCode::PasswordWrong)?;
        let ended = self.identity.deactivate(user, &password).await?;
        self.revocations.end(&self.log, ended).await;
        Ok(())
    }

    pub async fn sessions(
        &self,
        user: UserId,
        current: SessionId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<SessionList, Fault> {
        let before = cursor.map(|cursor| cursor.parse().map_err(|_| ErrorCode::CursorInvalid)).transpose()?;
        let limit = limit.unwrap_or(SESSIONS_DEFAULT).clamp(1, SESSIONS_MAX) as usize;
        let mut found = self.identity.sessions(user, before, limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.id.to_string());
        let items = found.into_iter().map(|open| Session {
            id: open.id,
            device: open.user_agent,
            address: open.address.map(|address| address.to_string()),
            created_at: millis(open.created_at),
            last_used_at: millis(open.last_used_at),
            expires_at: millis(open.expires_at),
            current: open.id == current,
        });
        Ok(SessionList { items: items.collect(), next })
    }

    pub async fn end_session(&self, user: UserId, session: SessionId) -> Result<(), Fault> {
        if !self.identity.end_session(user, session).await? {
            return Err(ErrorCode::SessionNotFound.into());
        }
        self.revocations.end(&self.log, vec![session]).await;
        Ok(())
    }

    pub async fn end_other_sessions(&self, user: UserId, kept: SessionId) -> Result<(), Fault> {
        let ended = self.identity.end_others(user, kept).await?;
        self.revocations.end(&self.log, ended).await;
        Ok(())
    }

    /// When somebody who is not there was, in milliseconds since 1970.
    pub async fn last_seen(&self, user: UserId) -> Result<Option<u64>, Fault> {
        Ok(self.identity.last_seen(user).await?.map(millis))
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

fn millis(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

fn me(account: Account) -> Me {
    let profile = account.profile;
    Me {
        id: account.user,
        username: account.username,
        nickname: profile.nickname.map(String::from),
        avatar: profile.avatar.map(String::from),
        bio: profile.bio.map(String::from),
        status: profile.status,
        email: account.email,
        phone: account.phone,
        locale: account.locale,
        created_at: millis(account.created_at),
    }
}

fn change(request: ChangeMe) -> Result<Change, Fault> {
    let profile = profile::Change {
        nickname: part(request.nickname, ErrorCode::NicknameInvalid, Nickname::parse)?,
        avatar: part(request.avatar, ErrorCode::AvatarInvalid, Avatar::parse)?,
        bio: part(request.bio, ErrorCode::BioInvalid, Bio::parse)?,
        status: request.status.map(|status| status.as_ref().map(parse_status).transpose()).transpose()?,
    };
    Ok(Change {
        profile,
        email: part(request.email, ErrorCode::EmailInvalid, str::parse::<Email>)?,
        phone: part(request.phone, ErrorCode::PhoneInvalid, str::parse::<Phone>)?,
        locale: part(request.locale, ErrorCode::LocaleInvalid, str::parse::<Locale>)?,
    })
}

/// A part that is to be changed, or taken away.
#[expect(clippy::option_option, reason = "left alone, or set to something or nothing")]
fn part<T, E: std::fmt::Display>(
    text: Option<Option<String>>,
    code: ErrorCode,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<Option<T>>, Fault> {
    let Some(Some(text)) = text else { return Ok(text.map(|_| None)) };
    let parsed = parse(&text).map_err(|error| Fault::from(code).because(error.to_string()))?;
    Ok(Some(Some(parsed)))
}

fn parse_status(request: &StatusRequest) -> Result<Status, Fault> {
    let invalid = |error: InvalidText| Fault::from(ErrorCode::StatusInvalid).because(error.to_string());
    if request.until.is_some_and(|until| until > TIME_MAX_MS) {
        return Err(Fault::from(ErrorCode::StatusInvalid).because("until is beyond every time"));
    }
    Ok(Status {
        text: StatusText::parse(&request.text).map_err(invalid)?,
        emoji: request.emoji.as_deref().map(StatusEmoji::parse).transpose().map_err(invalid)?,
        until: request.until,
    })
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

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::EmailTaken => ErrorCode::EmailTaken.into(),
            ChangeError::Disabled => ErrorCode::SessionEnded.into(),
            ChangeError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            ChangeError::Database(_) => Self::caused(ErrorCode::Internal, error),
        }
    }
}

impl From<PasswordError> for Fault {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Wrong => ErrorCode::PasswordWrong.into(),
            PasswordError::Busy { retry_after } => Self::from(ErrorCode::Busy).retry_after(retry_after),
            PasswordError::Unavailable(_) => Self::caused(ErrorCode::DatabaseUnavailable, error),
            PasswordError::Hash(_) | PasswordError::Database(_) => Self::caused(ErrorCode::Internal, error),
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
