//! The operating system's user that Postgres runs as, since it refuses to run as root.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
};

use crate::StartError;

/// Tried in this order when this process is root.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];
/// Search permission for others, the group, the owner.
const SEARCH: [u32; 3] = [0o001, 0o010, 0o100];

/// A user to run a child as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl OsUser {
    /// Who Postgres is to run as: nobody else (`None`) unless this process is root.
    pub fn for_postgres() -> Result<Option<Self>, StartError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        CANDIDATES.into_iter().find_map(Self::look_up).map(Some).ok_or(StartError::NoUser)
    }

    fn look_up(name: &str) -> Option<Self> {
        Some(Self { name: name.to_owned(), uid: id("-u", name)?, gid: id("-g", name)? })
    }

    /// Whether this user may enter `dir` (which may not exist yet) through every directory above it.
    pub fn can_reach(&self, dir: &Path) -> bool {
        let Ok(dir) = std::path::absolute(dir) else {
            return false;
        };
        dir.ancestors().all(|d| match fs::metadata(d) {
            Ok(meta) => self.may_search(&meta),
            // It will be made by this process, and be open to search.
            Err(_) => true,
        })
    }

    fn may_search(&self, meta: &fs::Metadata) -> bool {
        let [others, group, owner] = SEARCH;
        let bit = if meta.uid() == self.uid {
            owner
        } else if meta.gid() == self.gid {
            group
        } else {
            others
        };
        meta.mode() & bit != 0
    }

    pub(crate) fn give(&self, path: &Path) -> Result<(), StartError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(StartError::io("changing the owner", path))
    }
}

fn id(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_private_directory_of_somebody_else_is_out_of_reach() {
        let dir = tempfile::tempdir().unwrap();
        let stranger = OsUser { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.can_reach(&dir.path().join("postgres")));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.can_reach(&dir.path().join("postgres")));
    }
}
