//! What the programs of the product have in common: read the settings, log, run until told to stop.

use std::{error::Error, process::ExitCode};

use tokio::task::JoinHandle;

use crate::{
    config::Reader,
    lifecycle::{self, Ending, Shutdown},
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
    ended(&shutdown, limits, serving).await
}

/// Waits for the end, and tells what `serving` came to.
async fn ended<E>(
    shutdown: &Shutdown,
    limits: lifecycle::Config,
    serving: JoinHandle<Result<(), E>>,
) -> Result<(), AnyError>
where
    E: Error + Send + Sync + 'static,
{
    // One that does not stop has nothing to tell. Any other has ended, although its handle may not know yet.
    if shutdown.finish(limits).await != Ending::Abandoned {
        serving.await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_program_failed_by_is_told_however_soon_it_failed() {
        let limits =
            lifecycle::Config { drain_limit: Duration::from_secs(15), stop_limit: Duration::from_secs(5) };
        for _ in 0..1_000 {
            let shutdown = Shutdown::new();
            let failing = async { Err(io::Error::from(io::ErrorKind::AddrInUse)) };
            let serving = shutdown.spawn_essential("probe", failing);
            assert!(ended(&shutdown, limits, serving).await.is_err());
        }
    }
}
