//! Rotation of refresh tokens, and what a replay of one means.

use natterjack_domain::{SessionId, UserId};
use time::OffsetDateTime;
use tokio_postgres::Transaction;
use tracing::warn;

use crate::{
    Identity, Login, RefreshError,
    refresh_token::{self, TokenHash},
    session::counted,
};

/// A session, locked for the length of the transaction: all refreshes of one family go one by one.
struct Family {
    session: SessionId,
    user: UserId,
    username: String,
}

/// A presented token within its chain.
struct Link {
    expires_at: OffsetDateTime,
    replaced_at: Option<OffsetDateTime>,
    /// The token that replaced it, if that was never used itself.
    unused_successor: Option<Vec<u8>>,
}

impl Identity {
    /// Exchanges a refresh token for fresh tokens of the same session.
    ///
    /// Each token is good for one exchange; presenting a replaced one again ends the whole session, since
    /// two parties must hold it. One exception: shortly after the exchange, as long as its result was
    /// never used, the answer may have been lost on its way, and the exchange is done anew.
    pub async fn refresh(&self, token: &str) -> Result<Login, RefreshError> {
        let result = match refresh_token::parse(token) {
            Some(hash) => self.0.pool.bounded(self.exchange(hash)).await,
            None => Err(RefreshError::Invalid),
        };
        if let Err(RefreshError::Reused { user, session }) = &result {
            warn!(%user, %session, "a replaced refresh token came back; the session is ended");
        }
        counted("refresh", result, RefreshError::name)
    }

    async fn exchange(&self, hash: TokenHash) -> Result<Login, RefreshError> {
        let mut client = self.0.pool.get().await?;
        let work = client.transaction().await?;
        let now = self.0.clock.now();
        let family = lock_family(&work, &hash, now).await?;
        let link = read_link(&work, &hash).await?;
        if link.expires_at <= now {
            return Err(RefreshError::Expired);
        }
        let grace = |replaced_at| now < replaced_at + self.0.config.reuse_grace;
        let spent = match (link.replaced_at, link.unused_successor) {
            (None, _) => vec![hash.to_vec()],
            (Some(at), Some(successor)) if grace(at) => vec![hash.to_vec(), successor],
            (Some(_), _) => {
                let Family { user, session, .. } = family;
                end_session(&work, session, now).await?;
                work.commit().await?;
                return Err(RefreshError::Reused { user, session });
            }
        };
        let login = self.replace(&work, family, &spent, now).await?;
        work.commit().await?;
        Ok(login)
    }

    /// Appends a fresh token that replaces those `spent`.
    async fn replace(
        &self,
        work: &Transaction<'_>,
        family: Family,
        spent: &[Vec<u8>],
        now: OffsetDateTime,
    ) -> Result<Login, RefreshError> {
        // The time of the first exchange stays: a replay does not prolong the grace.
        const REPLACE: &str = "UPDATE identity.refresh_tokens
            SET successor = $2, replaced_at = coalesce(replaced_at, $3) WHERE hash = ANY($1)";
        const FORGET: &str = "DELETE FROM identity.refresh_tokens WHERE session_id = $1 AND replaced_at < $2";
        const TOUCH: &str = "UPDATE identity.sessions SET last_used_at = $2, expires_at = $3 WHERE id = $1";
        let Family { session, user, username } = family;
        let (text, fresh) = self.add_refresh_token(work, session, now).await?;
        work.execute(REPLACE, &[&spent, &fresh.as_slice(), &now]).await?;
        work.execute(FORGET, &[session.as_uuid(), &(now - self.0.config.reuse_memory)]).await?;
        let expires_at = now + self.0.config.session_ttl;
        work.execute(TOUCH, &[session.as_uuid(), &now, &expires_at]).await?;
        Ok(self.logged_in(user, username, session, text, now))
    }
}

/// Locks the session of a token, if it is open.
async fn lock_family(
    work: &Transaction<'_>,
    hash: &TokenHash,
    now: OffsetDateTime,
) -> Result<Family, RefreshError> {
    const LOCK: &str = "SELECT s.id, s.account_id, a.username, s.expires_at,
            s.revoked_at IS NOT NULL OR a.disabled_at IS NOT NULL
        FROM identity.sessions s JOIN identity.accounts a ON a.id = s.account_id
        WHERE s.id = (SELECT session_id FROM identity.refresh_tokens WHERE hash = $1) FOR UPDATE OF s";
    let row = work.query_opt(LOCK, &[&hash.as_slice()]).await?.ok_or(RefreshError::Invalid)?;
    if row.get(4) {
        return Err(RefreshError::Ended);
    }
    if row.get::<_, OffsetDateTime>(3) <= now {
        return Err(RefreshError::Expired);
    }
    let (session, user) = (SessionId::from_uuid(row.get(0)), UserId::from_uuid(row.get(1)));
    Ok(Family { session, user, username: row.get(2) })
}

/// Reads a token after its session was locked: a statement of its own, so that it sees what the one who
/// held the lock before has written.
async fn read_link(work: &Transaction<'_>, hash: &TokenHash) -> Result<Link, RefreshError> {
    const READ: &str = "SELECT t.expires_at, t.replaced_at, n.hash
        FROM identity.refresh_tokens t
        LEFT JOIN identity.refresh_tokens n ON n.hash = t.successor AND n.replaced_at IS NULL
        WHERE t.hash = $1";
    let row = work.query_opt(READ, &[&hash.as_slice()]).await?.ok_or(RefreshError::Invalid)?;
    Ok(Link { expires_at: row.get(0), replaced_at: row.get(1), unused_successor: row.get(2) })
}

async fn end_session(
    work: &Transaction<'_>,
    session: SessionId,
    now: OffsetDateTime,
) -> Result<(), RefreshError> {
    const END: &str = "UPDATE identity.sessions SET revoked_at = $2 WHERE id = $1";
    work.execute(END, &[session.as_uuid(), &now]).await?;
    Ok(())
}
