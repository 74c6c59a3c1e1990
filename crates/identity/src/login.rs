use natterjack_domain::UserId;
use tokio_postgres::Row;

use crate::{Email, Identity, Login, LoginError, Password, Username, hashing::Checked, session::counted};

struct Account {
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
        user_agent: &str,
    ) -> Result<Login, LoginError> {
        let result = self.try_login(name_or_email, password, user_agent).await;
        counted("login", result, LoginError::name)
    }

    async fn try_login(
        &self,
        name_or_email: &str,
        password: &Password,
        user_agent: &str,
    ) -> Result<Login, LoginError> {
        // No connection is held while the password is checked.
        let account = self.find_account(name_or_email).await?;
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let checked = self.0.hasher.check(password, stored).await?;
        let (Some(account), Checked::Right { renewed }) = (account, checked) else {
            return Err(LoginError::Refused);
        };
        self.0.pool.bounded(self.enter(account, renewed, user_agent)).await
    }

    async fn find_account(&self, name_or_email: &str) -> Result<Option<Account>, LoginError> {
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
        Ok(row.await?.map(|row| Account::from_row(&row)))
    }

    async fn enter(
        &self,
        account: Account,
        renewed: Option<String>,
        user_agent: &str,
    ) -> Result<Login, LoginError> {
        // Guarded by the hash that was checked: a password changed meanwhile must not come back.
        const RENEW: &str =
            "UPDATE identity.accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        let Account { user, username, password_hash } = account;
        let mut client = self.0.pool.get().await?;
        let work = client.transaction().await?;
        if let Some(renewed) = renewed {
            work.execute(RENEW, &[user.as_uuid(), &password_hash, &renewed]).await?;
        }
        let login = self.open_session(&work, user, username, user_agent).await?;
        work.commit().await?;
        login.ok_or(LoginError::Disabled)
    }
}

impl Account {
    fn from_row(row: &Row) -> Self {
        Self { user: UserId::from_uuid(row.get(0)), username: row.get(1), password_hash: row.get(2) }
    }
}
