//! The WebSocket side: a session for each connection.

use std::{sync::Arc, time::Duration};

use natterjack_domain::SessionId;
use natterjack_identity::{AccessTokens, Claims, Clock, TokenError};
use natterjack_media::Media;
use natterjack_wire::ErrorCode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::SocketConfig,
    hub::Hub,
    kept::{Keeper, Paced, Receipts},
    limit::Limiter,
    presence::Presence,
    projected::Projected,
    registry::Registry,
    revocation::Revocations,
    store::Store,
};

pub(crate) mod decode;
pub mod encode;
mod hello;
pub mod outbox;
mod requests;
pub mod session;
mod socket;
mod subscribe;
mod upgrade;

pub use upgrade::{bearer_token, upgrade};
#[cfg(any(test, fuzzing))]
pub(crate) use upgrade::{handshake_key, offers_ours};

/// What every session works with.
pub struct Context {
    pub node: String,
    pub config: SocketConfig,
    pub hub: Hub,
    pub presence: Presence,
    pub store: Store,
    pub projected: Projected,
    pub keeper: Keeper,
    pub receipts: Receipts,
    pub paced: Arc<Paced>,
    pub media: Media,
    pub tokens: AccessTokens,
    pub clock: Clock,
    pub registry: Arc<Registry>,
    pub revocations: Revocations,
    pub limiter: Arc<Limiter>,
    /// The front is about to end.
    pub draining: CancellationToken,
    /// Appends that wait for their acknowledgement: a draining front finishes them.
    pub appends: TaskTracker,
    /// Connections, from upgrade to close.
    pub sessions: TaskTracker,
}

impl Context {
    /// Who a client is, by its token, else by what the upgrade request bore.
    pub fn authenticate(&self, token: Option<&str>, bearer: Option<Claims>) -> Result<Claims, ErrorCode> {
        let claims = match (token, bearer) {
            (Some(token), _) => self.verify(token)?,
            (None, Some(claims)) => claims,
            (None, None) => return Err(ErrorCode::TokenMissing),
        };
        self.assure_open(claims.session)?;
        Ok(claims)
    }

    pub fn assure_open(&self, session: SessionId) -> Result<(), ErrorCode> {
        if self.revocations.has_ended(session) { Err(ErrorCode::SessionEnded) } else { Ok(()) }
    }

    pub fn verify(&self, token: &str) -> Result<Claims, ErrorCode> {
        self.tokens.verify(token, self.clock.now()).map_err(|error| match error {
            TokenError::Expired => ErrorCode::TokenExpired,
            TokenError::Invalid => ErrorCode::TokenInvalid,
        })
    }

    /// The time from now to `moment`; zero when it has passed.
    fn until(&self, moment: time::OffsetDateTime) -> Duration {
        (moment - self.clock.now()).try_into().unwrap_or_default()
    }

    pub fn now_ms(&self) -> u64 {
        crate::hub::now_ms(&self.clock)
    }
}
