//! One test's database, identity and clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use natterjack_database::{Client, Role, pool};
use natterjack_identity::{
    Clock, Config, Cost, HashingConfig, Identity, Login, Origin, Password, Registration, SigningKeys,
};
use time::{OffsetDateTime, macros::datetime};

use crate::postgres::Server;

pub const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
pub const PASSWORD: &str = "correct horse";

pub struct World {
    pub server: Arc<Server>,
    pub database: String,
    pub identity: Identity,
    pub config: Config,
    passed_ms: Arc<AtomicU64>,
}

impl World {
    pub async fn new() -> Self {
        Self::on(Server::shared().await).await
    }

    pub async fn on(server: Arc<Server>) -> Self {
        let database = server.migrated_database().await;
        let keys: SigningKeys = SigningKeys::generate("test").expose().parse().unwrap();
        let hashing = HashingConfig::new(Cost::least());
        let config = Config { hashing, ..Config::new(keys) };
        let passed_ms = Arc::new(AtomicU64::new(0));
        let identity = another(&server, &database, &config, &passed_ms);
        Self { server, database, identity, config, passed_ms }
    }

    /// Another front's identity on the same tables.
    pub fn with(&self, change: impl FnOnce(&mut Config)) -> Identity {
        let mut config = self.config.clone();
        change(&mut config);
        another(&self.server, &self.database, &config, &self.passed_ms)
    }

    pub fn now(&self) -> OffsetDateTime {
        START + Duration::from_millis(self.passed_ms.load(Ordering::SeqCst))
    }

    pub fn pass(&self, time: Duration) {
        self.passed_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub async fn register(&self, username: &str) -> Login {
        self.identity.register(registration(username, None)).await.unwrap()
    }

    pub async fn admin(&self) -> Client {
        self.server.admin(&self.database).await
    }

    pub async fn count(&self, from: &str) -> i64 {
        self.admin().await.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await.unwrap().get(0)
    }
}

fn another(server: &Server, database: &str, config: &Config, passed_ms: &Arc<AtomicU64>) -> Identity {
    let passed = Arc::clone(passed_ms);
    let clock = Clock::from_fn(move || START + Duration::from_millis(passed.load(Ordering::SeqCst)));
    Identity::with_clock(config.clone(), pool(&server.role(Role::Front, database)), clock)
}

pub fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

pub fn registration(username: &str, email: Option<&str>) -> Registration {
    Registration {
        username: username.parse().unwrap(),
        email: email.map(|email| email.parse().unwrap()),
        password: password(PASSWORD),
        origin: Origin::default(),
    }
}
