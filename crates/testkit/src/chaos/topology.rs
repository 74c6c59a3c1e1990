//! The programs of a run and the links between them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use natterjack_stack::{NatsCluster, NatsServer, ports};

use super::{
    Course,
    target::{Body, Program, Target},
};
use crate::{Proxy, Site};

/// One nats-server, or several.
pub trait Servers {
    fn members(&self) -> &[NatsServer];
    fn members_mut(&mut self) -> &mut [NatsServer];
}

impl Servers for NatsServer {
    fn members(&self) -> &[NatsServer] {
        std::slice::from_ref(self)
    }

    fn members_mut(&mut self) -> &mut [NatsServer] {
        std::slice::from_mut(self)
    }
}

impl Servers for NatsCluster {
    fn members(&self) -> &[NatsServer] {
        &self.members
    }

    fn members_mut(&mut self) -> &mut [NatsServer] {
        &mut self.members
    }
}

/// A front or projector with its links.
pub struct Node {
    name: String,
    program: Program,
    ops_port: u16,
    /// To each nats-server.
    nats: Vec<Proxy>,
    postgres: Vec<Proxy>,
    /// From clients; none for a projector.
    clients: Vec<Proxy>,
}

/// How long all programs may take to get ready once nothing is done to them any more.
const READY_WITHIN: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);

impl Node {
    pub async fn front<N: Servers>(site: &Site<N>, number: usize, dir: &Path) -> Self {
        let port = ports::free().expect("a port is free");
        let own = BTreeMap::from([
            ("NATTERJACK_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            ("NATTERJACK_NODE".to_owned(), format!("front-{number}")),
        ]);
        let clients = vec![Proxy::to(&format!("127.0.0.1:{port}")).await];
        let node = Self::start(site, "front", "natterjack_front", number, own, dir).await;
        Self { clients, ..node }
    }

    pub async fn projector<N: Servers>(site: &Site<N>, number: usize, dir: &Path) -> Self {
        Self::start(site, "projector", "natterjack_projector", number, BTreeMap::new(), dir).await
    }

    async fn start<N: Servers>(
        site: &Site<N>,
        binary: &'static str,
        role: &str,
        number: usize,
        own: BTreeMap<String, String>,
        dir: &Path,
    ) -> Self {
        let name = format!("{binary}-{number}");
        let mut nats = vec![];
        for member in site.nats.members() {
            nats.push(Proxy::to(member.url().trim_start_matches("nats://")).await);
        }
        let postgres_port = site.postgres.port();
        let postgres = vec![Proxy::to(&format!("127.0.0.1:{postgres_port}")).await];
        let ops_port = ports::free().expect("a port is free");
        let mut settings = site.settings(role);
        let urls: Vec<String> = nats.iter().map(|proxy| format!("nats://{}", proxy.address())).collect();
        settings.insert("NATTERJACK_NATS_URL".into(), urls.join(","));
        settings.insert("NATTERJACK_OPS_LISTEN".into(), format!("127.0.0.1:{ops_port}"));
        if let Some(url) = settings.get_mut("NATTERJACK_POSTGRES_URL") {
            *url = url.replace(&format!(":{postgres_port}/"), &format!(":{}/", postgres[0].address().port()));
        }
        settings.extend(own);
        let program = Program::launch(binary, dir.join(&name), settings);
        Self { name, program, ops_port, nats, postgres, clients: vec![] }
    }

    /// Where clients reach it.
    pub fn url(&self) -> Option<String> {
        self.clients.first().map(|proxy| format!("http://{}", proxy.address()))
    }

    /// What may be hurt.
    pub fn targets(&mut self) -> Vec<Target<'_>> {
        let name = &self.name;
        let links = [("nats", &self.nats), ("postgres", &self.postgres), ("its clients", &self.clients)];
        let links = links.into_iter().filter(|(_, proxies)| !proxies.is_empty());
        let mut targets: Vec<_> = links
            .map(|(other, proxies)| Target {
                name: format!("{name} from {other}"),
                body: Body::Link(proxies),
            })
            .collect();
        targets.push(Target { name: name.clone(), body: Body::Program(&mut self.program) });
        targets
    }
}

/// Waits until all are ready; one that is not in time is an incident.
pub async fn ready(nodes: &[Node], http: &reqwest::Client, course: &Course) {
    for node in nodes {
        let url = format!("http://127.0.0.1:{}/readyz", node.ops_port);
        let is_ready = async {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(READY_WITHIN, is_ready).await.is_err() {
            course.incident(format!("{} did not get ready", node.name));
        }
    }
}
