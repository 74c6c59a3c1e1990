//! Login sessions: opening, ending and asking about them.

use std::{fmt, net::IpAddr, time::Instant};

use metrics::counter;
use natterjack_domain::{SessionId, UserId};
use time::OffsetDateTime;
use tokio_postgres::{GenericClient, Row, Transaction};

use crate::{
    Identity, SessionError,
    metrics::OPERATIONS_TOTAL,
    refresh_token::{self, TokenHash},
};

/// From what and where somebody logs in.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Kept with the session, cut to 256 characters.
    pub user_agent: String,
    pub address: Option<IpAddr>,
}

/// One login on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_agent: String,
    pub address: Option<IpAddr>,
    pub created_at: OffsetDateTime,
    /// When its tokens were last renewed.
    pub last_used_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// The longest part of a user agent that is kept, in characters.
const MAX_USER_AGENT_CHARS: usize = 256;
/// Sessions removed by one call of [`Identity::prune`].
const PRUNE_ROWS: i64 = 1000;

/// Someone is logged in. The tokens are secrets; `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: UserId,
    pub username: String,
    pub session: SessionId,
    pub access_token: String,
    /// How long the access token is good for.
    pub expires_in_secs: u64,
    /// Shown this once; good for one refresh.
    pub refresh_token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, session, .. } = self;
        f.debug_struct("Login").field("user", user).field("session", session).finish_non_exhaustive()
    }
}

