//! A front as a process of its own. Its settings come from the environment: see `docs/configuration.md`.

use std::process::ExitCode;

use clap::Parser;
use natterjack_front::Config;
use natterjack_runtime::{
    config::Reader,
    lifecycle::{self, Shutdown},
    telemetry,
};

/// Serves clients: REST, WebSocket, live events. All settings come from the environment; docs/configuration.md lists them.
#[derive(Parser)]
#[command(name = "front", version)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut reader = Reader::from_env();
    let logging = telemetry::Config::read(&mut reader);
    let config = Config::read(&mut reader);
    let limits = lifecycle::Config::read(&mut reader);
    reader.finish()?;
    let _logging = telemetry::init(&logging, "front")?;

    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let front = natterjack_front::run(config, shutdown.clone());
    let front = shutdown.spawn_essential("front", front);
    shutdown.finish(limits).await;
    if front.is_finished() {
        front.await??;
    }
    Ok(())
}
