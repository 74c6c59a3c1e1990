//! Starts a private nats-server and a private Postgres as child processes, for `natterjack up` and for tests.
//!
//! What it promises:
//! - no child outlives this process, even when it is killed with `kill -9` (see [`process`]);
//! - one directory is served by one server at a time, whoever starts it;
//! - a port that is taken is not an error unless it was asked for by [`Port::Fixed`]; the port chosen is
//!   remembered in the directory, and a restart keeps it;
//! - Postgres never runs as root.
//!
//! What it deliberately does not do: configure servers of a real installation (see `nats/` for those), hold any
//! knowledge of the product's streams and schemas, or download anything (`scripts/tools.sh` does).
//!
//! Start reading at [`nats::NatsServer`] and [`postgres::Postgres`]; [`supervise`] keeps one of them running.

mod error;
mod files;
pub mod nats;
pub mod nats_cluster;
pub mod os_user;
pub mod ports;
pub mod postgres;
mod postgres_dir;
pub mod process;
pub mod supervise;
pub mod tools;

pub use error::StartError;
pub use nats::{Credentials, NatsOptions, NatsServer};
pub use nats_cluster::NatsCluster;
pub use ports::Port;
pub use postgres::{Durability, Postgres, PostgresOptions};
pub use supervise::{Status, Supervised};
pub use tools::Tools;
