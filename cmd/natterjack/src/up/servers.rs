//! nats-server and Postgres as supervised children, made ready for the product.

use anyhow::Context as _;
use natterjack_database as database;
use natterjack_stack::{
    Credentials, NatsOptions, NatsServer, Port, Postgres, PostgresOptions, Supervised, Tools,
};

use super::{say, settings::Settings};
use crate::{data_dir::DataDir, secrets::Secrets};

pub const NATS_USER: &str = "natterjack";
const NATS_PORT: u16 = 4222;
const NATS_MONITOR_PORT: u16 = 8222;
const POSTGRES_PORT: u16 = 5432;
/// More than a laptop's conversations ever fill; a full disk is noticed long before.
const MAX_FILE_STORE: &str = "20GB";
const DUPLICATE_DATABASE: &str = "42P04";

/// Where the servers are; they keep these through restarts.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub nats: String,
    pub postgres: PostgresAddress,
}

#[derive(Debug, Clone, Copy)]
pub struct PostgresAddress {
    port: u16,
}

impl Addresses {
    /// Before the servers run: good enough to check settings with.
    pub fn usual() -> Self {
        Self {
            nats: format!("nats://127.0.0.1:{NATS_PORT}"),
            postgres: PostgresAddress { port: POSTGRES_PORT },
        }
    }
}

impl PostgresAddress {
    /// The password has nothing in it that a URL would mind.
    pub fn url(self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn admin_url(self, password: &str, database: &str) -> String {
        self.url("postgres", password, database)
    }
}

/// Both, under supervision. Dropped, they are killed.
pub struct Servers {
    pub addresses: Addresses,
    nats: Supervised,
    postgres: Supervised,
}

impl Servers {
    pub async fn start(data: &DataDir, secrets: &Secrets) -> anyhow::Result<Self> {
        let tools = Tools::find()?;
        say(&format!("Starting nats-server {} and Postgres {}.", tools.nats_version, tools.postgres_version));
        let postgres_dir = data.postgres()?;
        if !postgres_dir.starts_with(data.path()) {
            say(&format!("Postgres keeps its data in {}, which its user can reach.", postgres_dir.display()));
        }
        let (nats, postgres) = tokio::join!(
            NatsServer::start(&tools, nats_options(data, secrets)),
            Postgres::start(&tools, postgres_options(postgres_dir, secrets)),
        );
        let (nats, postgres) = (nats.context("nats-server")?, postgres.context("Postgres")?);
        match postgres.create_database("natterjack").await {
            Err(error) if error.code().is_none_or(|code| code.code() != DUPLICATE_DATABASE) => {
                return Err(error).context("making the database failed");
            }
            _ => {}
        }
        let addresses = Addresses { nats: nats.url(), postgres: PostgresAddress { port: postgres.port() } };
        Ok(Self { addresses, nats: Supervised::new(nats), postgres: Supervised::new(postgres) })
    }

    /// After the components, which need them to finish.
    pub async fn stop(self) {
        tokio::join!(self.nats.stop(), self.postgres.stop());
    }
}

fn nats_options(data: &DataDir, secrets: &Secrets) -> NatsOptions {
    let password = secrets.password("nats").to_owned();
    NatsOptions {
        port: Port::Prefer(NATS_PORT),
        monitor_port: Port::Prefer(NATS_MONITOR_PORT),
        credentials: Some(Credentials { user: NATS_USER.to_owned(), password }),
        max_file_store: MAX_FILE_STORE.to_owned(),
        ..NatsOptions::new(data.join("nats"))
    }
}

fn postgres_options(dir: std::path::PathBuf, secrets: &Secrets) -> PostgresOptions {
    PostgresOptions {
        port: Port::Prefer(POSTGRES_PORT),
        ..PostgresOptions::new(dir, secrets.password("postgres_admin"))
    }
}

/// Roles, tables and streams. Repeating it is harmless.
pub async fn prepare(settings: &Settings<'_>) -> anyhow::Result<()> {
    let config = database::Config::from_url(&settings.admin_url())?;
    let mut admin = database::connect(&config).await.context("connecting to Postgres failed")?;
    database::ensure_roles(&mut admin, &settings.secrets.roles()).await.context("making the roles failed")?;
    let applied = database::migrate(&mut admin).await.context("migrating the database failed")?;
    if !applied.is_empty() {
        say(&format!("Applied {} database migrations.", applied.len()));
    }
    let log = settings.front("up", "127.0.0.1:0", "127.0.0.1:0")?.log;
    natterjack_eventlog::provision(&log).await.context("setting up the streams failed")
}
