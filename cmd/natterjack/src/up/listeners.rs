//! Ports for people and operators: the usual ones where they are free, and the same as last time.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use natterjack_stack::ports;
use tokio::net::TcpListener;

use crate::data_dir::DataDir;

const TRIES: usize = 8;

/// Binds to the port this `name` had last, else to `usual`, else to any that is free.
pub async fn bind(data: &DataDir, name: &str, usual: u16) -> anyhow::Result<TcpListener> {
    let file = format!("{name}.port");
    let wanted = data.kept::<u16>(&file).into_iter().chain([usual]);
    let free = std::iter::from_fn(|| ports::free().ok()).take(TRIES);
    for port in wanted.chain(free) {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            data.keep(&file, port)?;
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
        let taken = bind_exactly(usual).await.unwrap();
        let first = bind(&data, "front-1", usual).await.unwrap().local_addr().unwrap().port();
        assert_ne!(first, usual);
        drop(taken);
        let second = bind(&data, "front-1", usual).await.unwrap().local_addr().unwrap().port();
        assert_eq!(second, first);
        let _held = bind_exactly(first).await.unwrap();
        let error = bind_exactly(first).await.unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
    }
}
