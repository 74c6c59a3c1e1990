//! A private nats-server with the configuration of `nats/`.

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    StartError, Tools,
    files::Files,
    nats_cluster::Member,
    ports::{self, Port},
    postgres::Durability,
    process::{LastSignal, Process, Spec},
};

const PROGRAM: &str = "nats-server";
const COMMON: &str = include_str!("../../../nats/common.conf");
const AUTH: &str = include_str!("../../../nats/auth.conf");
const SINGLE: &str = include_str!("../../../nats/single.conf");
const CLUSTER: &str = include_str!("../../../nats/cluster.conf");
/// The line that makes the streams durable.
const SYNC: &str = "sync_interval: always";

const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(5);
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Other programs may take a port between its choice and its use.
const PORT_TRIES: usize = 8;
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const PROBE_BYTES: u64 = 64 * 1024;

/// The name and password that clients must give.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What to start. The directory outlives the server and holds the streams, the log and the chosen ports.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    pub dir: PathBuf,
    pub port: Port,
    /// Health and statistics over HTTP.
    pub monitor_port: Port,
    /// `None`: anyone on this machine may connect (tests).
    pub credentials: Option<Credentials>,
    /// In the server's notation, such as `10GB`.
    pub max_file_store: String,
    pub durability: Durability,
}

impl NatsOptions {
    /// Free ports, no credentials, at most 10 GB of streams, durable.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: Port::Any,
            monitor_port: Port::Any,
            credentials: None,
            max_file_store: "10GB".to_owned(),
            durability: Durability::Full,
        }
    }
}

/// A running nats-server. Dropping it kills it.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    tools: Tools,
    options: NatsOptions,
    member: Option<Member>,
    ports: Ports,
    /// Known to this start only, so that no other server passes for it.
    name: String,
    /// Dropped after the process.
    _temporary: Option<TempDir>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    monitor: u16,
}

impl NatsServer {
    /// Starts a server and waits until it takes clients and JetStream is healthy. Cancelling ends it.
    pub async fn start(tools: &Tools, options: NatsOptions) -> Result<Self, StartError> {
        for _ in 1..PORT_TRIES {
            match Self::start_once(tools, &options).await {
                Err(StartError::PortTaken { .. }) if !options.has_fixed_port() => {}
                done => return done,
            }
        }
        Self::start_once(tools, &options).await
    }

    /// A server for tests: free ports, no credentials, data that is removed with the handle.
    pub async fn temporary(tools: &Tools) -> Result<Self, StartError> {
        Self::temporary_with(tools, Durability::Full).await
    }

    /// The same with the durability given: what only has to be filled fast need not sync each message.
    pub async fn temporary_with(tools: &Tools, durability: Durability) -> Result<Self, StartError> {
        let dir = TempDir::with_prefix("nats-")
            .map_err(StartError::io("creating a directory", std::env::temp_dir()))?;
        let server = Self::start(tools, NatsOptions { durability, ..NatsOptions::new(dir.path()) }).await?;
        Ok(Self { _temporary: Some(dir), ..server })
    }

    async fn start_once(tools: &Tools, options: &NatsOptions) -> Result<Self, StartError> {
        let server = Self::spawn(tools, options.clone(), None).await?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts the process without waiting for it: the members of a cluster get ready together.
    pub(crate) async fn spawn(
        tools: &Tools,
        options: NatsOptions,
        member: Option<Member>,
    ) -> Result<Self, StartError> {
        let files = Files::new(&options.dir, PROGRAM);
        files.create_dir()?;
        let ports = Ports {
            client: options.port.choose(files.remembered_port("client"))?,
            monitor: options.monitor_port.choose(files.remembered_port("monitor"))?,
        };
        files.remember_port("client", ports.client)?;
        files.remember_port("monitor", ports.monitor)?;
        let name = match &member {
            Some(member) => member.name.clone(),
            None => format!("natterjack-{:08x}", ports::random() & 0xffff_ffff),
        };
        let process = launch(tools, &options, member.as_ref(), ports, &name).await?;
        Ok(Self { process, tools: tools.clone(), options, member, ports, name, _temporary: None })
    }

    /// Waits until this server (no other on its port) takes clients and JetStream is healthy.
    pub(crate) async fn ready(&self) -> Result<(), StartError> {
        tokio::select! {
            status = self.process.exited() => {
                let tail = self.files().log_tail(self.process.log_start());
                if tail.contains("address already in use") {
                    return Err(StartError::PortTaken { port: self.ports.client });
                }
                Err(StartError::Exited { program: PROGRAM, status, tail })
            }
            ready = timeout(READY_WITHIN, self.until_healthy()) => ready.map_err(|_| StartError::NotReady {
                program: PROGRAM,
                within: READY_WITHIN,
                tail: self.files().log_tail(self.process.log_start()),
            }),
        }
    }

    async fn until_healthy(&self) {
        while !(greets(self.ports.client, &self.name).await && self.is_healthy().await) {
            sleep(READY_POLL).await;
        }
    }

    async fn is_healthy(&self) -> bool {
        let health = http_get(self.ports.monitor, "/healthz").await;
        if !health.is_some_and(|r| r.starts_with("HTTP/1.0 200") || r.starts_with("HTTP/1.1 200")) {
            return false;
        }
        let Some(member) = &self.member else {
            return true;
        };
        let state = http_get(self.ports.monitor, "/jsz").await;
        state.is_some_and(|r| member.sees_cluster(&r))
    }

    /// `nats://127.0.0.1:port`, without the credentials.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client)
    }

