//! A private Postgres on the loopback address.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::NoTls;

use crate::{
    StartError, Tools,
    files::Files,
    os_user::OsUser,
    ports::Port,
    postgres_dir::{self, SUPERUSER, TEMPLATE_PASSWORD},
    process::{LastSignal, Process, Spec},
};

const PROGRAM: &str = "postgres";
const READY_WITHIN: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(5);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const PORT_TRIES: usize = 8;
/// Line of `postmaster.pid` that says `ready`.
const PID_FILE_STATUS_LINE: usize = 7;

/// What a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    Full,
    /// Everything; for tests. A crash of the server alone still loses nothing.
    None,
}

/// What to start. The directory outlives the server and holds the data, the log and the chosen port.
#[derive(Clone)]
pub struct PostgresOptions {
    pub dir: PathBuf,
    pub port: Port,
    /// The administrator's, set when the directory is first used and needed ever after.
    pub password: String,
    pub durability: Durability,
    pub max_connections: u32,
}

impl PostgresOptions {
    /// A free port, durable, 200 connections.
    pub fn new(dir: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            port: Port::Any,
            password: password.into(),
            durability: Durability::Full,
            max_connections: 200,
        }
    }
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("dir", &self.dir)
            .field("port", &self.port)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// A running Postgres. Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    tools: Tools,
    options: PostgresOptions,
    user: Option<OsUser>,
    port: u16,
    /// Dropped after the process.
    _temporary: Option<TempDir>,
}

impl Postgres {
    /// Makes the directory if it is new, starts the server and waits until it takes connections.
    ///
    /// As root it runs as user `postgres`, which must be able to reach the directory.
    pub async fn start(tools: &Tools, options: PostgresOptions) -> Result<Self, StartError> {
        let user = OsUser::for_postgres()?;
        check_reach(&options.dir, user.as_ref())?;
        Files::new(&options.dir, PROGRAM).create_dir()?;
        for _ in 1..PORT_TRIES {
            match Self::start_once(tools, &options, user.as_ref()).await {
                Err(StartError::PortTaken { .. }) if !matches!(options.port, Port::Fixed(_)) => {}
                done => return done,
            }
        }
        Self::start_once(tools, &options, user.as_ref()).await
    }

    /// A Postgres for tests: a free port, nothing synced to disk, data that is removed with the handle.
    pub async fn temporary(tools: &Tools) -> Result<Self, StartError> {
        Self::temporary_with(tools, Durability::None).await
    }

    /// The same with the durability given: what is measured must be as it is in earnest.
    pub async fn temporary_with(tools: &Tools, durability: Durability) -> Result<Self, StartError> {
        let user = OsUser::for_postgres()?;
        let dir = postgres_dir::temporary_dir(user.as_ref())?;
        let options = PostgresOptions { durability, ..PostgresOptions::new(dir.path(), TEMPLATE_PASSWORD) };
        let postgres = Self::start(tools, options).await?;
        Ok(Self { _temporary: Some(dir), ..postgres })
    }

    async fn start_once(
        tools: &Tools,
        options: &PostgresOptions,
        user: Option<&OsUser>,
    ) -> Result<Self, StartError> {
        let files = Files::new(&options.dir, PROGRAM);
        let port = options.port.choose(files.remembered_port("client"))?;
        let postgres = Self {
            process: launch(tools, options, user, port).await?,
            tools: tools.clone(),
            options: options.clone(),
            user: user.cloned(),
            port,
            _temporary: None,
        };
        postgres.ready().await?;
        files.remember_port("client", port)?;
        Ok(postgres)
    }

    async fn ready(&self) -> Result<(), StartError> {
        let files = self.files();
        tokio::select! {
            status = self.process.exited() => {
                let tail = files.log_tail(self.process.log_start());
                if tail.contains("could not bind") || tail.contains("could not create any TCP/IP sockets") {
                    return Err(StartError::PortTaken { port: self.port });
                }
                Err(StartError::Exited { program: PROGRAM, status, tail })
            }
            ready = timeout(READY_WITHIN, self.until_ready()) => ready.map_err(|_| StartError::NotReady {
                program: PROGRAM,
                within: READY_WITHIN,
                tail: files.log_tail(self.process.log_start()),
            }),
        }
    }

    async fn until_ready(&self) {
        while !self.says_ready() {
            sleep(READY_POLL).await;
        }
    }

    /// The server writes its process id and its status into a file; no other on the same port passes for it.
    fn says_ready(&self) -> bool {
        let path = data_dir(&self.options).join("postmaster.pid");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let own = lines.next().and_then(|l| l.trim().parse().ok()) == Some(self.pid());
        own && lines.nth(PID_FILE_STATUS_LINE - 1).map(str::trim) == Some("ready")
    }

