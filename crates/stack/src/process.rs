//! A child process that cannot outlive this one.
//!
//! The child is started by a small shell script (`guard.sh`) which leaves a watcher behind and then *becomes* the
//! server, so the process id is the server's own. The watcher holds the reading end of a pipe whose writing end
//! only this process has: when this process ends, in whatever way, the pipe ends and the watcher kills the server.
//! No `unsafe`, and the same on Linux and macOS.
//!
//! The child has a process group of its own, so a Ctrl-C in the terminal reaches this process only, which then
//! stops its children in order.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::{sync::watch, time::timeout};

use crate::os_user::OsUser;

const GUARD: &str = include_str!("guard.sh");

/// How to start a child.
#[derive(Debug)]
pub struct Spec {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub envs: Vec<(&'static str, OsString)>,
    pub dir: PathBuf,
    /// Run as this user; only root can.
    pub user: Option<OsUser>,
    /// Both output streams.
    pub log: File,
    /// Inherited and never used: held open as long as the server or a child of it lives.
    pub lock: File,
    /// What ends the server when this process is gone or the handle is dropped; after five seconds `SIGKILL` follows.
    pub last_signal: LastSignal,
}

/// How a server that nobody waits for is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastSignal {
    /// `SIGKILL`: for servers without children of their own.
    Kill,
    /// `SIGQUIT`: lets Postgres take its own children along, without writing anything more.
    Quit,
}

impl LastSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Quit => Signal::QUIT,
        }
    }
}

/// A running or ended child. Dropping it ends the child and waits until it is gone, five seconds at most.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    exited: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
    last_signal: LastSignal,
    log_start: u64,
}

#[derive(Debug)]
struct Shared {
    pid: Pid,
    /// `None` once reaped: from then on the process id may be somebody else's and gets no signal.
    child: Mutex<Option<Child>>,
}

impl Shared {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts the child. It may still fail to become ready: watch [`Process::exited`].
    pub fn spawn(spec: Spec) -> io::Result<Self> {
        let last_signal = spec.last_signal;
        let log_start = spec.log.metadata()?.len();
        let mut child = command(spec).spawn()?;
        let release = child.stdin.take();
        let pid = Pid::from_child(&child);
        let shared = Arc::new(Shared { pid, child: Mutex::new(Some(child)) });
        let (sender, exited) = watch::channel(None);
        let reaper = thread::Builder::new().name(format!("reap {pid:?}")).spawn({
            let shared = Arc::clone(&shared);
            move || reap(&shared, release, &sender)
        })?;
        Ok(Self { shared, exited, reaper: Some(reaper), last_signal, log_start })
    }

    /// The process id of the server itself.
    pub fn pid(&self) -> u32 {
        self.shared.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How long the log was when the child started, in bytes.
    pub fn log_start(&self) -> u64 {
        self.log_start
    }

    /// Waits until the child has ended. Cancel safe.
    pub async fn exited(&self) -> ExitStatus {
        let mut exited = self.exited.clone();
        let status = match exited.wait_for(Option::is_some).await {
            Ok(status) => *status,
            // The reaper is gone without a word, which it never is.
            Err(_) => None,
        };
        status.unwrap_or_else(|| ExitStatus::from_raw(1 << 8))
    }

    /// Sends a signal; none when the child has ended.
    pub fn signal(&self, signal: Signal) {
        if self.shared.child().is_some()
            && let Err(error) = kill_process(self.shared.pid, signal)
        {
            tracing::warn!(pid = self.pid(), ?signal, %error, "signal not delivered");
        }
    }

    /// `SIGSTOP`, and waits until the child stands still or has ended. Its threads stop one after the other, so the
    /// signal alone says nothing.
    pub async fn suspend(&self) {
        self.signal(Signal::STOP);
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let stopped = || !matches!(waitid(WaitId::Pid(self.shared.pid), options), Ok(None));
        while self.shared.child().is_some() && !stopped() {
            tokio::time::sleep(SUSPEND_POLL).await;
        }
    }

    /// Asks the child to end with `signal`, and kills it when it has not within the time given.
    pub async fn stop(&self, signal: Signal, within: Duration) -> ExitStatus {
        self.signal(signal);
        // A suspended child would keep the signal for later.
        self.signal(Signal::CONT);
        if let Ok(status) = timeout(within, self.exited()).await {
            return status;
        }
        tracing::warn!(pid = self.pid(), "did not end in time: killed");
        self.kill_hard().await
    }

    /// `SIGKILL`, and waits until the child is gone.
    pub async fn kill_hard(&self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.exited().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.last_signal.signal());
        self.signal(Signal::CONT);
        if let Some(reaper) = self.reaper.take() {
            if self.last_signal != LastSignal::Kill && !ended_within(&reaper, DROP_WAIT) {
                self.signal(Signal::KILL);
            }
            let _ = reaper.join();
        }
    }
}

const DROP_WAIT: Duration = Duration::from_secs(5);
const SUSPEND_POLL: Duration = Duration::from_millis(1);
const DROP_POLL: Duration = Duration::from_millis(2);

fn ended_within(reaper: &JoinHandle<()>, limit: Duration) -> bool {
    let start = std::time::Instant::now();
    while !reaper.is_finished() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(DROP_POLL);
    }
    true
}

fn command(spec: Spec) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", GUARD, "guard", spec.last_signal.name()])
        .arg(spec.program)
        .args(spec.args)
        .envs(spec.envs)
        .current_dir(spec.dir)
        .stdin(Stdio::piped())
        .stdout(spec.lock)
        .stderr(spec.log)
        .process_group(0);
    if let Some(user) = spec.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Waits for the child's end without taking its process id from it, calls off the watcher, and only then reaps.
fn reap(shared: &Shared, release: Option<ChildStdin>, exited: &watch::Sender<Option<ExitStatus>>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(shared.pid), options) {}
    if let Some(mut pipe) = release {
        // It fails when the watcher has gone already, which is as good.
        let _ = pipe.write_all(b"ended\n");
    }
    let status = match shared.child().take() {
        Some(mut child) => child.wait().ok(),
        None => None,
    };
    exited.send_replace(Some(status.unwrap_or_else(|| ExitStatus::from_raw(1 << 8))));
}
