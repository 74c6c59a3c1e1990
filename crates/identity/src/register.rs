use natterjack_domain::UserId;
use tokio_postgres::Transaction;

use crate::{
    Email, Identity, Login, Origin, Password, RegisterError, Username,
    outbox::{self, PublicFact},
    session::counted,
};

/// Who wants an account.
#[derive(Debug, Clone)]
pub struct Registration {
    pub username: Username,
    pub email: Option<Email>,
    pub password: Password,
    pub origin: Origin,
}

impl Identity {
    /// Makes an account and logs it in. The account, its session and the event `user.registered` in the
    /// outbox come into being together or not at all.
    pub async fn register(&self, registration: Registration) -> Result<Login, RegisterError> {
        let result = self.try_register(registration).await;
        if result.is_ok() {
            self.0.outbox_written.notify_one();
        }
        counted("register", result, RegisterError::name)
    }

    async fn try_register(&self, registration: Registration) -> Result<Login, RegisterError> {
        // Before a connection is taken: hashing is slow, connections are few.
        let hash = self.0.hasher.hash(&registration.password).await?;
        self.0
            .pool
            .bounded(async {
                let mut client = self.0.pool.get().await?;
                let work = client.transaction().await?;
                let user = self.add_account(&work, &registration, &hash).await?;
                let username = registration.username.to_string();
                let login = self.open_session(&work, user, username, &registration.origin).await?;
                work.commit().await?;
                Ok(login.expect("the account was made in this transaction and is not disabled"))
            })
            .await
    }

    async fn add_account(
        &self,
        work: &Transaction<'_>,
        registration: &Registration,
        hash: &str,
    ) -> Result<UserId, RegisterError> {
        const ADD: &str = "INSERT INTO identity.accounts (id, username, email, password_hash, created_at)
            VALUES ($1, $2, $3, $4, $5)";
        let (user, now) = (UserId::random(), self.0.clock.now());
        let username = registration.username.as_str();
        let email = registration.email.as_ref().map(Email::as_str);
        work.execute(ADD, &[user.as_uuid(), &username, &email, &hash, &now]).await.map_err(taken)?;
        let fact = PublicFact::Registered { username: username.to_owned() };
        outbox::add(work, user, &fact, now).await?;
        Ok(user)
    }
}

fn taken(error: tokio_postgres::Error) -> RegisterError {
    let error = natterjack_database::Error::from(error);
    match error.duplicate() {
        Some("accounts_username_key") => RegisterError::UsernameTaken,
        Some("accounts_email_key") => RegisterError::EmailTaken,
        _ => error.into(),
    }
}
