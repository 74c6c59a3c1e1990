use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{action} failed: {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    #[error("port {port} is taken")]
    PortTaken { port: u16 },
    #[error("no free port found")]
    NoFreePort(#[source] io::Error),
    #[error("{program} ended before it was ready ({status}); its last lines:\n{tail}")]
    Exited { program: &'static str, status: ExitStatus, tail: String },
    #[error("{program} was not ready within {} s; its last lines:\n{tail}", within.as_secs())]
    NotReady { program: &'static str, within: Duration, tail: String },
    #[error("the operating system's user {user} cannot reach {}: Postgres does not run as root, choose a directory open to that user", dir.display())]
    Unreachable { dir: PathBuf, user: String },
    #[error(
        "no operating system user to run Postgres as (tried: postgres, nobody); Postgres does not run as root"
    )]
    NoUser,
    #[error("{program} failed ({status}):\n{output}")]
    SetUp { program: &'static str, status: ExitStatus, output: String },
    #[error("the new Postgres refused its administrator")]
    Admin(#[from] tokio_postgres::Error),
}

impl StartError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
