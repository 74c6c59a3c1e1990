use natterjack_domain::UserId;
use tokio_postgres::Row;

use crate::{
    Email, Identity, Login, LoginError, Origin, Password, Username, hashing::Checked, session::counted,
};

/// A password that was changed or hashed anew while it was checked is checked again.
const ATTEMPTS: usize = 2;

struct Known {
    user: UserId,
    username: String,
    password_hash: String,
}

impl Identity {
    /// Logs in by username or e-mail address and opens a session.
    ///
    /// A name that does not exist, or cannot exist, costs the same time and gets the same answer as a
    /// wrong password.
    pub async fn login(
        &self,
        name_or_email: &str,
        password: &Password,
        origin: &Origin,
    ) -> Result<Login, LoginError> {
        let result = self.try_login(name_or_email, password, origin).await;
        counted("login", result, LoginError::name)
    }

    async fn try_login(
        &self,
        name_or_email: &str,
        password: &Password,
        origin: &Origin,
    ) -> Result<Login, LoginError> {
        for _ in 0..ATTEMPTS {
            // No connection is held while the password is checked.
            let account = self.find_account(name_or_email).await?;
            let stored = account.as_ref().map(|account| account.password_hash.clone());
            let checked = self.0.hasher.check(password, stored).await?;
            let (Some(account), Checked::Right { renewed }) = (account, checked) else {
                return Err(LoginError::Refused);
            };
            if let Some(login) = self.0.pool.bounded(self.enter(account, renewed, origin)).await? {
                return Ok(login);
            }
        }
        Err(LoginError::Refused)
    }

    async fn find_account(&self, name_or_email: &str) -> Result<Option<Known>, LoginError> {
        const BY_NAME: &str = "SELECT id, username, password_hash FROM identity.accounts
            WHERE lower(username) = lower($1)";
        const BY_EMAIL: &str = "SELECT id, username, password_hash FROM identity.accounts
            WHERE lower(email) = lower($1)";
        // A text that is neither finds nobody, but goes the same way as any other, the query included.
        let email = name_or_email.parse::<Email>();
        let name = name_or_email.parse::<Username>();
        let (query, key) = match (&email, &name) {
            (Ok(email), _) => (BY_EMAIL, email.as_str()),
            (_, Ok(name)) => (BY_NAME, name.as_str()),
            (Err(_), Err(_)) => (BY_NAME, ""),
        };
        let row = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, LoginError>(client.query_opt(query, &[&key]).await?)
        });
        Ok(row.await?.map(|row| Known::from_row(&row)))
    }

    /// `None` when the stored hash is another one by now.
    async fn enter(
        &self,
        account: Known,
        renewed: Option<String>,
        origin: &Origin,
    ) -> Result<Option<Login>, LoginError> {
        // Held until the session is there: whoever changes the password ends all sessions, and must not miss one that was
        // opened by the password as it was.
        const HOLD: &str =
            "SELECT FROM identity.accounts WHERE id = $1 AND password_hash = $2 FOR NO KEY UPDATE";
        const RENEW: &str = "UPDATE identity.accounts SET password_hash = $2 WHERE id = $1";
        let Known { user, username, password_hash } = account;
        let mut client = self.0.pool.get().await?;
        let work = client.transaction().await?;
        if work.query_opt(HOLD, &[user.as_uuid(), &password_hash]).await?.is_none() {
            return Ok(None);
        }
        if let Some(renewed) = renewed {
            work.execute(RENEW, &[user.as_uuid(), &renewed]).await?;
        }
        let login = self.open_session(&work, user, username, origin).await?;
        work.commit().await?;
        login.map(Some).ok_or(LoginError::Disabled)
    }
}

impl Known {
    fn from_row(row: &Row) -> Self {
        Self { user: UserId::from_uuid(row.get(0)), username: row.get(1), password_hash: row.get(2) }
    }
}
