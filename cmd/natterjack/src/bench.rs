//! `natterjack bench`.

use std::{path::PathBuf, process::ExitCode};

/// Without options: all scenarios that do not take hours.
#[derive(clap::Args)]
pub struct Options {
    /// Short runs: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Also write the rows to a file: a list of `{name, value, unit, bound, ratio, goal, met}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these.
    scenarios: Vec<String>,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { quick, json, scenarios } = options;
    natterjack_bench::run(natterjack_bench::Options { quick, json, only: scenarios }).await?;
    Ok(ExitCode::SUCCESS)
}
