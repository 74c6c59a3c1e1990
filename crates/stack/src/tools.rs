//! Finds the servers' programs.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest nats-server that works: earlier ones sync once per message and lack fixes for lost writes.
pub const MIN_NATS: (u32, u32) = (2, 15);
/// The oldest Postgres that works, a major version.
pub const MIN_POSTGRES: u32 = 15;

/// Names the program itself.
pub const NATS_SERVER_VARIABLE: &str = "NATTERJACK_NATS_SERVER";
/// Names the directory with `postgres` and `initdb`.
pub const POSTGRES_BIN_VARIABLE: &str = "NATTERJACK_POSTGRES_BIN";

/// Where versions of Postgres are kept side by side; the newest that is new enough is taken.
const POSTGRES_ROOTS: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Library/PostgreSQL", "bin"),
];

/// Programs found and fit to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    pub nats_server: PathBuf,
    /// As the program reports it, such as `2.15.1`.
    pub nats_version: String,
    /// Holds `postgres` and `initdb`.
    pub postgres_bin: PathBuf,
    /// As the program reports it, such as `15.18`.
    pub postgres_version: String,
}

/// What was not found, all of it.
#[derive(Debug, thiserror::Error)]
pub struct ToolsError {
    pub missing: Vec<String>,
}

impl fmt::Display for ToolsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.missing.join("\n"))
    }
}

impl Tools {
    /// Looks, in this order, at the environment, the project's `.tools/`, `PATH`, and the usual places.
    pub fn find() -> Result<Self, ToolsError> {
        match (find_nats(), find_postgres()) {
            (Ok((nats_server, nats_version)), Ok((postgres_bin, postgres_version))) => {
                Ok(Self { nats_server, nats_version, postgres_bin, postgres_version })
            }
            (nats, postgres) => {
                Err(ToolsError { missing: [nats.err(), postgres.err()].into_iter().flatten().collect() })
            }
        }
    }
}

type Found = Result<(PathBuf, String), String>;

fn find_nats() -> Found {
    let usable = |path: &Path| version(path).filter(|v| nats_is_new_enough(v));
    if let Some(path) = env::var_os(NATS_SERVER_VARIABLE).map(PathBuf::from) {
        return match usable(&path) {
            Some(version) => Ok((path, version)),
            None => Err(format!(
                "{NATS_SERVER_VARIABLE}={}: not a nats-server of version {}.{} or newer",
                path.display(),
                MIN_NATS.0,
                MIN_NATS.1
            )),
        };
    }
    project_tools()
        .into_iter()
        .map(|dir| dir.join("bin"))
        .chain(path_dirs())
        .map(|dir| dir.join("nats-server"))
        .find_map(|path| usable(&path).map(|version| (path, version)))
        .ok_or_else(|| {
            format!(
                "nats-server {}.{} or newer not found (run scripts/tools.sh, or set {NATS_SERVER_VARIABLE})",
                MIN_NATS.0, MIN_NATS.1
            )
        })
}

fn find_postgres() -> Found {
    let usable = |bin: &Path| {
        let version = version(&bin.join("postgres"))?;
        let fit = major(&version)? >= MIN_POSTGRES && bin.join("initdb").exists();
        fit.then_some(version)
    };
    if let Some(bin) = env::var_os(POSTGRES_BIN_VARIABLE).map(PathBuf::from) {
        return match usable(&bin) {
            Some(version) => Ok((bin, version)),
            None => Err(format!(
                "{POSTGRES_BIN_VARIABLE}={}: no postgres {MIN_POSTGRES} or newer with initdb there",
                bin.display()
            )),
        };
    }
    path_dirs()
        .into_iter()
        .filter_map(|dir| Some(dir.join("postgres").canonicalize().ok()?.parent()?.to_owned()))
        .chain(installed_postgres())
        .find_map(|bin| usable(&bin).map(|version| (bin, version)))
        .ok_or_else(|| {
            format!(
                "Postgres {MIN_POSTGRES} or newer not found (run scripts/tools.sh, or set {POSTGRES_BIN_VARIABLE})"
            )
        })
}

/// The `.tools` directory above the working directory, the program, or the sources it was built from.
fn project_tools() -> Option<PathBuf> {
    let starts =
        [env::current_dir().ok(), env::current_exe().ok(), Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")))];
    starts
        .into_iter()
        .flatten()
        .find_map(|start| start.ancestors().map(|dir| dir.join(".tools")).find(|dir| dir.is_dir()))
}

fn path_dirs() -> Vec<PathBuf> {
    env::var_os("PATH").map_or_else(Vec::new, |path| env::split_paths(&path).collect())
}

fn installed_postgres() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = POSTGRES_ROOTS
        .iter()
        .filter_map(|(root, below)| Some((std::fs::read_dir(root).ok()?, below)))
        .flat_map(|(entries, below)| {
            entries.flatten().filter_map(move |entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_prefix("postgresql@").unwrap_or(&name);
                Some((number.parse().ok()?, entry.path().join(below)))
            })
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The first word of the program's `--version` that begins like a version.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

fn major(version: &str) -> Option<u32> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Whether a version such as `2.15.1` is [`MIN_NATS`] or newer.
pub fn nats_is_new_enough(version: &str) -> bool {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let mut next = || parts.next().and_then(|p| p.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) => (major, minor) >= MIN_NATS,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("2.15.1", true),
            ("2.15.0-RC.1", true),
            ("2.100.0", true),
            ("3.0.0", true),
            ("2.9.25", false),
            ("2.14.6", false),
            ("1.99", false),
            ("", false),
            ("two", false),
        ] {
            assert_eq!(nats_is_new_enough(version), expected, "{version}");
        }
        assert_eq!(major("17beta1"), Some(17));
    }
}
