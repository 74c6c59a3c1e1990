//! The files beside a server's data: its log, its lock, the port it last had.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::StartError;

/// A log longer than this when the server starts is moved aside to `….1`, replacing an older one.
const LOG_ROTATE_BYTES: u64 = 4 * 1024 * 1024;
/// What an error message quotes of a log.
const LOG_TAIL_BYTES: u64 = 2_000;
/// How long a start waits for the last server in the directory to be gone: a killed Postgres takes its
/// backends along within moments, but not at once.
const LOCK_WAIT: Duration = Duration::from_secs(15);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The files of one server in its directory.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub dir: PathBuf,
    name: &'static str,
}

impl Files {
    pub fn new(dir: impl Into<PathBuf>, name: &'static str) -> Self {
        Self { dir: dir.into(), name }
    }

    pub fn create_dir(&self) -> Result<(), StartError> {
        fs::create_dir_all(&self.dir).map_err(StartError::io("creating a directory", &self.dir))
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    fn port_path(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{}.{what}.port", self.name))
    }

    /// The port that `what` had when it last ran here.
    pub fn remembered_port(&self, what: &str) -> Option<u16> {
        fs::read_to_string(self.port_path(what)).ok()?.trim().parse().ok()
    }

    pub fn remember_port(&self, what: &str, port: u16) -> Result<(), StartError> {
        let path = self.port_path(what);
        fs::write(&path, format!("{port}\n")).map_err(StartError::io("writing a file", path))
    }

    /// Leaves the server's process id for people and scripts; nothing here reads it.
    pub fn note_pid(&self, pid: u32) -> Result<(), StartError> {
        let path = self.dir.join(format!("{}.pid", self.name));
        fs::write(&path, format!("{pid}\n")).map_err(StartError::io("writing a file", path))
    }

    /// Takes the directory's lock; waits, bounded, for a server that is just ending.
    ///
    /// The lock belongs to the open file. The server inherits it and never looks at it, so it is held as long as
    /// any process of that server lives, and no longer. Cancel safe.
    pub async fn lock(&self) -> Result<File, StartError> {
        let path = self.dir.join(format!("{}.lock", self.name));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(StartError::io("opening a lock file", &path))?;
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_POLL).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(StartError::InUse { dir: self.dir.clone() });
                }
                Err(TryLockError::Error(e)) => {
                    return Err(StartError::io("locking a file", path)(e));
                }
            }
        }
    }

    /// Opens the log for appending, moved aside first when it has grown. Call with the lock held.
    pub fn open_log(&self) -> Result<File, StartError> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|m| m.len() > LOG_ROTATE_BYTES) {
            let old = path.with_extension("log.1");
            fs::rename(&path, old).map_err(StartError::io("rotating a log", &path))?;
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(StartError::io("opening a log", path))
    }

    /// The end of what was logged after position `from`, in bytes.
    pub fn log_tail(&self, from: u64) -> String {
        read_tail(&self.log_path(), from).unwrap_or_default()
    }
}

fn read_tail(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES).max(from);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
