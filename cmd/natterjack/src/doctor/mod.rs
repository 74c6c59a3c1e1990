//! `natterjack doctor`: looks at an installation from outside, and says what to do.

mod database;
mod disk;
mod log;
mod public;
mod settings;

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use self::settings::Settings;
use crate::{Target, environment::Environment};

#[derive(clap::Args)]
pub struct Options {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It cannot be told, since something it needs failed or is not set.
    Skipped,
    /// It works, and should not stay so.
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, detail: detail.into(), hint: None }
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, detail: detail.into(), hint: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, detail: detail.into(), hint: Some(hint.into()) }
    }

    fn failed(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Status::Failed, detail: detail.into(), hint: Some(hint.into()) }
    }
}

/// Fails (exit code 1) when a check failed; warnings do not.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let environment = Environment::load(&options.target)?;
    let checks = Box::pin(examine(&environment)).await;
    let ok = checks.iter().all(|c| c.status != Status::Failed);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&Report { ok, checks })?);
    } else {
        print(environment.data.as_deref(), &checks);
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(environment: &Environment) -> Vec<Check> {
    let (settings, configuration) = Settings::read(environment);
    let mut checks = vec![configuration];
    let (log, database, public) = tokio::join!(
        log::check(&settings.log),
        database::check(settings.database.as_ref()),
        public::check(&settings.public_url),
    );
    checks.extend(log.checks);
    checks.extend(database.checks);
    let checkpoints = database.checkpoints.as_deref();
    let damage = log::after_checkpoints(&settings.log, checkpoints.unwrap_or_default()).await;
    checks.push(projector(damage, lag(&log.heads, checkpoints)));
    checks.push(disk::check(environment.data.as_deref()));
    checks.push(public);
    checks
}

/// A projector that cannot go on is worse than one that is behind.
fn projector(damage: Option<String>, lag: Check) -> Check {
    let hint = "the projector is halted: bring the stream back from another replica or a backup; see docs/operations.md";
    damage.map_or(lag, |damage| Check::failed("projector", damage, hint))
}

/// More than a projector that keeps up is ever behind.
const LAG_EVENTS_MAX: u64 = 5_000;

/// The streams' heads against the read model's checkpoints.
fn lag(heads: &[u64], checkpoints: Option<&[u64]>) -> Check {
    const NAME: &str = "projector";
    let Some(checkpoints) = checkpoints else {
        return Check::skipped(NAME, "the read model's checkpoints cannot be read");
    };
    if heads.is_empty() {
        return Check::skipped(NAME, "the log cannot be read");
    }
    let reached = |stream: usize| checkpoints.get(stream).copied().unwrap_or(0);
    let behind: u64 = heads.iter().enumerate().map(|(i, head)| head.saturating_sub(reached(i))).sum();
    let total: u64 = heads.iter().sum();
    let detail = format!("{behind} of {total} events behind");
    if behind > LAG_EVENTS_MAX {
        return Check::warning(NAME, detail, "is a projector running? Its /metrics tell how fast it is");
    }
    Check::ok(NAME, detail)
}

fn print(data: Option<&Path>, checks: &[Check]) {
    if let Some(dir) = data {
        println!("Settings from {}", dir.display());
    }
    for check in checks {
        let mark = match check.status {
            Status::Ok => "ok     ",
            Status::Skipped => "skipped",
            Status::Warning => "WARNING",
            Status::Failed => "FAILED ",
        };
        println!("{mark}  {:<14} {}", check.name, check.detail.replace('\n', "\n                         "));
        if let Some(hint) = &check.hint {
            println!("                         -> {hint}");
        }
    }
}

/// An error with everything that caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_summed_over_the_streams() {
        let status = |heads: &[u64], reached: Option<&[u64]>| lag(heads, reached).status;
        assert_eq!(lag(&[10, 20], Some(&[10, 15])).detail, "5 of 30 events behind");
        assert_eq!(status(&[9_000], Some(&[])), Status::Warning);
        assert_eq!(status(&[9_000], None), Status::Skipped);
        assert_eq!(status(&[], Some(&[])), Status::Skipped);
        assert_eq!(status(&[3], Some(&[7])), Status::Ok);
    }
}
