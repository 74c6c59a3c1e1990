//! What a person may see and change of one's own account.

use natterjack_domain::{
    SessionId, UserId,
    profile::{self, Profile},
};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use crate::{
    ChangeError, Email, Identity, Locale, Password, PasswordError, Phone, SessionError,
    hashing::Checked,
    outbox::{self, PublicFact},
    session::{counted, end_all},
};

/// Everything about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: UserId,
    pub username: String,
    pub profile: Profile,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub locale: Option<String>,
    pub created_at: OffsetDateTime,
}

/// What becomes of each part: `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub profile: profile::Change,
    pub email: Option<Option<Email>>,
    pub phone: Option<Option<Phone>>,
    pub locale: Option<Option<Locale>>,
}

const COLUMNS: &str = "id, username, profile, email, phone, locale, created_at";

impl Identity {
    /// A person's account; none when it is closed.
    pub async fn account(&self, user: UserId) -> Result<Account, ChangeError> {
        let sql = format!("SELECT {COLUMNS} FROM identity.accounts WHERE id = $1 AND disabled_at IS NULL");
        let row = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, ChangeError>(client.query_opt(&sql, &[user.as_uuid()]).await?)
        });
        Ok(account(&row.await?.ok_or(ChangeError::Disabled)?)?)
    }

    /// Changes what a person says of oneself, and answers what that comes to. A profile that is another then goes to the
    /// outbox with it.
    pub async fn change(&self, user: UserId, change: Change) -> Result<Account, ChangeError> {
        let changed = self.0.pool.bounded(self.try_change(user, change)).await?;
        self.0.outbox_written.notify_one();
        Ok(changed)
    }

    async fn try_change(&self, user: UserId, change: Change) -> Result<Account, ChangeError> {
        const WRITE: &str =
            "UPDATE identity.accounts SET profile = $2, email = $3, phone = $4, locale = $5 WHERE id = $1";
        let hold = format!(
            "SELECT {COLUMNS} FROM identity.accounts WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE"
        );
        let mut client = self.0.pool.get().await?;
        let work = client.transaction().await?;
        let row = work.query_opt(&hold, &[user.as_uuid()]).await?.ok_or(ChangeError::Disabled)?;
        let mut account = account(&row)?;
        let profile = account.profile.decide(change.profile);
        set(&mut account.email, change.email.map(|new| new.map(|email| email.as_str().to_owned())));
        set(&mut account.phone, change.phone.map(|new| new.map(|phone| phone.as_str().to_owned())));
        set(&mut account.locale, change.locale.map(|new| new.map(|locale| locale.as_str().to_owned())));
        if let Some(profile) = profile {
            account.profile = profile.clone();
            outbox::add(&work, user, &PublicFact::ProfileChanged(profile), self.0.clock.now()).await?;
        }
        let Account { profile, email, phone, locale, .. } = &account;
        work.execute(WRITE, &[user.as_uuid(), &Json(profile), email, phone, locale]).await.map_err(taken)?;
        work.commit().await?;
        Ok(account)
    }

    /// Changes a person's password, who knows the old one, and ends all sessions but `kept`: answers which. All fronts must
    /// be told.
    pub async fn change_password(
        &self,
        user: UserId,
        old: &Password,
        new: &Password,
        kept: SessionId,
    ) -> Result<Vec<SessionId>, PasswordError> {
        const WRITE: &str = "UPDATE identity.accounts SET password_hash = $3
            WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL";
        let changed = async {
            let stored = self.check_password(user, old).await?;
            let hash = self.0.hasher.hash(new).await?;
            let ended = self.0.pool.bounded(async {
                let mut client = self.0.pool.get().await?;
                let work = client.transaction().await?;
                if work.execute(WRITE, &[user.as_uuid(), &stored, &hash]).await? == 0 {
                    return Err(PasswordError::Wrong);
                }
                let ended = end_all(&*work, user, Some(kept), self.0.clock.now()).await?;
                work.commit().await?;
                Ok(ended)
            });
            ended.await
        };
        counted("password", changed.await, PasswordError::name)
    }

    /// Closes an account for good and ends its sessions: answers which. All fronts must be told. The names of a closed
    /// account are nobody else's.
    pub async fn deactivate(
        &self,
        user: UserId,
        password: &Password,
    ) -> Result<Vec<SessionId>, PasswordError> {
        const CLOSE: &str = "UPDATE identity.accounts SET disabled_at = $3
            WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL";
        let closed = async {
            let stored = self.check_password(user, password).await?;
            let ended = self.0.pool.bounded(async {
                let now = self.0.clock.now();
                let mut client = self.0.pool.get().await?;
                let work = client.transaction().await?;
                if work.execute(CLOSE, &[user.as_uuid(), &stored, &now]).await? == 0 {
                    return Err(PasswordError::Wrong);
                }
                let ended = end_all(&*work, user, None, now).await?;
                outbox::add(&work, user, &PublicFact::Deactivated {}, now).await?;
                work.commit().await?;
                Ok(ended)
            });
            ended.await
        };
        let closed = counted("deactivate", closed.await, PasswordError::name)?;
        self.0.outbox_written.notify_one();
        Ok(closed)
    }

    /// Answers the hash that the password was checked against.
    async fn check_password(&self, user: UserId, password: &Password) -> Result<String, PasswordError> {
        const HASH: &str =
            "SELECT password_hash FROM identity.accounts WHERE id = $1 AND disabled_at IS NULL";
        let row = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, PasswordError>(client.query_opt(HASH, &[user.as_uuid()]).await?)
        });
        let stored: Option<String> = row.await?.map(|row| row.get(0));
        match (self.0.hasher.check(password, stored.clone()).await?, stored) {
            (Checked::Right { .. }, Some(stored)) => Ok(stored),
            _ => Err(PasswordError::Wrong),
        }
    }

    /// Notes when people were last there. A time before one that was noted is no news.
    pub async fn note_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<(), SessionError> {
        const NOTE: &str = "INSERT INTO identity.last_seen (account_id, at)
            SELECT s.id, s.at FROM UNNEST($1::uuid[], $2::timestamptz[]) s (id, at)
            JOIN identity.accounts USING (id)
            ON CONFLICT (account_id) DO UPDATE SET at = EXCLUDED.at WHERE last_seen.at < EXCLUDED.at";
        let (ids, times): (Vec<Uuid>, Vec<OffsetDateTime>) =
            seen.iter().map(|(user, at)| (*user.as_uuid(), *at)).unzip();
        let noted = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.execute(NOTE, &[&ids, &times]).await?)
        });
        noted.await.map(|_| ())
    }

    /// When a person was last there: as was noted, else when a session was last used.
    pub async fn last_seen(&self, user: UserId) -> Result<Option<OffsetDateTime>, SessionError> {
        const SEEN: &str = "SELECT coalesce((SELECT at FROM identity.last_seen WHERE account_id = $1),
            (SELECT max(last_used_at) FROM identity.sessions WHERE account_id = $1))";
        let row = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.query_one(SEEN, &[user.as_uuid()]).await?)
        });
        Ok(row.await?.get(0))
    }
}

#[expect(clippy::option_option, reason = "left alone, or set to something or nothing")]
fn set<T>(part: &mut Option<T>, change: Option<Option<T>>) {
    if let Some(new) = change {
        *part = new;
    }
}

fn account(row: &Row) -> Result<Account, tokio_postgres::Error> {
    let Json(profile) = row.try_get(2)?;
    Ok(Account {
        user: UserId::from_uuid(row.try_get(0)?),
        username: row.try_get(1)?,
        profile,
        email: row.try_get(3)?,
        phone: row.try_get(4)?,
        locale: row.try_get(5)?,
        created_at: row.try_get(6)?,
    })
}

fn taken(error: tokio_postgres::Error) -> ChangeError {
    let error = natterjack_database::Error::from(error);
    match error.duplicate() {
        Some("accounts_email_key") => ChangeError::EmailTaken,
        _ => error.into(),
    }
}
