//! The directory of `natterjack up`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use natterjack_stack::os_user::OsUser;

/// Where Postgres keeps its data when its user cannot enter the directory itself.
const ELSEWHERE: &str = "/var/lib/natterjack";
/// What the other commands read to find the installation.
pub const ENVIRONMENT: &str = "environment";

/// The directory, held by this process.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and takes it for this process alone.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let path = path.canonicalize()?;
        let file = path.join("lock");
        let lock = OpenOptions::new().create(true).append(true).open(&file);
        let lock = lock.with_context(|| format!("{} cannot be written", file.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `natterjack up` is running on {}; stop it first, or choose another directory with --data",
                path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).context("locking the data directory"),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Below the directory if the user of Postgres can enter there.
    pub fn postgres(&self) -> anyhow::Result<PathBuf> {
        let inside = self.join("postgres");
        match OsUser::for_postgres()? {
            Some(user) if !user.can_reach(&inside) => {
                let name = self.path.display().to_string().replace('/', "-");
                Ok(Path::new(ELSEWHERE).join(name.trim_start_matches('-')).join("postgres"))
            }
            _ => Ok(inside),
        }
    }

    /// A value kept from one run to the next, such as a port.
    pub fn kept<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        fs::read_to_string(self.join(name)).ok()?.trim().parse().ok()
    }

    pub fn keep(&self, name: &str, value: impl std::fmt::Display) -> anyhow::Result<()> {
        fs::write(self.join(name), format!("{value}\n")).with_context(|| format!("{name} cannot be kept"))
    }
}

/// Replaces the file in one step; only the owner may read it.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&unfinished).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let refused = DataDir::open(dir.path()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("is running on"), "{refused}");
        drop(first);
        assert!(DataDir::open(dir.path()).is_ok());
    }

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_private(&path, "1").unwrap();
        write_private(&path, "2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
