//! A projector as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use natterjack_projection::Config;
use natterjack_runtime::program;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Folds the event log into Postgres. All settings come from the environment; docs/configuration.md lists them.
#[derive(Parser)]
#[command(name = "projector", version)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    program::run("projector", Config::read, natterjack_projection::run).await
}
