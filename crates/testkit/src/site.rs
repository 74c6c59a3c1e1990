use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use natterjack_database::{Client, Passwords};
use natterjack_runtime::{
    config::{Reader, Secret},
    lifecycle::Shutdown,
    ops::Readiness,
};
use natterjack_stack::{NatsCluster, NatsServer, Postgres, StartError, Tools};
use reqwest::StatusCode;
use tokio::net::TcpListener;

use crate::{Account, eventually};

const DATABASE: &str = "natterjack";
const PASSWORD: &str = "test";
const FRONT: &str = "natterjack_front";

/// A nats-server (or several: `N`), a Postgres, and the settings of the processes that use them.
pub struct Site<N = NatsServer> {
    pub nats: N,
    pub postgres: Postgres,
    /// Settings that all processes of the site share.
    settings: BTreeMap<String, String>,
    pub http: reqwest::Client,
    /// Where attachments lie.
    pub media: tempfile::TempDir,
}

#[derive(Default)]
pub struct SiteBuilder {
    settings: BTreeMap<String, String>,
}

impl SiteBuilder {
    /// A setting of all processes, without the prefix `NATTERJACK_`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.insert(format!("NATTERJACK_{name}"), value.to_string());
        self
    }

    #[must_use]
    pub fn streams(self, streams: u16) -> Self {
        self.set("STREAMS", streams)
    }

    pub async fn start(self) -> Site {
        let site = Site::start(NatsServer::temporary, NatsServer::url, self.settings).await;
        site.expect("a site starts")
    }

    /// The same with a nats-server that runs already.
    pub async fn start_on(self, nats: NatsServer) -> Site {
        let site = Site::start(async |_| Ok(nats), NatsServer::url, self.settings).await;
        site.expect("a site starts")
    }

    /// The same with three nats-servers, each of which has every stream.
    pub async fn start_with_cluster(self) -> Site<NatsCluster> {
        let settings = self.set("REPLICAS", 3).settings;
        let site = Site::start(NatsCluster::temporary, NatsCluster::url, settings).await;
        site.expect("a site starts")
    }
}

impl Site {
    /// A site whose limits are out of a test's way.
    pub fn builder() -> SiteBuilder {
        crate::show_logs();
        SiteBuilder::default()
            .set("AUTH_KEYS", "test:dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtdGVzdA")
            .set("AUTH_PER_MINUTE", 1_000_000)
            .set("PASSWORDS_PER_MINUTE", 1_000_000)
            .set("REGISTRATIONS_PER_HOUR", 1_000_000)
            .set("PRESENCE_HEARTBEAT_MS", 300)
            .set("PRESENCE_LINGER_MS", 100)
            .set("REQUESTS_PER_SECOND", 1_000_000)
            .set("FRAMES_PER_SECOND", 1_000_000)
            .set("FRAMES_BURST", 1_000_000)
            .set("SEARCHES_PER_MINUTE", 1_000_000)
            .set("UPLOADS_PER_MINUTE", 1_000_000)
            .set("ARGON2_MEMORY_KIB", 8)
            .set("ARGON2_PASSES", 1)
            .set("DRAIN_WINDOW_MS", 200)
            .set("HEADS_PERIOD_MS", 500)
            // Many sites share a machine; what is gone is noticed at once all the same.
            .set("POSTGRES_ACQUIRE_MS", 10_000)
            .set("POSTGRES_CONNECT_MS", 10_000)
            .set("OPS_LISTEN", "127.0.0.1:0")
    }
}

impl<N> Site<N> {
    async fn start(
        nats: impl AsyncFnOnce(&Tools) -> Result<N, StartError>,
        url: impl FnOnce(&N) -> String,
        mut settings: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let tools = Tools::find()?;
        let (nats, postgres) = tokio::try_join!(nats(&tools), Postgres::temporary(&tools))?;
        settings.insert("NATTERJACK_NATS_URL".into(), url(&nats));
        let media = tempfile::TempDir::with_prefix("media-")?;
        settings.insert("NATTERJACK_MEDIA_DIR".into(), media.path().display().to_string());
        let site = Self { nats, postgres, settings, http: reqwest::Client::new(), media };
        site.postgres.create_database(DATABASE).await?;
        let secret = || Secret::new(PASSWORD.to_owned());
        let passwords = Passwords { migrator: secret(), front: secret(), projector: secret() };
        natterjack_database::ensure_roles(&mut site.admin().await?, &passwords).await?;
        natterjack_database::migrate(&mut site.client("natterjack_migrator").await?).await?;
        natterjack_eventlog::provision(&site.log_config()).await?;
        Ok(site)
    }

