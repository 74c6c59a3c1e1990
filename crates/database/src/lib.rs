//! Connections to Postgres, its roles, and the migrations of every schema.
//!
//! It holds no query of the product: those live in the crates that own the tables. TLS is not offered;
//! Postgres is reached over loopback, a socket, or a private network.
//!
//! Start with [`pool`] for a process that serves, with [`migrate`] for what an operator runs. Whoever
//! must tell an outage from a mistake asks [`Error::is_unavailable`].

mod config;
mod error;
pub mod metrics;
mod migration;
mod pool;
mod roles;

pub use tokio_postgres::Client;

pub use self::{
    config::Config,
    error::{Error, Outage},
    migration::{MigrateError, Schema, grant, migrate, migrate_schema, pending, pending_in},
    pool::{Connection, Pool, connect, pool},
    roles::{Passwords, Role, ensure_roles},
};
