//! A `natterjack up` in a directory of its own, as a user would run it.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_natterjack");

pub struct Up {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// Of the fronts.
    pub urls: Vec<String>,
}

/// A directory that the user of Postgres may enter.
pub fn directory() -> TempDir {
    let dir = TempDir::with_prefix("natterjack-").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Nothing of the tests' own environment but the servers' places.
fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let place = name == "NATTERJACK_NATS_SERVER" || name == "NATTERJACK_POSTGRES_BIN";
        if name.starts_with("NATTERJACK_") && !place {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command of the program to its end.
pub async fn run(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = program();
    command.current_dir(dir).args(arguments).envs(variables.iter().copied());
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

impl Up {
    /// Starts it, and waits until it says that it runs.
    pub async fn start(dir: &Path, options: &[&str]) -> Self {
        let mut command = program();
        command.current_dir(dir).arg("up").args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut urls = Vec::new();
        loop {
            let line = timeout(PATIENCE, output.next_line()).await.unwrap().unwrap();
            let line = line.expect("it ended before it ran");
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["open", url] => urls.push(url.to_owned()),
                ["stop", ..] => break,
                _ => {}
            }
        }
        Self { child, output, urls }
    }

    /// Ctrl-C; answers what it said on its way out.
    pub async fn interrupt(mut self) -> String {
        signal(self.child.id().unwrap(), Signal::INT);
        let mut said = Vec::new();
        while let Some(line) = timeout(PATIENCE, self.output.next_line()).await.unwrap().unwrap() {
            said.push(line);
        }
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}: {said:?}");
        said.join("\n")
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// `kill -9` of a server, by the process id that it left.
pub fn kill_server(dir: &Path, file: &str) {
    let pid = std::fs::read_to_string(dir.join(".data").join(file)).unwrap();
    signal(pid.trim().parse().unwrap(), Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until the work gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut work: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(done) = work().await {
                return done;
            }
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Registers a person; the access token, or nothing while that does not work.
pub async fn register(url: &str, name: &str) -> Option<String> {
    let body = json!({ "username": name, "password": "correct horse battery" });
    let request = reqwest::Client::new().post(format!("{url}/v1/auth/register")).json(&body);
    let answer: Value = request.send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
    Some(answer["access_token"].as_str()?.to_owned())
}

/// Makes a room; its id, or nothing while that does not work.
pub async fn make_room(url: &str, token: &str, name: &str) -> Option<String> {
    let body = json!({ "name": name, "visibility": "public" });
    let request = reqwest::Client::new().post(format!("{url}/v1/rooms")).bearer_auth(token).json(&body);
    let answer: Value = request.send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
    Some(answer["room"].as_str()?.to_owned())
}

/// The names of the public rooms; nothing while they cannot be had.
pub async fn public_rooms(url: &str, token: &str) -> Option<Vec<String>> {
    let request = reqwest::Client::new().get(format!("{url}/v1/rooms/public")).bearer_auth(token);
    let answer: Value = request.send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
    let items = answer["items"].as_array()?;
    Some(items.iter().filter_map(|room| Some(room["name"].as_str()?.to_owned())).collect())
}
