//! A projector as a process of its own. Its settings come from the environment: see `docs/configuration.md`.

use std::process::ExitCode;

use clap::Parser;
use natterjack_projection::Config;
use natterjack_runtime::{
    config::Reader,
    lifecycle::{self, Shutdown},
    telemetry,
};

/// Folds the event log into Postgres. All settings come from the environment; docs/configuration.md lists them.
#[derive(Parser)]
#[command(name = "projector", version)]
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
    let _logging = telemetry::init(&logging, "projector")?;

    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let projector = natterjack_projection::run(config, shutdown.clone());
    let projector = shutdown.spawn_essential("projector", projector);
    shutdown.finish(limits).await;
    if projector.is_finished() {
        projector.await??;
    }
    Ok(())
}
