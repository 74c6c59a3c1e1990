//! The variables that each component gets.

use anyhow::bail;
use natterjack_database::Role;
use natterjack_runtime::{config::Reader, telemetry};

use super::servers::Addresses;
use crate::{
    data_dir::{DataDir, ENVIRONMENT, write_private},
    environment::{self, ADMIN_URL, MIGRATOR_URL, PUBLIC_URL, ROLE_PASSWORDS},
    secrets::Secrets,
};

/// What `up` decides by itself.
const DECIDED: [&str; 9] = [
    "NATTERJACK_NATS_URL",
    "NATTERJACK_NATS_USER",
    "NATTERJACK_NATS_PASSWORD",
    "NATTERJACK_POSTGRES_URL",
    "NATTERJACK_AUTH_KEYS",
    "NATTERJACK_STREAMS",
    "NATTERJACK_REPLICAS",
    "NATTERJACK_LISTEN",
    "NATTERJACK_OPS_LISTEN",
];
/// What it sets unless the environment does. Nobody waits for a load balancer here, so a stop is quick.
const DEFAULTS: [(&str, &str); 2] =
    [("NATTERJACK_DRAIN_WINDOW_MS", "300"), ("NATTERJACK_LOG", "warn,natterjack_stack=info,deadpool=off")];
const DATABASE: &str = "natterjack";

type Pairs = Vec<(String, String)>;

/// The variables that the environment sets; an error when they contradict what `up` does.
pub fn own_variables() -> anyhow::Result<Pairs> {
    let own = environment::of_process();
    let decided = own.iter().map(|(name, _)| name.as_str());
    let decided: Vec<&str> =
        decided.filter(|name| DECIDED.contains(&name.trim_end_matches("_FILE"))).collect();
    if !decided.is_empty() {
        bail!("`natterjack up` runs servers of its own and decides {} itself: unset it", decided.join(", "));
    }
    Ok(own)
}

fn with_defaults(own: &Pairs, data: &DataDir) -> Pairs {
    let logs = data.join("logs").display().to_string();
    let mut pairs: Pairs = DEFAULTS.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    pairs.push(("NATTERJACK_LOG_DIR".to_owned(), logs));
    pairs.extend(own.iter().cloned());
    pairs
}

/// Everything that settings are made from.
pub struct Settings<'a> {
    pub own: Pairs,
    pub streams: u16,
    pub servers: Addresses,
    pub data: &'a DataDir,
    pub secrets: &'a Secrets,
}

/// What one front and the projector beside it are started with.
pub struct Configs {
    pub front: natterjack_front::Config,
    pub projector: natterjack_projection::Config,
    pub log: natterjack_eventlog::Config,
}

impl Settings<'_> {
    /// Reports everything that is wrong with what the environment sets, before anything is started.
    pub fn check(&self) -> anyhow::Result<()> {
        self.front("front", "127.0.0.1:0", "127.0.0.1:0").map(|_| ())
    }

    pub fn telemetry(&self) -> telemetry::Config {
        let mut reader = Reader::from_pairs(with_defaults(&self.own, self.data));
        telemetry::Config::read(&mut reader)
    }

    /// The URL of the product's database for one of its roles.
    pub fn role_url(&self, role: Role) -> String {
        let passwords = self.secrets.roles();
        self.servers.postgres.url(role.name(), passwords.of(role).expose(), DATABASE)
    }

    pub fn admin_url(&self) -> String {
        self.servers.postgres.admin_url(self.secrets.password("postgres_admin"), DATABASE)
    }

    /// Of the front `node`; all problems are reported together.
    pub fn front(&self, node: &str, listen: &str, ops: &str) -> anyhow::Result<Configs> {
        read(self.pairs(Role::Front, node, listen, ops))
    }

    pub fn projector(&self, ops: &str) -> anyhow::Result<Configs> {
        read(self.pairs(Role::Projector, "projector", "127.0.0.1:0", ops))
    }

    fn pairs(&self, role: Role, node: &str, listen: &str, ops: &str) -> Pairs {
        let mut pairs = with_defaults(&self.own, self.data);
        let mut set = |name: &str, value: &str| pairs.push((name.to_owned(), value.to_owned()));
        set("NATTERJACK_NATS_URL", &self.servers.nats);
        set("NATTERJACK_NATS_USER", super::servers::NATS_USER);
        set("NATTERJACK_NATS_PASSWORD", self.secrets.password("nats"));
        set("NATTERJACK_STREAMS", &self.streams.to_string());
        set("NATTERJACK_POSTGRES_URL", &self.role_url(role));
        set("NATTERJACK_AUTH_KEYS", self.secrets.auth_keys());
        set("NATTERJACK_NODE", node);
        set("NATTERJACK_LISTEN", listen);
        set("NATTERJACK_OPS_LISTEN", ops);
        pairs
    }

    /// Leaves what `natterjack doctor`, `rebuild` and `verify` need to find this installation.
    pub fn write_environment(&self, first: &natterjack_front::Config) -> anyhow::Result<()> {
        let listen = first.listen.to_string();
        let ops = first.ops.listen.to_string();
        let mut pairs = self.pairs(Role::Front, &first.node, &listen, &ops);
        let passwords = self.secrets.roles();
        pairs.push((MIGRATOR_URL.to_owned(), self.role_url(Role::Migrator)));
        pairs.push((ADMIN_URL.to_owned(), self.admin_url()));
        pairs.push((PUBLIC_URL.to_owned(), format!("http://{listen}")));
        for (name, role) in ROLE_PASSWORDS.iter().zip(Role::ALL) {
            pairs.push(((*name).to_owned(), passwords.of(role).expose().to_owned()));
        }
        // The last of equal names wins when they are read; one line each is clearer.
        let pairs: std::collections::BTreeMap<String, String> = pairs.into_iter().collect();
        write_private(&self.data.join(ENVIRONMENT), &environment::render(&pairs))
    }
}

/// Both components read the same variables, so that each one's are known to the other.
fn read(pairs: Pairs) -> anyhow::Result<Configs> {
    let mut reader = environment::Environment { pairs, data: None }.reader();
    telemetry::Config::read(&mut reader);
    let configs = Configs {
        front: natterjack_front::Config::read(&mut reader),
        projector: natterjack_projection::Config::read(&mut reader),
        log: natterjack_eventlog::Config::read(&mut reader),
    };
    reader.finish()?;
    Ok(configs)
}