    /// `http://127.0.0.1:port`, for `/healthz`, `/varz`, `/jsz`.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitor)
    }

    pub fn credentials(&self) -> Option<&Credentials> {
        self.options.credentials.as_ref()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it keeps the streams, among others.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    pub fn log_path(&self) -> PathBuf {
        self.files().log_path()
    }

    /// Waits until the server has ended, for whatever reason. Cancel safe.
    pub async fn exited(&self) -> std::process::ExitStatus {
        self.process.exited().await
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill_hard(&self) {
        self.process.kill_hard().await;
    }

    /// Ends the server in good order: it writes what it has and closes its connections.
    pub async fn stop(&self) {
        self.process.stop(Signal::TERM, STOP_WITHIN).await;
    }

    /// Freezes the server: connections stay, nothing is answered.
    pub async fn suspend(&self) {
        self.process.suspend().await;
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts the server again with its data on the same ports; a running one is killed first.
    ///
    /// When this fails the server is down and may be restarted again. A port that somebody else took meanwhile is
    /// such a failure, since clients know this one.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.process.kill_hard().await;
        let until = Instant::now() + READY_WITHIN;
        loop {
            self.process =
                launch(&self.tools, &self.options, self.member.as_ref(), self.ports, &self.name).await?;
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

impl NatsOptions {
    fn has_fixed_port(&self) -> bool {
        matches!(self.port, Port::Fixed(_)) || matches!(self.monitor_port, Port::Fixed(_))
    }

    fn write_configuration(&self, member: Option<&Member>) -> Result<PathBuf, StartError> {
        let auth = self.credentials.as_ref().map_or("", |_| AUTH);
        let main = member.map_or(SINGLE, |_| CLUSTER);
        let common = match self.durability {
            Durability::Full => COMMON.to_owned(),
            Durability::None => COMMON.replace(SYNC, "sync_interval: 2m"),
        };
        let path = self.dir.join("nats.conf");
        for (file, text) in [("common.conf", &*common), ("auth.conf", auth), ("nats.conf", main)] {
            let file = self.dir.join(file);
            fs::write(&file, text).map_err(StartError::io("writing a file", file))?;
        }
        Ok(path)
    }

    fn environment(
        &self,
        member: Option<&Member>,
        ports: Ports,
        name: &str,
    ) -> Vec<(&'static str, OsString)> {
        let (user, password) = self
            .credentials
            .as_ref()
            .map_or_else(|| ("natterjack", "natterjack"), |c| (c.user.as_str(), c.password.as_str()));
        let store = self.dir.display().to_string();
        let mut values = vec![
            ("NATS_SERVER_NAME", quoted(name)),
            ("NATS_HOST", quoted(&Ipv4Addr::LOCALHOST.to_string())),
            ("NATS_PORT", ports.client.to_string()),
            ("NATS_MONITOR_PORT", ports.monitor.to_string()),
            ("NATS_USER", quoted(user)),
            ("NATS_PASSWORD", quoted(password)),
            ("NATS_STORE_DIR", quoted(&store)),
            ("NATS_MAX_FILE_STORE", self.max_file_store.clone()),
        ];
        if let Some(member) = member {
            values.extend(member.environment(user, password));
        }
        values.into_iter().map(|(k, v)| (k, v.into())).collect()
    }
}

/// A text as the server's configuration language takes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

async fn launch(
    tools: &Tools,
    options: &NatsOptions,
    member: Option<&Member>,
    ports: Ports,
    name: &str,
) -> Result<Process, StartError> {
    let files = Files::new(&options.dir, PROGRAM);
    let lock = files.lock().await?;
    let configuration = options.write_configuration(member)?;
    let log = files.open_log()?;
    let process = Process::spawn(Spec {
        program: tools.nats_server.clone(),
        args: vec!["-c".into(), configuration.into()],
        envs: options.environment(member, ports, name),
        dir: options.dir.clone(),
        user: None,
        log,
        lock,
        last_signal: LastSignal::Kill,
    })
    .map_err(StartError::io("starting", &tools.nats_server))?;
    files.note_pid(process.pid())?;
    Ok(process)
}

/// Whether the server on this port greets a client with this name.
async fn greets(port: u16, name: &str) -> bool {
    let greeting = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let mut line = String::new();
        let mut reader = BufReader::new(stream).take(PROBE_BYTES);
        reader.read_line(&mut line).await.ok()?;
        let info: serde_json::Value = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
        Some(info.get("server_name")?.as_str()? == name)
    };
    matches!(timeout(PROBE_WITHIN, greeting).await, Ok(Some(true)))
}

/// The whole answer to a GET on the loopback address, or nothing.
async fn http_get(port: u16, path: &str) -> Option<String> {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        let mut reader = stream.take(PROBE_BYTES);
        reader.read_to_string(&mut text).await.ok()?;
        Some(text)
    };
    timeout(PROBE_WITHIN, answer).await.ok()?
}
