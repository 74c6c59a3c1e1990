//! A private Postgres for the tests of this program, and fresh databases in it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use natterjack_database::{Config, Connection, Passwords, Pool, Role, connect, ensure_roles, migrate, pool};
use natterjack_projection::{Applied, ApplyError, Entry, TABLES, apply, open};
use natterjack_runtime::config::Secret;
use natterjack_stack::{Postgres, Tools};
use tokio::sync::Mutex;

/// The one stream and epoch of tests that need no more.
pub const STREAM: u16 = 0;
pub const EPOCH: &str = "e1";

struct Server {
    postgres: Mutex<Postgres>,
    /// The administrator's, to any database.
    admin: Config,
    databases: AtomicU32,
}

/// A database with all schemas, and what connects to it.
pub struct World {
    server: Arc<Server>,
    name: String,
    pub projector: Pool,
    pub front: Pool,
    pub migrator: Pool,
}

/// The contents of all read tables, in a fixed order.
pub type Tables = BTreeMap<&'static str, Vec<String>>;

impl Server {
    async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    async fn start() -> Self {
        let postgres = Postgres::temporary(&Tools::find().unwrap()).await.unwrap();
        let admin = Config::from_url(&postgres.admin_url("postgres")).unwrap();
        Self { postgres: Mutex::new(postgres), admin, databases: AtomicU32::new(0) }
    }

    fn config(&self, database: &str) -> Config {
        let mut config = self.admin.clone();
        config.server.dbname(database);
        config
    }
}

impl World {
    pub async fn new() -> Self {
        Self::on(Server::shared().await).await
    }

    /// On a Postgres of its own, which may be stopped.
    pub async fn alone() -> Self {
        Self::on(Arc::new(Server::start().await)).await
    }

    async fn on(server: Arc<Server>) -> Self {
        let name = format!("test_{}", server.databases.fetch_add(1, Ordering::Relaxed));
        server.postgres.lock().await.create_database(&name).await.unwrap();
        let admin = server.config(&name);
        let secret = |role: Role| Secret::new(role.name());
        let passwords = Passwords {
            migrator: secret(Role::Migrator),
            front: secret(Role::Front),
            projector: secret(Role::Projector),
        };
        let mut admin = connect(&admin).await.unwrap();
        ensure_roles(&mut admin, &passwords).await.unwrap();
        migrate(&mut admin).await.unwrap();
        let pool = |role| pool(&config(&server, role, &name));
        let (projector, front, migrator) = (pool(Role::Projector), pool(Role::Front), pool(Role::Migrator));
        Self { server, name, projector, front, migrator }
    }

    pub fn config(&self, role: Role) -> Config {
        config(&self.server, role, &self.name)
    }

    pub async fn stop_postgres(&self) {
        self.server.postgres.lock().await.stop_fast().await;
    }

    pub async fn start_postgres(&self) {
        self.server.postgres.lock().await.restart().await.unwrap();
    }

    /// Ends a connection as a crash of its process would.
    pub async fn terminate(&self, pid: i32) {
        let admin = connect(&self.server.config(&self.name)).await.unwrap();
        admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    }

    pub async fn projector(&self) -> Connection {
        self.projector.get().await.unwrap()
    }

    /// As the owner of everything.
    pub async fn execute(&self, sql: &str) {
        self.migrator.get().await.unwrap().batch_execute(sql).await.unwrap();
    }

    pub async fn open(&self) -> u64 {
        open(&mut self.projector().await, STREAM, EPOCH).await.unwrap().reached()
    }

    pub async fn apply(&self, entries: &[Entry]) -> Result<Applied, ApplyError> {
        Box::pin(apply(&mut self.projector().await, STREAM, EPOCH, entries)).await
    }

    /// Opens the stream and applies the entries in batches of `size`.
    pub async fn apply_all(&self, entries: &[Entry], size: usize) {
        self.open().await;
        for batch in entries.chunks(size) {
            self.apply(batch).await.unwrap();
        }
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.migrator.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
    }

    pub async fn tables(&self) -> Tables {
        let client = self.projector().await;
        let mut tables = Tables::new();
        for table in TABLES {
            let sql = format!("SELECT t::text FROM read.{table} t ORDER BY 1");
            let rows = client.query(&sql, &[]).await.unwrap();
            tables.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        tables
    }

    /// Empties the read tables, checkpoints included.
    pub async fn wipe(&self) {
        let tables = TABLES.map(|table| format!("read.{table}")).join(", ");
        self.projector().await.batch_execute(&format!("TRUNCATE {tables}")).await.unwrap();
    }
}

fn config(server: &Server, role: Role, database: &str) -> Config {
    let mut config = server.config(database);
    config.server.user(role.name()).password(role.name());
    config
}
