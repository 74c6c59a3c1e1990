//! A private Postgres for the tests of one program, and fresh databases in it.

#![allow(clippy::unwrap_used, dead_code)]

use std::{
    fs,
    process::Command,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use natterjack_database::{Client, Config, Passwords, Role, connect, ensure_roles, migrate};
use natterjack_runtime::config::Secret;
use natterjack_stack::{Postgres, Tools};
use tokio::sync::Mutex;

pub struct Server {
    postgres: Mutex<Postgres>,
    admin: tokio_postgres::Config,
    databases: AtomicU32,
}

impl Server {
    /// The server that the tests of this program share; it ends with the last of them.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server of one's own, to be stopped and frozen.
    pub async fn start() -> Self {
        let postgres = Postgres::temporary(&Tools::find().unwrap()).await.unwrap();
        let admin = postgres.admin_url("postgres").parse().unwrap();
        Self { postgres: Mutex::new(postgres), admin, databases: AtomicU32::new(0) }
    }

    /// Ends the server in good order, cutting its connections.
    pub async fn stop(&self) {
        self.postgres.lock().await.stop_fast().await;
    }

    /// Starts it again after [`Server::stop`].
    pub async fn resume(&self) {
        self.postgres.lock().await.restart().await.unwrap();
    }

    /// Freezes (`STOP`) or thaws (`CONT`) every process of the server.
    pub async fn signal(&self, signal: &str) {
        let parent = self.postgres.lock().await.pid();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        let pids = children.split_whitespace().map(str::to_owned).chain([parent.to_string()]);
        let sent = Command::new("kill").arg(format!("-{signal}")).args(pids).status().unwrap();
        assert!(sent.success());
    }

    /// As the administrator.
    pub fn config(&self, database: &str) -> Config {
        let mut server = self.admin.clone();
        server.dbname(database);
        Config::new(server)
    }

    /// As a role whose password is its name.
    pub fn role(&self, role: Role, database: &str) -> Config {
        let mut config = self.config(database);
        config.server.user(role.name()).password(role.name());
        config
    }

    pub async fn admin(&self, database: &str) -> Client {
        connect(&self.config(database)).await.unwrap()
    }

    /// A fresh database without anything in it.
    pub async fn empty_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.admin("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        name
    }

    /// A fresh database with roles and all migrations.
    pub async fn migrated_database(&self) -> String {
        let name = self.empty_database().await;
        let mut admin = self.admin(&name).await;
        ensure_roles(&mut admin, &passwords()).await.unwrap();
        migrate(&mut admin).await.unwrap();
        name
    }
}

/// Each role's name.
pub fn passwords() -> Passwords {
    let secret = |role: Role| Secret::new(role.name());
    Passwords {
        migrator: secret(Role::Migrator),
        front: secret(Role::Front),
        projector: secret(Role::Projector),
    }
}
