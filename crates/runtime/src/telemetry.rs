//! Log lines: to standard output and, if wished, to files that rotate daily (UTC).
//!
//! Writing never blocks the caller: when a writer cannot keep up, lines are dropped and counted
//! ([`Guard::dropped_lines`]).

use std::{io::IsTerminal as _, path::PathBuf, str::FromStr};

use tracing::Subscriber;
use tracing_appender::{
    non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt as _, registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::config::Reader;

/// Lines that may wait for one writer before lines are dropped.
const MAX_WAITING_LINES: usize = 16_384;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("pretty and json are known"),
        }
    }
}

/// What is logged, how and where to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Levels by module, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    pub format: Format,
    /// Where log files go, beside standard output.
    pub directory: Option<PathBuf>,
    /// Log files kept; one is made each day.
    pub kept_files: usize,
}

impl Config {
    /// Reads `NATTERJACK_LOG`, `…_LOG_FORMAT`, `…_LOG_DIR` and `…_LOG_KEEP_DAYS`.
    pub fn read(r: &mut Reader) -> Self {
        // What a pool says of a lost connection is said again, with what it was wanted for, by whoever wanted it.
        let filter = r.text("NATTERJACK_LOG", Some("info,deadpool=off"));
        if let Err(error) = EnvFilter::try_new(&filter) {
            r.fail("NATTERJACK_LOG", error.to_string());
        }
        Self {
            filter,
            format: r.parse("NATTERJACK_LOG_FORMAT", Format::Pretty),
            directory: r.optional("NATTERJACK_LOG_DIR"),
            kept_files: r.in_range("NATTERJACK_LOG_KEEP_DAYS", 7, 1..=3650),
        }
    }
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("the log filter is not valid")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("the log file cannot be made in {directory}")]
    File {
        directory: PathBuf,
        #[source]
        source: tracing_appender::rolling::InitError,
    },
    #[error("logging was started before")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keep it until the process ends: dropping it writes out the lines that still wait.
#[must_use = "log lines are lost when the guard is dropped early"]
#[derive(Debug)]
pub struct Guard {
    writers: Vec<(WorkerGuard, ErrorCounter)>,
}

impl Guard {
    /// Lines dropped so far because a writer could not keep up.
    pub fn dropped_lines(&self) -> usize {
        self.writers.iter().map(|(_, counter)| counter.dropped_lines()).sum()
    }
}

/// Starts logging for the whole process. `component` begins the log files' names.
pub fn init(config: &Config, component: &str) -> Result<Guard, InitError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(InitError::Filter)?;
    let mut guard = Guard { writers: Vec::new() };
    let colours = std::io::stdout().is_terminal();
    let mut layers = vec![layer(config.format, guard.writer(std::io::stdout()), colours)];
    if let Some(directory) = &config.directory {
        let file = file(config, component)
            .map_err(|source| InitError::File { directory: directory.clone(), source })?;
        layers.push(layer(config.format, guard.writer(file), false));
    }
    tracing_subscriber::registry().with(layers).with(filter).try_init().map_err(InitError::Twice)?;
    Ok(guard)
}

impl Guard {
    fn writer(&mut self, out: impl std::io::Write + Send + 'static) -> NonBlocking {
        let (writer, worker) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES).finish(out);
        self.writers.push((worker, writer.error_counter()));
        writer
    }
}

fn layer<S>(format: Format, writer: NonBlocking, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        Format::Pretty => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn file(
    config: &Config,
    component: &str,
) -> Result<RollingFileAppender, tracing_appender::rolling::InitError> {
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(component)
        .filename_suffix("log")
        .max_log_files(config.kept_files)
        .build(config.directory.as_deref().unwrap_or_else(|| ".".as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_bad_filter_and_format_are_configuration_errors() {
        let mut r = Reader::from_pairs([
            ("NATTERJACK_LOG", "natterjack=loud"),
            ("NATTERJACK_LOG_FORMAT", "xml"),
            ("NATTERJACK_LOG_KEEP_DAYS", "0"),
        ]);
        Config::read(&mut r);
        assert_eq!(r.finish().unwrap_err().problems().len(), 3);
    }

    /// The one test that starts logging: it is process-wide.
    #[test]
    fn lines_reach_the_file_when_the_guard_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            filter: "info".into(),
            format: Format::Json,
            directory: Some(directory.path().to_owned()),
            kept_files: 2,
        };
        let guard = init(&config, "probe").unwrap();
        tracing::info!(answer = 42, "hello file");
        tracing::debug!("filtered out");
        assert_eq!(guard.dropped_lines(), 0);
        assert!(matches!(init(&config, "probe"), Err(InitError::Twice(_))));
        drop(guard);

        let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let text = std::fs::read_to_string(&files[0]).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["message"], &line["answer"]), (&"hello file".into(), &42.into()));
    }

    #[test]
    fn a_log_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let directory = Some(file.path().join("logs"));
        let config = Config { filter: "info".into(), format: Format::Pretty, directory, kept_files: 1 };
        let error = init(&config, "probe").unwrap_err().to_string();
        assert!(error.contains("logs"), "{error}");
    }
}
