//! Which installation a command is about: the process's environment, or a file that `natterjack up` left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use natterjack_runtime::config::{PREFIX, Reader};

use crate::{Target, data_dir::ENVIRONMENT};

/// The owner of the schemas, for migrations and replays.
pub const MIGRATOR_URL: &str = "NATTERJACK_POSTGRES_MIGRATOR_URL";
/// A superuser or one that may create roles; with it `migrate` makes the roles too.
pub const ADMIN_URL: &str = "NATTERJACK_POSTGRES_ADMIN_URL";
/// The passwords that `migrate` gives the roles: migrator, front, projector.
pub const ROLE_PASSWORDS: [&str; 3] = [
    "NATTERJACK_POSTGRES_MIGRATOR_PASSWORD",
    "NATTERJACK_POSTGRES_FRONT_PASSWORD",
    "NATTERJACK_POSTGRES_PROJECTOR_PASSWORD",
];
/// Where clients reach the product, for `doctor`.
pub const PUBLIC_URL: &str = "NATTERJACK_PUBLIC_URL";

/// Any of these in the environment names an installation.
const NAMING: [&str; 4] = ["NATTERJACK_NATS_URL", "NATTERJACK_POSTGRES_URL", MIGRATOR_URL, ADMIN_URL];
const DEFAULT_DIR: &str = ".data";

/// Variables, and the directory if there is one.
#[derive(Debug)]
pub struct Environment {
    pub pairs: Vec<(String, String)>,
    pub data: Option<PathBuf>,
}

impl Environment {
    /// The settings of `--data`, else the environment, else those in `.data`. What the environment sets besides counts
    /// in every case.
    pub fn load(target: &Target) -> anyhow::Result<Self> {
        let own = of_process();
        let named = own.iter().any(|(n, _)| NAMING.contains(&n.trim_end_matches("_FILE")));
        let data = match &target.data {
            Some(dir) => Some(dir.clone()),
            None if named => None,
            None if Path::new(DEFAULT_DIR).join(ENVIRONMENT).exists() => Some(PathBuf::from(DEFAULT_DIR)),
            None => {
                bail!("there are no settings in the environment and no {DEFAULT_DIR} here: use --data DIR")
            }
        };
        let mut pairs = match &data {
            Some(dir) => read(&dir.join(ENVIRONMENT))?,
            None => Vec::new(),
        };
        pairs.extend(own);
        Ok(Self { pairs, data })
    }

    pub fn reader(&self) -> Reader {
        Reader::from_pairs(self.pairs.iter().cloned())
    }
}

/// The product's variables in this process's environment.
pub fn of_process() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read: has `natterjack up` run there?", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// One `NAME=value` in each line.
pub fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match line.split_once('=') {
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => bail!("line {} is not of the form NAME=value", index + 1),
        }
    }
    Ok(pairs)
}

pub fn render<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let lines: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_rendered_is_read_again() {
        let pairs = vec![("A".to_owned(), "x=y z".to_owned()), ("B".to_owned(), String::new())];
        let text = render(pairs.iter().map(|(n, v)| (n, v)));
        assert_eq!(parse(&format!("# comment\n\n{text}")).unwrap(), pairs);
        let error = parse("A=1\noops").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_directory_without_settings_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target { data: Some(dir.path().to_owned()) };
        let error = Environment::load(&target).unwrap_err();
        assert!(error.to_string().contains("has `natterjack up` run there"), "{error}");
    }
}
