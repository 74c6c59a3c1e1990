//! Three nats-servers on one machine that form a cluster, for tests of replication and failover.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::{NatsOptions, NatsServer, Port, StartError, Tools, nats::quoted, ports};

/// Streams have a replica on each.
pub const SIZE: usize = 3;
const TRIES: usize = 8;

/// What a server must know to be a member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub name: String,
    port: u16,
    /// The cluster ports of all members.
    all: Vec<u16>,
}

impl Member {
    pub fn environment(&self, user: &str, password: &str) -> Vec<(&'static str, String)> {
        let routes: Vec<String> = self
            .all
            .iter()
            .map(|port| quoted(&format!("nats://{user}:{password}@127.0.0.1:{port}")))
            .collect();
        vec![
            ("NATS_CLUSTER_NAME", "natterjack".to_owned()),
            ("NATS_CLUSTER_HOST", quoted("127.0.0.1")),
            ("NATS_CLUSTER_PORT", self.port.to_string()),
            ("NATS_ROUTES", format!("[{}]", routes.join(", "))),
        ]
    }

    /// Whether `/jsz` tells of a cluster of full size with a leader.
    pub fn sees_cluster(&self, jsz: &str) -> bool {
        let body = jsz.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let state: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let meta = &state["meta_cluster"];
        meta["leader"].as_str().is_some_and(|l| !l.is_empty())
            && meta["cluster_size"].as_u64() == Some(self.all.len() as u64)
    }
}

/// A running cluster. Dropping it kills its members.
#[derive(Debug)]
pub struct NatsCluster {
    /// In the order of their names, `n0` to `n2`.
    pub members: Vec<NatsServer>,
    _temporary: Option<TempDir>,
}

impl NatsCluster {
    /// Starts three members below `dir` on free ports, and waits until they have a leader.
    ///
    /// The cluster's own ports are new each time, so the members must be started together.
    pub async fn start(tools: &Tools, dir: impl Into<PathBuf>) -> Result<Self, StartError> {
        let dir = dir.into();
        for _ in 1..TRIES {
            match Self::start_once(tools, &dir).await {
                Err(StartError::PortTaken { .. }) => {}
                done => return done,
            }
        }
        Self::start_once(tools, &dir).await
    }

    /// A cluster for tests, with data that is removed with the handle.
    pub async fn temporary(tools: &Tools) -> Result<Self, StartError> {
        let dir = TempDir::with_prefix("nats-cluster-")
            .map_err(StartError::io("creating a directory", std::env::temp_dir()))?;
        let cluster = Self::start(tools, dir.path()).await?;
        Ok(Self { _temporary: Some(dir), ..cluster })
    }

    async fn start_once(tools: &Tools, dir: &std::path::Path) -> Result<Self, StartError> {
        let mut all = Vec::with_capacity(SIZE);
        while all.len() < SIZE {
            let port = ports::free().map_err(StartError::NoFreePort)?;
            if !all.contains(&port) {
                all.push(port);
            }
        }
        let mut members = Vec::with_capacity(SIZE);
        for (index, port) in all.iter().copied().enumerate() {
            let name = format!("n{index}");
            let options = NatsOptions { port: Port::Any, ..NatsOptions::new(dir.join(&name)) };
            let all = all.clone();
            let member = Member { name, port, all };
            members.push(NatsServer::spawn(tools, options, Some(member)).await?);
        }
        for member in &members {
            member.ready().await?;
        }
        Ok(Self { members, _temporary: None })
    }

    /// The client addresses of all members, joined by commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(NatsServer::url).collect();
        urls.join(",")
    }
}
