//! Fronts and projectors as processes of their own, to be killed.

use std::{ffi::OsString, fs::File, path::PathBuf};

use natterjack_stack::{ports, process};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Site, eventually};

/// A running `front`. Dropping it kills it.
pub struct FrontProcess {
    program: Program,
    port: u16,
}

/// A running `projector`. Dropping it kills it.
pub struct ProjectorProcess {
    program: Program,
}

struct Program {
    process: process::Process,
    ops_port: u16,
    _dir: TempDir,
}

impl<N> Site<N> {
    /// Starts a front and waits until it is ready.
    pub async fn front_process(&self) -> FrontProcess {
        self.front_process_with(&[]).await
    }

    /// The same with settings of its own, without the prefix `NATTERJACK_`.
    pub async fn front_process_with(&self, own: &[(&str, &str)]) -> FrontProcess {
        self.front_process_on(ports::free().expect("a port is free"), own, &[]).await
    }

    /// A front whose computer's clock is off by so much, such as `+1h`; its steady clock is as it should be. None where
    /// Debian's `faketime` is missing.
    pub async fn front_process_skewed(&self, by: &str) -> Option<FrontProcess> {
        let library = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
        let library =
            library.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())?;
        let environment = [
            ("LD_PRELOAD", library.to_str()?),
            ("FAKETIME", by),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        Some(self.front_process_on(ports::free().ok()?, &[], &environment).await)
    }

    async fn front_process_on(
        &self,
        port: u16,
        own: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> FrontProcess {
        let mut settings = self.settings("natterjack_front");
        settings.extend(own.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned())));
        settings.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        settings.insert("NATTERJACK_LISTEN".into(), format!("127.0.0.1:{port}"));
        let program = Program::start(self, "front", settings).await;
        FrontProcess { program, port }
    }

    /// Starts a projector and waits until it is ready.
    pub async fn projector_process(&self) -> ProjectorProcess {
        let projector = self.projector_process_starting(&[]);
        projector.program.ready(self, "projector").await;
        projector
    }

    /// Starts a projector, with settings of its own, that need not get ready.
    pub fn projector_process_starting(&self, own: &[(&str, &str)]) -> ProjectorProcess {
        let mut settings = self.settings("natterjack_projector");
        settings.extend(own.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned())));
        ProjectorProcess { program: Program::spawn("projector", settings) }
    }

    /// What a command of the operators' says, and whether it went well.
    pub async fn natterjack(&self, arguments: &[&str]) -> (bool, String) {
        let url = |role| self.settings(role)["NATTERJACK_POSTGRES_URL"].clone();
        let output = tokio::process::Command::new(binary("natterjack"))
            .args(arguments)
            .envs(self.settings("natterjack_projector"))
            .env("NATTERJACK_POSTGRES_MIGRATOR_URL", url("natterjack_migrator"))
            .kill_on_drop(true)
            .output();
        let output = output.await.expect("the command runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl FrontProcess {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The base URL of the operators' endpoints.
    pub fn ops_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.ops_port)
    }

    /// `SIGKILL`, and waits until it is gone.
    pub async fn kill(self) {
        self.program.process.kill_hard().await;
    }

    /// Stops it where it is (`SIGSTOP`).
    pub async fn suspend(&self) {
        self.program.process.suspend().await;
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.program.process.signal(Signal::CONT);
    }

    /// Tells it to drain, waits for its end, and starts it again where it was, with the settings of the site.
    pub async fn restart(self, site: &Site) -> Self {
        let status = self.drain().await;
        assert!(status.success(), "{status}");
        site.front_process_on(self.port, &[], &[]).await
    }

    /// Tells it to drain, as an operator would, and waits for its end.
    pub async fn drain(&self) -> std::process::ExitStatus {
        self.program.process.stop(Signal::TERM, crate::PATIENCE).await
    }
}

impl ProjectorProcess {
    pub fn ops_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.ops_port)
    }

    /// `SIGKILL`, and waits until it is gone.
    pub async fn kill(self) {
        self.program.process.kill_hard().await;
    }
}

impl Program {
    async fn start<N>(
        site: &Site<N>,
        name: &str,
        settings: std::collections::BTreeMap<String, String>,
    ) -> Self {
        let program = Self::spawn(name, settings);
        program.ready(site, name).await;
        program
    }

    fn spawn(name: &str, mut settings: std::collections::BTreeMap<String, String>) -> Self {
        let ops_port = ports::free().expect("a port is free");
        settings.insert("NATTERJACK_OPS_LISTEN".into(), format!("127.0.0.1:{ops_port}"));
        let dir = TempDir::with_prefix(format!("{name}-")).expect("a directory can be made");
        let process = process::Process::spawn(process::Spec {
            program: PathBuf::from("/usr/bin/env"),
            args: arguments(name, settings),
            envs: vec![],
            dir: dir.path().to_owned(),
            user: None,
            log: File::create(dir.path().join("log")).expect("a file can be made"),
            lock: File::create(dir.path().join("lock")).expect("a file can be made"),
            last_signal: process::LastSignal::Kill,
        })
        .expect("the program starts");
        Self { process, ops_port, _dir: dir }
    }

    async fn ready<N>(&self, site: &Site<N>, name: &str) {
        let ready = format!("http://127.0.0.1:{}/readyz", self.ops_port);
        eventually(&format!("{name} to be ready"), async || {
            let answer = site.http.get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

/// `env` replaces itself with the program, which so has the settings and the process id.
pub fn arguments(name: &str, settings: std::collections::BTreeMap<String, String>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        settings.into_iter().map(|(name, value)| OsString::from(format!("{name}={value}"))).collect();
    arguments.push(binary(name).into());
    arguments
}

/// The workspace's own binary, beside the program that runs or, when that is a test, above it.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the program has a path");
    let dirs = own.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    let path = dirs.into_iter().find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace` first"))
}
