//! Real servers, in parallel, on free ports.
#![allow(clippy::unwrap_used)]

mod nats;
mod orphans;
mod postgres;
mod supervise;

use std::{future::Future, os::unix::fs::PermissionsExt as _, time::Duration};

use natterjack_stack::{Tools, os_user::OsUser};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

fn tools() -> Tools {
    Tools::find().unwrap()
}

/// Waits until the condition holds.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(POLL).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// A directory that every user may enter, as Postgres has one of its own.
fn open_dir() -> TempDir {
    let dir = TempDir::with_prefix("stack-").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn needs_another_user() -> bool {
    OsUser::for_postgres().unwrap().is_some()
}

async fn connects(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

fn port_of(url: &str) -> u16 {
    let authority = url.split('/').nth(2).unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}
