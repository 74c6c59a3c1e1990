//! Ports for people and operators: the usual ones where they are free, else the same as last time.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use natterjack_stack::ports;
use tokio::net::TcpListener;

use super::say;
use crate::data_dir::DataDir;

const TRIES: usize = 8;

/// Binds to `usual`, else to the port that this `name` had last instead, else to any that is free.
pub async fn bind(data: &DataDir, name: &str, usual: u16) -> anyhow::Result<TcpListener> {
    let file = format!("{name}.port");
    let wanted = std::iter::once(usual).chain(data.kept::<u16>(&file));
    let free = std::iter::from_fn(|| ports::free().ok()).take(TRIES);
    for port in wanted.chain(free) {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            if port != usual {
                say(&format!("Port {usual} is taken: {name} uses {port}."));
                data.keep(&file, port)?;
            }
            return Ok(listener);
        }
    }
    anyhow::bail!("no free port for {name}")
}

/// Binds to this port and no other.
pub async fn bind_exactly(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("port {port} cannot be used"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_avoided_and_the_choice_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let usual = bind_exactly(0).await.unwrap().local_addr().unwrap().port();
        let port = async || bind(&data, "front-1", usual).await.unwrap().local_addr().unwrap().port();
        let taken = bind_exactly(usual).await.unwrap();
        let first = port().await;
        assert_ne!(first, usual);
        assert_eq!(port().await, first);
        drop(taken);
        assert_eq!(port().await, usual);
        let _held = bind_exactly(first).await.unwrap();
        let error = bind_exactly(first).await.unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
    }
}
