//! What the programs of the product have in common: read the settings, log, run until told to stop.

use std::{error::Error, process::ExitCode};

use crate::{
    config::Reader,
    lifecycle::{self, Shutdown},
    telemetry,
};

type AnyError = Box<dyn Error + Send + Sync>;

/// Runs the program `name` on the settings that `read` reads from the environment, until a signal. Nothing is started
/// before all settings are valid; what goes wrong is told on standard error, with its causes.
pub async fn run<C, E, F>(
    name: &'static str,
    read: impl FnOnce(&mut Reader) -> C,
    serve: impl FnOnce(C, Shutdown) -> F,
) -> ExitCode
where
    E: Error + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    match until_stopped(name, read, serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut words = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                words = format!("{words}: {error}");
                cause = error.source();
            }
            eprintln!("error: {words}");
            ExitCode::FAILURE
        }
    }
}

async fn until_stopped<C, E, F>(
    name: &'static str,
    read: impl FnOnce(&mut Reader) -> C,
    serve: impl FnOnce(C, Shutdown) -> F,
) -> Result<(), AnyError>
where
    E: Error + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    let mut reader = Reader::from_env();
    let logging = telemetry::Config::read(&mut reader);
    let config = read(&mut reader);
    let limits = lifecycle::Config::read(&mut reader);
    reader.finish()?;
    let _logging = telemetry::init(&logging, name)?;

    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let serving = shutdown.spawn_essential(name, serve(config, shutdown.clone()));
    shutdown.finish(limits).await;
    if serving.is_finished() {
        serving.await??;
    }
    Ok(())
}
