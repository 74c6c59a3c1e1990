//! Accounts, passwords, login sessions and tokens.
//!
//! The tables of the schema `identity` are the only truth about who may log in; nothing of it enters the
//! log but what [`outbox`] hands out. This crate knows neither HTTP nor NATS: the front maps its errors,
//! publishes its outbox and tells other fronts of ended sessions.
//!
//! Start with [`Identity`]. A request carries an access token, which [`AccessTokens::verify`] checks
//! without any I/O: it goes on working while Postgres is down.

mod access_token;
mod account;
mod clock;
mod config;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hashing;
mod keys;
mod login;
pub mod metrics;
pub mod outbox;
mod refresh;
mod refresh_token;
mod register;
mod session;
mod values;

use std::sync::Arc;

use natterjack_database::Pool;
use tokio::sync::Notify;

pub use self::{
    access_token::{AccessTokens, Claims, MAX_TOKEN_BYTES, TokenError},
    account::{Account, Change},
    clock::Clock,
    config::Config,
    error::{ChangeError, LoginError, PasswordError, RefreshError, RegisterError, SessionError},
    hashing::{Cost, HashingConfig, InvalidCost},
    keys::{InvalidKeys, SigningKeys},
    register::Registration,
    session::{Login, Origin, Session},
    values::{
        Email, InvalidEmail, InvalidLocale, InvalidPassword, InvalidPhone, InvalidUsername, Locale, Password,
        Phone, Username,
    },
};
use crate::hashing::Hasher;

/// Everything about accounts and sessions; cheap to clone.
///
/// Every operation is bounded in time. None is retried here: dropped half-way, or cut off by a time limit,
/// it took effect as a whole or not at all.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    config: Config,
    pool: Pool,
    hasher: Hasher,
    tokens: AccessTokens,
    clock: Clock,
    outbox_written: Notify,
}

impl Identity {
    /// Works on the computer's clock. Hashes one password, which takes some milliseconds.
    pub fn new(config: Config, pool: Pool) -> Self {
        Self::with_clock(config, pool, Clock::system())
    }

    pub fn with_clock(config: Config, pool: Pool, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            hasher: Hasher::new(&config.hashing),
            tokens: AccessTokens::new(&config.keys, config.access_ttl),
            outbox_written: Notify::new(),
            config,
            pool,
            clock,
        }))
    }

    /// What checks the access tokens that this issues.
    pub fn access_tokens(&self) -> &AccessTokens {
        &self.0.tokens
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("config", &self.0.config).finish_non_exhaustive()
    }
}
