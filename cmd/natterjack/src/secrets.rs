//! Passwords and keys of an installation of `natterjack up`, made once.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use natterjack_database::Passwords;
use natterjack_identity::SigningKeys;
use natterjack_runtime::config::Secret;
use uuid::Uuid;

use crate::{data_dir::write_private, environment};

/// All of them, by name.
pub struct Secrets(BTreeMap<String, String>);

const PASSWORDS: [&str; 6] =
    ["nats", "postgres_admin", "postgres_migrator", "postgres_front", "postgres_projector", "demo"];
const AUTH_KEYS: &str = "auth_keys";

impl Secrets {
    /// Reads them, and makes those that are missing.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("{} cannot be read", path.display()))?,
        };
        let mut values: BTreeMap<String, String> =
            environment::parse(&text).with_context(|| path.display().to_string())?.into_iter().collect();
        let known = values.len();
        values.entry(AUTH_KEYS.to_owned()).or_insert_with(|| SigningKeys::generate("k1").expose().to_owned());
        for name in PASSWORDS {
            values.entry(name.to_owned()).or_insert_with(password);
        }
        if values.len() > known {
            write_private(path, &environment::render(&values))?;
        }
        Ok(Self(values))
    }

    /// The password of one of the components in `PASSWORDS`.
    pub fn password(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn auth_keys(&self) -> &str {
        self.password(AUTH_KEYS)
    }

    pub fn roles(&self) -> Passwords {
        let secret = |name| Secret::new(self.password(name).to_owned());
        Passwords {
            migrator: secret("postgres_migrator"),
            front: secret("postgres_front"),
            projector: secret("postgres_projector"),
        }
    }
}

/// 244 random bits in 64 letters and digits.
fn password() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn made_once_and_completed_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        fs::write(&path, "nats=old\n").unwrap();
        let first = Secrets::load(&path).unwrap();
        assert_eq!(first.password("nats"), "old");
        assert_eq!(first.password("demo").len(), 64);
        assert!(first.auth_keys().parse::<SigningKeys>().is_ok());
        let second = Secrets::load(&path).unwrap();
        assert_eq!(first.0, second.0);
    }
}
