//! A private Postgres server for one test program: data in a temporary directory, reached over a socket in it.

#![allow(clippy::unwrap_used, dead_code)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use natterjack_database::{Client, Config, Passwords, Role, connect, ensure_roles, migrate};
use natterjack_runtime::config::Secret;

pub struct Server {
    directory: tempfile::TempDir,
    owner: Option<(u32, u32)>,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Server {
    /// The server that the tests of this program share; it ends with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("nj-pg").tempdir_in("/tmp").unwrap();
        let owner = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        if let Some((user, group)) = owner {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let server = Self { directory, owner, child: Mutex::new(None), databases: AtomicU32::new(0) };
        let password = server.directory.path().join("password");
        fs::write(&password, "admin").unwrap();
        let mut make = server.command("initdb");
        make.args(["-N", "-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]);
        make.arg(server.data()).arg("--pwfile").arg(password).stdout(Stdio::null());
        assert!(make.status().unwrap().success());
        server.resume();
        server
    }

    /// Starts the server again after [`Server::stop`] and waits until it takes connections.
    pub fn resume(&self) {
        let directory = self.directory.path().to_str().unwrap();
        let mut command = self.command("postgres");
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-k"]);
        command.args([directory, "-D"]).arg(self.data());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().contains("ready to accept connections"));
        assert!(ready, "Postgres did not start");
        std::thread::spawn(move || lines.for_each(drop));
        *self.child.lock().unwrap() = Some(child);
    }

    /// Ends the server and its connections at once, but cleanly.
    pub fn stop(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            child.wait().unwrap();
        }
    }

    /// Freezes (`STOP`) or thaws (`CONT`) every process of the server.
    pub fn signal(&self, signal: &str) {
        let child = self.child.lock().unwrap().as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{child}/task/{child}/children")).unwrap();
        let pids = children.split_whitespace().map(str::to_owned).chain([child.to_string()]);
        Command::new("kill").arg(format!("-{signal}")).args(pids).status().unwrap();
    }

    pub fn config(&self, user: &str, password: &str, database: &str) -> Config {
        let mut server = tokio_postgres::Config::new();
        server.host_path(self.directory.path()).user(user).password(password).dbname(database);
        Config::new(server)
    }

    pub async fn admin(&self, database: &str) -> Client {
        connect(&self.config("postgres", "admin", database)).await.unwrap()
    }

    /// A fresh database without anything in it.
    pub async fn empty_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.admin("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        name
    }

    /// A fresh database with roles (whose passwords are their names) and all migrations.
    pub async fn migrated_database(&self) -> String {
        let name = self.empty_database().await;
        let mut admin = self.admin(&name).await;
        ensure_roles(&mut admin, &passwords()).await.unwrap();
        migrate(&mut admin).await.unwrap();
        name
    }

    pub fn role(&self, role: Role, database: &str) -> Config {
        self.config(role.name(), role.name(), database)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find(program));
        command.current_dir(self.directory.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn passwords() -> Passwords {
    let secret = |role: Role| Secret::new(role.name());
    Passwords {
        migrator: secret(Role::Migrator),
        front: secret(Role::Front),
        projector: secret(Role::Projector),
    }
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    folders.extend(debian.map(|version| version.unwrap().path().join("bin")));
    let found = folders.iter().map(|folder| folder.join(program)).find(|file: &PathBuf| Path::exists(file));
    found.unwrap_or_else(|| panic!("{program} is not installed"))
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