    /// For a role of the product and a database that it may use.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{}:{}@127.0.0.1:{}/{}",
            encoded(user),
            encoded(password),
            self.port,
            encoded(database)
        )
    }

    /// For the administrator.
    pub fn admin_url(&self, database: &str) -> String {
        self.url(SUPERUSER, &self.options.password, database)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the parent of all its processes.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_path(&self) -> PathBuf {
        self.files().log_path()
    }

    /// Creates a database; one that exists already is an error of the server's (`42P04`).
    pub async fn create_database(&self, name: &str) -> Result<(), tokio_postgres::Error> {
        let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        let (client, connection) = tokio_postgres::connect(&self.admin_url("postgres"), NoTls).await?;
        let work = async move { client.batch_execute(&statement).await };
        let (done, _) = tokio::join!(work, connection);
        done
    }

    /// Waits until the server has ended, for whatever reason. Cancel safe.
    pub async fn exited(&self) -> ExitStatus {
        self.process.exited().await
    }

    /// Ends the server in good order, cutting its connections.
    pub async fn stop_fast(&self) {
        self.process.stop(Signal::INT, STOP_WITHIN).await;
    }

    /// `kill -9` of the server's parent process; the others follow within moments.
    pub async fn kill_hard(&self) {
        self.process.kill_hard().await;
    }

    /// Starts the server again with its data on the same port; a running one is killed first.
    ///
    /// When this fails the server is down and may be restarted again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.process.kill_hard().await;
        let until = Instant::now() + READY_WITHIN;
        loop {
            self.process = launch(&self.tools, &self.options, self.user.as_ref(), self.port).await?;
            match self.ready().await {
                Err(StartError::PortTaken { .. }) if Instant::now() < until => {
                    sleep(READY_POLL).await;
                }
                done => return done,
            }
        }
    }

    fn files(&self) -> Files {
        Files::new(&self.options.dir, PROGRAM)
    }
}

fn data_dir(options: &PostgresOptions) -> PathBuf {
    options.dir.join("data")
}

fn check_reach(dir: &Path, user: Option<&OsUser>) -> Result<(), StartError> {
    match user {
        Some(user) if !user.can_reach(dir) => {
            Err(StartError::Unreachable { dir: dir.to_owned(), user: user.name.clone() })
        }
        _ => Ok(()),
    }
}

async fn launch(
    tools: &Tools,
    options: &PostgresOptions,
    user: Option<&OsUser>,
    port: u16,
) -> Result<Process, StartError> {
    let files = Files::new(&options.dir, PROGRAM);
    let lock = files.lock().await?;
    make_data_dir(tools, options, user).await?;
    let spec = Spec {
        program: tools.postgres_bin.join(PROGRAM),
        args: arguments(options, port),
        envs: Vec::new(),
        dir: options.dir.clone(),
        user: user.cloned(),
        log: files.open_log()?,
        lock,
        last_signal: LastSignal::Quit,
    };
    let process = Process::spawn(spec).map_err(StartError::io("starting", &tools.postgres_bin))?;
    files.note_pid(process.pid())?;
    Ok(process)
}

/// Call with the lock held.
async fn make_data_dir(
    tools: &Tools,
    options: &PostgresOptions,
    user: Option<&OsUser>,
) -> Result<(), StartError> {
    let data = data_dir(options);
    if data.exists() {
        return Ok(());
    }
    let (tools, options, user) = (tools.clone(), options.clone(), user.cloned());
    let work = move || {
        postgres_dir::hand_over(&options.dir, user.as_ref())?;
        let disposable = options.durability == Durability::None;
        if disposable && options.password == TEMPLATE_PASSWORD {
            postgres_dir::copy_template(&tools, user.as_ref(), &data)
        } else {
            let password = &options.password;
            postgres_dir::initialise(&tools, user.as_ref(), &data, password, disposable)
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn arguments(options: &PostgresOptions, port: u16) -> Vec<std::ffi::OsString> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // TCP only: a socket's path has a length limit and needs a directory of its own.
        "unix_socket_directories=".to_owned(),
        format!("max_connections={}", options.max_connections),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "log_line_prefix=%m [%p] %q%u@%d ".to_owned(),
    ];
    if options.durability == Durability::None {
        let fast = ["fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_wal_size=256MB"];
        settings.extend(fast.map(str::to_owned));
    }
    let mut arguments = vec!["-D".into(), data_dir(options).into()];
    for setting in settings {
        arguments.extend(["-c".into(), setting.into()]);
    }
    arguments
}

/// Percent-encodes all but the characters that are safe anywhere in a URL.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