    /// Settings of a process whose role in Postgres is `role`.
    pub fn settings(&self, role: &str) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        settings.insert("NATTERJACK_POSTGRES_URL".into(), self.postgres.url(role, PASSWORD, DATABASE));
        settings
    }

    pub fn log_config(&self) -> natterjack_eventlog::Config {
        let mut reader = Reader::from_pairs(self.settings.clone());
        natterjack_eventlog::Config::read(&mut reader)
    }

    pub fn pool(&self, role: &str) -> natterjack_database::Pool {
        natterjack_database::pool(&self.database_config(role))
    }

    fn database_config(&self, role: &str) -> natterjack_database::Config {
        let mut reader = Reader::from_pairs(self.settings(role));
        natterjack_database::Config::read(&mut reader)
    }

    pub async fn client(&self, role: &str) -> anyhow::Result<Client> {
        Ok(natterjack_database::connect(&self.database_config(role)).await?)
    }

    pub async fn admin(&self) -> anyhow::Result<Client> {
        let config = natterjack_database::Config::from_url(&self.postgres.admin_url(DATABASE))?;
        Ok(natterjack_database::connect(&config).await?)
    }

    /// A front in this process, ready to serve.
    pub async fn front(&self) -> Front {
        self.front_with(&[]).await
    }

    /// A front with settings of its own, without the prefix `NATTERJACK_`.
    pub async fn front_with(&self, own: &[(&str, &str)]) -> Front {
        let mut settings = self.settings(FRONT);
        settings.extend(own.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned())));
        let mut reader = Reader::from_pairs(settings);
        let config = natterjack_front::Config::read(&mut reader);
        reader.finish().expect("the settings are valid");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let running =
            tokio::spawn(natterjack_front::serve(config, listener, readiness.clone(), shutdown.clone()));
        eventually("the front to be ready", async || {
            assert!(!running.is_finished(), "the front ended");
            readiness.report().ready.then_some(())
        })
        .await;
        Front { address, readiness, shutdown, running }
    }

    /// A projector in this process.
    pub async fn projector(&self) -> Projector {
        let mut reader = Reader::from_pairs(self.settings("natterjack_projector"));
        let config = natterjack_projection::Config::read(&mut reader);
        reader.finish().expect("the settings are valid");
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let running = tokio::spawn({
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move { natterjack_projection::project(&config, &readiness, &shutdown).await }
        });
        eventually("the projector to be ready", async || readiness.report().ready.then_some(())).await;
        Projector { readiness, shutdown, running }
    }

    /// The log, as a front sees it.
    pub async fn log(&self) -> natterjack_eventlog::Log {
        natterjack_eventlog::Log::open(&self.log_config()).await.expect("the log opens")
    }

    /// Waits until the read models know these people: only then can they be added to rooms.
    pub async fn known(&self, people: &[&Account]) {
        let client = self.admin().await.expect("Postgres answers");
        for account in people {
            eventually(&format!("{} to be known", account.username), async || {
                let sql = "SELECT FROM read.people WHERE id = $1";
                client.query_opt(sql, &[account.user.as_uuid()]).await.ok()?.map(|_| ())
            })
            .await;
        }
    }

    /// Waits until the read models hold all that the log holds.
    pub async fn projected(&self) {
        self.reflected("read").await;
    }

    /// Waits until all that the log holds can be searched.
    pub async fn searchable(&self) {
        self.reflected("read").await;
        self.reflected("search").await;
    }

    async fn reflected(&self, schema: &str) {
        let log = self.log().await;
        let client = self.admin().await.expect("Postgres answers");
        for stream in 0..log.streams() {
            eventually("the projector to catch up", async || {
                let sql = format!("SELECT seq FROM {schema}.checkpoints WHERE stream = $1");
                let stream_number = i16::try_from(stream).ok()?;
                let row = client.query_opt(&sql, &[&stream_number]).await.ok()?;
                let seq = row.map_or(0, |row| row.get::<_, i64>(0));
                (u64::try_from(seq).ok()? >= log.last_seq(stream).await.ok()?).then_some(())
            })
            .await;
        }
    }

    /// Replays the log and compares: fails the test when Postgres is not what a replay makes.
    pub async fn assert_replay_is_equal(&self) {
        self.projected().await;
        let pool = self.pool("natterjack_migrator");
        let report = natterjack_projection::verify(&pool, |_| {}).await.expect("the replay runs");
        assert!(report.is_good(), "Postgres is not what a replay makes: {report:?}");
    }

    /// Registers a person over `front` (its base URL).
    pub async fn register(&self, front: &str, username: &str) -> Account {
        Account::register(&self.http, front, username).await
    }
}

/// A front that runs in this process.
pub struct Front {
    pub address: SocketAddr,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), natterjack_front::RunError>>,
}

impl Front {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Drains it as an operator would, and waits for its end.
    pub async fn drain(self) {
        self.shutdown.drain();
        let ended = tokio::time::timeout(crate::PATIENCE, self.running).await;
        ended.expect("the front drains in time").expect("it does not panic").expect("it ends well");
    }
}

/// A projector that runs in this process.
pub struct Projector {
    pub readiness: Readiness,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
}

impl Projector {
    pub async fn stop(self) {
        self.shutdown.drain();
        self.running.await.expect("it does not panic");
    }
}

/// The status and JSON body of an answer.
pub async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, serde_json::Value)> {
    let response = request.send().await.context("sending the request")?;
    let status = response.status();
    let text = response.text().await?;
    let body = if text.is_empty() { serde_json::Value::Null } else { serde_json::from_str(&text)? };
    Ok((status, body))
}