impl Identity {
    /// Ends a session. Answers whether it was open until now; its access tokens stay formally valid until
    /// they expire, so all fronts must be told.
    pub async fn logout(&self, session: SessionId) -> Result<bool, SessionError> {
        const END: &str = "UPDATE identity.sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let now = self.0.clock.now();
        let ended = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.execute(END, &[session.as_uuid(), &now]).await?)
        });
        Ok(ended.await? > 0)
    }

    /// A person's open sessions before `before`, the latest first.
    pub async fn sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, SessionError> {
        // Ids rise with the time of their making.
        const OPEN: &str = "SELECT id, user_agent, address, created_at, last_used_at, expires_at
            FROM identity.sessions
            WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND ($3::uuid IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4";
        let (now, before) = (self.0.clock.now(), before.map(|id| *id.as_uuid()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.query(OPEN, &[user.as_uuid(), &now, &before, &limit]).await?)
        });
        let session = |row: &Row| Session {
            id: SessionId::from_uuid(row.get(0)),
            user_agent: row.get(1),
            address: row.get(2),
            created_at: row.get(3),
            last_used_at: row.get(4),
            expires_at: row.get(5),
        };
        Ok(rows.await?.iter().map(session).collect())
    }

    /// Ends one session of a person. Answers whether it was open until now and the person's. All fronts must be told.
    pub async fn end_session(&self, user: UserId, session: SessionId) -> Result<bool, SessionError> {
        const END: &str = "UPDATE identity.sessions SET revoked_at = $3
            WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL AND expires_at > $3";
        let now = self.0.clock.now();
        let ended = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.execute(END, &[session.as_uuid(), user.as_uuid(), &now]).await?)
        });
        Ok(ended.await? > 0)
    }

    /// Ends all sessions of a person but `kept`, and answers which were ended. All fronts must be told.
    pub async fn end_others(&self, user: UserId, kept: SessionId) -> Result<Vec<SessionId>, SessionError> {
        let now = self.0.clock.now();
        self.0
            .pool
            .bounded(async {
                let client = self.0.pool.get().await?;
                Ok(end_all(&**client, user, Some(kept), now).await?)
            })
            .await
    }

    /// Ends all sessions of a person and answers which were ended. All fronts must be told.
    pub async fn logout_everywhere(&self, user: UserId) -> Result<Vec<SessionId>, SessionError> {
        let now = self.0.clock.now();
        self.0
            .pool
            .bounded(async {
                let client = self.0.pool.get().await?;
                Ok(end_all(&**client, user, None, now).await?)
            })
            .await
    }

    /// The sessions ended at `time` or later, oldest first, with the time of each.
    ///
    /// A front asks at its start and after a gap in what it heard. It never looks back further than the
    /// life of an access token: what ended before that cannot be used any more. Fronts' clocks differ a little,
    /// and an ending is seen only once committed: ask for some seconds more than the gap.
    pub async fn revoked_since(
        &self,
        time: OffsetDateTime,
    ) -> Result<Vec<(SessionId, OffsetDateTime)>, SessionError> {
        const ENDED: &str =
            "SELECT id, revoked_at FROM identity.sessions WHERE revoked_at >= $1 ORDER BY revoked_at";
        let oldest = self.0.clock.now() - self.0.config.access_ttl - CLOCK_MARGIN;
        let rows = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.query(ENDED, &[&time.max(oldest)]).await?)
        });
        Ok(rows.await?.iter().map(|row| (SessionId::from_uuid(row.get(0)), row.get(1))).collect())
    }

    /// Asks Postgres for the time: a [`crate::Clock::common`] goes by it. Fronts whose computers' clocks differ so agree
    /// on when tokens run out, and on what was ended lately. Answers what the clock shows now.
    pub async fn set_clock(&self) -> Result<OffsetDateTime, SessionError> {
        let answer = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            let asked = Instant::now();
            Ok::<_, SessionError>((asked, client.query_one("SELECT clock_timestamp()", &[]).await?))
        });
        let (asked, row) = answer.await?;
        self.0.clock.set(asked, row.get(0));
        Ok(self.0.clock.now())
    }

    /// Whether a session is open: neither ended nor expired, and its account not disabled.
    pub async fn session_active(&self, session: SessionId) -> Result<bool, SessionError> {
        const OPEN: &str = "SELECT FROM identity.sessions s JOIN identity.accounts a ON a.id = s.account_id
            WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND a.disabled_at IS NULL";
        let now = self.0.clock.now();
        let row = self.0.pool.bounded(async {
            let client = self.0.pool.get().await?;
            Ok::<_, SessionError>(client.query_opt(OPEN, &[session.as_uuid(), &now]).await?)
        });
        Ok(row.await?.is_some())
    }

    /// Removes sessions that expired, a thousand at most, with their tokens. Answers how many; call it
    /// now and then, and again at once after a full thousand.
    pub async fn prune(&self) -> Result<u64, SessionError> {
        // What ended lately must stay in sight of `revoked_since`.
        const PRUNE: &str = "DELETE FROM identity.sessions WHERE id IN (
            SELECT id FROM identity.sessions WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let before = self.0.clock.now() - self.0.config.access_ttl - CLOCK_MARGIN;
        self.0
            .pool
            .bounded(async {
                let client = self.0.pool.get().await?;
                Ok(client.execute(PRUNE, &[&before, &PRUNE_ROWS]).await?)
            })
            .await
    }

    /// Opens a session for an account that is not disabled; nothing if it is, or is gone.
    pub(crate) async fn open_session(
        &self,
        work: &Transaction<'_>,
        user: UserId,
        username: String,
        origin: &Origin,
    ) -> Result<Option<Login>, tokio_postgres::Error> {
        const OPEN: &str = "INSERT INTO identity.sessions
            (id, account_id, user_agent, created_at, last_used_at, expires_at, address)
            SELECT $1, id, $3, $4, $4, $5, $6 FROM identity.accounts WHERE id = $2 AND disabled_at IS NULL";
        let (now, session) = (self.0.clock.now(), SessionId::random());
        let expires_at = now + self.0.config.session_ttl;
        let agent: String =
            origin.user_agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_CHARS).collect();
        let address = origin.address.map(|address| address.to_canonical());
        let opened = work
            .execute(OPEN, &[session.as_uuid(), user.as_uuid(), &agent, &now, &expires_at, &address])
            .await?;
        if opened == 0 {
            return Ok(None);
        }
        let (refresh_token, _) = self.add_refresh_token(work, session, now).await?;
        Ok(Some(self.logged_in(user, username, session, refresh_token, now)))
    }

    /// Appends a token to a session's chain.
    pub(crate) async fn add_refresh_token(
        &self,
        work: &Transaction<'_>,
        session: SessionId,
        now: OffsetDateTime,
    ) -> Result<(String, TokenHash), tokio_postgres::Error> {
        const ADD: &str = "INSERT INTO identity.refresh_tokens (hash, session_id, created_at, expires_at)
            VALUES ($1, $2, $3, $4)";
        let (text, hash) = refresh_token::generate();
        let expires_at = now + self.0.config.session_ttl;
        work.execute(ADD, &[&hash.as_slice(), session.as_uuid(), &now, &expires_at]).await?;
        Ok((text, hash))
    }

    pub(crate) fn logged_in(
        &self,
        user: UserId,
        username: String,
        session: SessionId,
        refresh_token: String,
        now: OffsetDateTime,
    ) -> Login {
        let access_token = self.0.tokens.issue(user, session, &username, now);
        let expires_in_secs = self.0.tokens.ttl_secs();
        Login { user, username, session, access_token, expires_in_secs, refresh_token }
    }
}

/// Ends a person's sessions, all but `kept`, and answers which were ended.
pub(crate) async fn end_all(
    client: &impl GenericClient,
    user: UserId,
    kept: Option<SessionId>,
    now: OffsetDateTime,
) -> Result<Vec<SessionId>, tokio_postgres::Error> {
    const END: &str = "UPDATE identity.sessions SET revoked_at = $2
        WHERE account_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $3 RETURNING id";
    let kept = kept.map(|id| *id.as_uuid());
    let rows = client.query(END, &[user.as_uuid(), &now, &kept]).await?;
    Ok(rows.iter().map(|row| SessionId::from_uuid(row.get(0))).collect())
}

/// By how much the clocks of fronts may differ.
const CLOCK_MARGIN: time::Duration = time::Duration::MINUTE;

/// Counts the outcome of an operation and hands it on.
pub(crate) fn counted<T, E>(
    operation: &'static str,
    result: Result<T, E>,
    name: impl Fn(&E) -> &'static str,
) -> Result<T, E> {
    let outcome = result.as_ref().err().map_or("ok", name);
    counter!(OPERATIONS_TOTAL, "operation" => operation, "outcome" => outcome).increment(1);
    result
}
