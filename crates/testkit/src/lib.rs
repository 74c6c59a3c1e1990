//! Whole sites for tests: real nats-server, real Postgres, fronts and projectors in this process or in their own,
//! and clients that check what they are told.
//!
//! For development only. Start with [`Site`]; [`Follower`] is a client that keeps the promises of
//! `docs/protocol.md` and notices when the server does not.

pub mod chaos;
pub mod checker;
mod client;
mod follower;
pub mod history;
mod programs;
mod proxy;
mod refusal;
mod site;
mod socket;

pub use client::Account;
pub use follower::{Follower, assert_same_order};
pub use programs::{FrontProcess, ProjectorProcess};
pub use proxy::{Direction, Proxy};
pub use refusal::refused;
pub use site::{Front, Projector, Site, SiteBuilder, answer};
pub use socket::{Closed, Socket};

use std::time::Duration;

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ready` gives something; fails the test, naming what it waited for, when that takes too long.
pub async fn eventually<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(value) = ready().await {
                return value;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Shows logs of a test when `NATTERJACK_LOG` asks for them.
pub fn show_logs() {
    if let Ok(filter) = std::env::var("NATTERJACK_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    }
}
