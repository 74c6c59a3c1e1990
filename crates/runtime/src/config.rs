//! Configuration from environment variables.
//!
//! A [`Reader`] is handed to each concern's `Config::read`, takes down every problem it meets, and
//! reports them together in [`Reader::finish`], before any port opens. Whoever reads a variable makes
//! it known: a `NATTERJACK_` variable that nobody read is a problem too, so a typo never passes for
//! a default.

mod errors;
mod secret;
mod spelling;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::{self, Display},
    fs,
    io::Read as _,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

pub use self::{
    errors::{ConfigErrors, Problem},
    secret::Secret,
};

/// What every variable's name begins with; all others are ignored.
pub const PREFIX: &str = "NATTERJACK_";

/// The greatest length of a file named by a `_FILE` variable, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reads variables and collects what is wrong with them.
///
/// Every method that meets a problem notes it and returns the default (or an empty value): the result
/// may be used only after [`Reader::finish`] succeeded.
///
/// - An empty value counts as unset.
/// - `NAME_FILE` names a file that holds the value of `NAME` (≤ 64 KiB, white space at the end is cut off),
///   so that a secret need not stand in the environment.
/// - The value of a secret, or one that came from a file, is never repeated in a message.
#[derive(Debug, Default)]
pub struct Reader {
    values: BTreeMap<String, Value>,
    known: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Reads the environment of this process.
    pub fn from_env() -> Self {
        let mut reader = Self::default();
        for (name, value) in std::env::vars_os() {
            reader.insert_os(&name, value);
        }
        reader
    }

    /// Reads the given pairs and nothing else. The last of equal names wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut reader = Self::default();
        for (name, value) in pairs {
            reader.insert(name.into(), value.into());
        }
        reader
    }

    /// A text; required when there is no default.
    pub fn text(&mut self, name: &str, default: Option<&str>) -> String {
        match (self.lookup(name), default) {
            (Some(value), _) => value.text,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                self.missing(name);
                String::new()
            }
        }
    }

    /// A required secret.
    pub fn secret(&mut self, name: &str) -> Secret {
        if let Some(value) = self.lookup(name) {
            return Secret::new(value.text);
        }
        self.missing(name);
        Secret::default()
    }

    /// A secret, or nothing.
    pub fn optional_secret(&mut self, name: &str) -> Option<Secret> {
        self.lookup(name).map(|value| Secret::new(value.text))
    }

    /// A value of any type that can be read from text.
    pub fn parse<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr<Err: Display>,
    {
        self.optional(name).unwrap_or(default)
    }

    /// A value of any type that can be read from text, or nothing.
    pub fn optional<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.lookup(name)?;
        match value.text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fail(name, format!("{} is not valid: {error}", value.quoted()));
                None
            }
        }
    }

    /// A value that must lie within `range`.
    pub fn in_range<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        match self.optional::<T>(name) {
            None => default,
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                let (least, most) = (range.start(), range.end());
                self.fail(name, format!("{value} is not within {least} to {most}"));
                default
            }
        }
    }

    /// A list parted by commas; white space around an item does not count. Never empty unless the default is.
    pub fn list<T>(&mut self, name: &str, default: &str) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.lookup(name).unwrap_or_else(|| Value::plain(default));
        let items = value.text.split(',').map(str::trim);
        let items = items.filter(|item| !item.is_empty()).map(str::parse);
        match items.collect::<Result<Vec<T>, _>>() {
            Ok(items) if items.is_empty() && !default.is_empty() => {
                self.fail(name, "the list is empty");
                items
            }
            Ok(items) => items,
            Err(error) => {
                self.fail(name, format!("{} is not valid: {error}", value.quoted()));
                Vec::new()
            }
        }
    }

    /// A span of time in whole milliseconds.
    pub fn millis(&mut self, name: &str, default_ms: u64) -> Duration {
        Duration::from_millis(self.parse(name, default_ms))
    }

    /// A span of time in whole seconds.
    pub fn secs(&mut self, name: &str, default_secs: u64) -> Duration {
        Duration::from_secs(self.parse(name, default_secs))
    }

    /// Notes a problem that only the caller can see.
    pub fn fail(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(name, message));
    }

    /// Succeeds when no problem was met and every variable was read, or is another process's: all processes of an
    /// installation may share one environment.
    ///
    /// Call it once, after everything was read.
    pub fn finish(mut self) -> Result<(), ConfigErrors> {
        for name in self.values.keys() {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            let known = self.known.contains(name) || self.known.contains(plain);
            if !known && !is_documented(plain) {
                let problem = match spelling::closest(name, &self.known) {
                    Some(near) => format!("unknown variable; did you mean {near}?"),
                    None => "unknown variable".to_owned(),
                };
                self.problems.push(Problem::new(name, problem));
            }
        }
        ConfigErrors::check(self.problems)
    }

    fn insert(&mut self, name: String, text: String) {
        if name.starts_with(PREFIX) && !text.is_empty() {
            self.values.insert(name, Value::plain(text));
        }
    }

    fn insert_os(&mut self, name: &OsString, value: OsString) {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => self.insert(name, value),
            Err(_) if name.starts_with(PREFIX) => {
                self.known.insert(name.clone());
                self.fail(&name, "the value is not UTF-8");
            }
            Err(_) => {}
        }
    }

    fn lookup(&mut self, name: &str) -> Option<Value> {
        debug_assert!(name.starts_with(PREFIX), "{name} would never be found");
        self.known.insert(name.to_owned());
        let path_name = format!("{name}_FILE");
        let path = self.values.get(&path_name).cloned();
        let direct = self.values.get(name).cloned();
        match (direct, path) {
            (Some(_), Some(_)) => {
                self.fail(name, format!("set both as {name} and as {path_name}"));
                None
            }
            (None, Some(path)) => match read_file(&path.text) {
                Ok(text) => Some(text).filter(|t| !t.is_empty()).map(Value::from_file),
                Err(error) => {
                    let message = format!("{} cannot be read: {error}", path.quoted());
                    self.fail(&path_name, message);
                    None
                }
            },
            (direct, None) => direct,
        }
    }

    /// Notes that a required variable is missing, unless its `_FILE` already is a problem.
    fn missing(&mut self, name: &str) {
        let explained = |p: &Problem| p.name() == name || p.name() == format!("{name}_FILE");
        if !self.problems.iter().any(explained) {
            self.fail(name, "required but not set");
        }
    }
}

#[derive(Clone)]
struct Value {
    text: String,
    confidential: bool,
}

impl Value {
    fn plain(text: impl Into<String>) -> Self {
        let (text, confidential) = (text.into(), false);
        Self { text, confidential }
    }

    fn from_file(text: String) -> Self {
        let confidential = true;
        Self { text, confidential }
    }

    fn quoted(&self) -> String {
        if self.confidential {
            return "the file's content".to_owned();
        }
        format!("{:?}", self.text)
    }
}

/// Any value may turn out to be a secret: none is shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

fn read_file(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let mut file = fs::File::open(path)?.take(MAX_FILE_BYTES + 1);
    if file.read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("longer than 64 KiB"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Every setting of every process stands in this page; a test holds the two equal.
fn is_documented(name: &str) -> bool {
    const PAGE: &str = include_str!("../../../docs/configuration.md");
    PAGE.contains(&format!("`{name}`"))
}

#[cfg(test)]
mod tests;
