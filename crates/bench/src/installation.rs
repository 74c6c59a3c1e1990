//! The product under load: real servers on durable disks, fronts and projector as processes of their own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use natterjack_database::{Client, Passwords};
use natterjack_eventlog::Log;
use natterjack_identity::{AccessTokens, SigningKeys};
use natterjack_runtime::config::{Reader, Secret};
use natterjack_stack::{
    Durability, NatsServer, Postgres, Tools, ports,
    process::{LastSignal, Process, Spec},
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cores::{self, Cores};

const DATABASE: &str = "natterjack";
const PASSWORD: &str = "bench";
const KEYS: &str = "bench:YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2g";
const READY_LIMIT: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(1);

/// Limits that the load would run into, which is not what is measured.
const SETTINGS: &[(&str, &str)] = &[
    ("AUTH_KEYS", KEYS),
    ("LOG", "warn"),
    ("CONNECTIONS_MAX", "20000"),
    ("CONNECTIONS_PER_ADDRESS", "20000"),
    ("CONNECTIONS_PER_USER", "10000"),
    ("FRAMES_PER_SECOND", "1000000"),
    ("FRAMES_BURST", "1000000"),
    ("REQUESTS_PER_SECOND", "1000000"),
];

/// A nats-server and a Postgres with the product's streams and tables. Dropped, all of it is gone.
pub struct Installation {
    pub nats: NatsServer,
    pub postgres: Postgres,
    settings: BTreeMap<String, String>,
}

/// A process of the product. Dropping it kills it.
pub struct Program {
    process: Process,
    pub address: SocketAddr,
    pub ops: SocketAddr,
    dir: TempDir,
}

impl Installation {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// `own`: settings of all processes, without the prefix `NATTERJACK_`.
    pub async fn start_with(own: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_on(Durability::Full, own).await
    }

    /// `log`: what the log survives. Only where appending is not what is measured may it be less than everything.
    pub async fn start_on(log: Durability, own: &[(&str, &str)]) -> anyhow::Result<Self> {
        let tools = Tools::find()?;
        let (nats, postgres) = tokio::try_join!(
            NatsServer::temporary_with(&tools, log),
            Postgres::temporary_with(&tools, Durability::Full)
        )?;
        let mut settings = BTreeMap::from([("NATTERJACK_NATS_URL".to_owned(), nats.url())]);
        for (name, value) in SETTINGS.iter().chain(own) {
            settings.insert(format!("NATTERJACK_{name}"), (*value).to_owned());
        }
        let installation = Self { nats, postgres, settings };
        installation.postgres.create_database(DATABASE).await?;
        let mut admin = installation.admin().await?;
        natterjack_database::ensure_roles(&mut admin, &passwords()).await?;
        natterjack_database::migrate(&mut installation.client("natterjack_migrator").await?).await?;
        natterjack_eventlog::provision(&installation.log_config()).await?;
        Ok(installation)
    }

    /// Settings of a process whose role in Postgres is `role`.
    pub fn settings(&self, role: &str) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        settings.insert("NATTERJACK_POSTGRES_URL".into(), self.postgres.url(role, PASSWORD, DATABASE));
        settings
    }

    pub fn log_config(&self) -> natterjack_eventlog::Config {
        natterjack_eventlog::Config::read(&mut Reader::from_pairs(self.settings.clone()))
    }

    /// The log, as a front sees it.
    pub async fn log(&self) -> anyhow::Result<Log> {
        Ok(Log::open(&self.log_config()).await?)
    }

    /// Another database with the product's tables, empty, and a connection of their owner's.
    pub async fn second_database(&self, name: &str) -> anyhow::Result<Client> {
        self.postgres.create_database(name).await?;
        let config = natterjack_database::Config::from_url(&self.postgres.admin_url(name))?;
        let mut client = natterjack_database::connect(&config).await?;
        natterjack_database::ensure_roles(&mut client, &passwords()).await?;
        natterjack_database::migrate(&mut client).await?;
        Ok(client)
    }

    fn database_config(&self, role: &str) -> natterjack_database::Config {
        natterjack_database::Config::read(&mut Reader::from_pairs(self.settings(role)))
    }

    pub fn pool(&self, role: &str) -> natterjack_database::Pool {
        natterjack_database::pool(&self.database_config(role))
    }

    pub async fn client(&self, role: &str) -> anyhow::Result<Client> {
        Ok(natterjack_database::connect(&self.database_config(role)).await?)
    }

    pub async fn admin(&self) -> anyhow::Result<Client> {
        let config = natterjack_database::Config::from_url(&self.postgres.admin_url(DATABASE))?;
        Ok(natterjack_database::connect(&config).await?)
    }

    /// Makes tokens that the fronts accept, without an account for each.
    pub fn tokens() -> anyhow::Result<AccessTokens> {
        let keys: SigningKeys = KEYS.parse()?;
        Ok(AccessTokens::new(&keys, Duration::from_hours(2)))
    }

    /// Starts a front on a core of its own and waits until it is ready.
    pub async fn front(&self) -> anyhow::Result<Program> {
        self.front_with(cores::MEASURED, &[]).await
    }

    pub async fn front_with(&self, cores: Cores, own: &[(&str, &str)]) -> anyhow::Result<Program> {
        let mut settings = self.settings("natterjack_front");
        settings.extend(own.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned())));
        Program::start("front", cores, settings).await
    }

    pub async fn projector(&self) -> anyhow::Result<Program> {
        self.projector_on(cores::OTHERS).await
    }

    pub async fn projector_on(&self, cores: Cores) -> anyhow::Result<Program> {
        Program::start("projector", cores, self.settings("natterjack_projector")).await
    }
}

