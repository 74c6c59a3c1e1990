//! A front as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use natterjack_front::Config;
use natterjack_runtime::program;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Serves clients: REST, WebSocket, live events. All settings come from the environment; docs/configuration.md lists them.
#[derive(Parser)]
#[command(name = "front", version)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    program::run("front", Config::read, natterjack_front::run).await
}
