//! A front: REST and WebSocket for clients, appending to the log, fan-out of what is live.
//!
//! It keeps nothing that another front needs: everything it knows it can read again from the log and from
//! Postgres. It writes no read model. Start with [`serve`]; the way in is `ws::session` and `ws::requests`, the way
//! out `hub::actor`, `hub::fanout` and `ws::outbox`.

mod attachments;
mod config;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hub;
mod identity;
mod invites;
mod kept;
mod limit;
mod messages;
pub mod metrics;
#[cfg(test)]
mod model;
mod outside;
mod position;
mod presence;
mod projected;
mod registry;
mod relay;
mod rest;
mod revocation;
mod rooms;
mod run;
mod schedules;
mod search;
mod serve;
mod store;
mod ws;

pub use config::{Config, InvalidOrigin};
pub use rest::openapi;
pub use run::{RunError, run, serve};

/// Parts of the hot path, for the benches.
#[doc(hidden)]
pub mod parts {
    pub use crate::{
        hub::{Fanout, Member, Tail},
        position::Reached,
        ws::{
            encode,
            outbox::{Lag, Outbox},
        },
    };
}