impl Program {
    async fn start(name: &str, cores: Cores, mut settings: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let (port, ops_port) = (ports::free()?, ports::free()?);
        if name == "front" {
            settings.insert("NATTERJACK_LISTEN".into(), format!("127.0.0.1:{port}"));
        }
        settings.insert("NATTERJACK_OPS_LISTEN".into(), format!("127.0.0.1:{ops_port}"));
        let arguments = settings.into_iter().map(|(name, value)| OsString::from(format!("{name}={value}")));
        let arguments = arguments.chain([beside_this_program(name)?.into()]).collect();
        let program = Self::spawn(name, cores, PathBuf::from("/usr/bin/env"), arguments, port, ops_port)?;
        program.ready().await?;
        Ok(program)
    }

    /// Another part of this same program.
    pub fn of_this_program(cores: Cores, arguments: &[&str], port: u16) -> anyhow::Result<Self> {
        let arguments = arguments.iter().map(OsString::from).collect();
        Self::spawn("reference", cores, std::env::current_exe()?, arguments, port, 0)
    }

    fn spawn(
        name: &str,
        cores: Cores,
        program: PathBuf,
        args: Vec<OsString>,
        port: u16,
        ops_port: u16,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix(format!("{name}-"))?;
        let spec = Spec {
            program,
            args,
            envs: vec![],
            dir: dir.path().to_owned(),
            user: None,
            log: File::create(dir.path().join("log"))?,
            lock: File::create(dir.path().join("lock"))?,
            last_signal: LastSignal::Kill,
        };
        let process = cores::on(cores, || Process::spawn(spec))??;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { process, address: local(port), ops: local(ops_port), dir })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let (url, begun) = (format!("http://{}/readyz", self.ops), Instant::now());
        while begun.elapsed() < READY_LIMIT {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        bail!("the process did not get ready within {} s:\n{log}", READY_LIMIT.as_secs())
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `SIGKILL`, and waits until it is gone.
    pub async fn kill(self) {
        self.process.kill_hard().await;
    }

    /// One of its metrics, summed over all labels; 0 when it was never counted.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.ops)).await?.text().await?;
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        Ok(samples.sum())
    }
}

fn passwords() -> Passwords {
    let secret = || Secret::new(PASSWORD.to_owned());
    Passwords { migrator: secret(), front: secret(), projector: secret() }
}

fn beside_this_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is missing: build the whole workspace first", path.display());
    }
    path.canonicalize().context("finding the program failed")
}
