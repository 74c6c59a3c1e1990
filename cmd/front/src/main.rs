//! A front as a process of its own. All settings come from the environment; see `docs/configuration.md`.

use anyhow::Context;
use natterjack_front::Config;
use natterjack_runtime::{
    config::Reader,
    lifecycle::Shutdown,
    metrics,
    ops::{self, Readiness},
    telemetry,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut reader = Reader::from_env();
    let telemetry = telemetry::Config::read(&mut reader);
    let config = Config::read(&mut reader);
    // `natterjack doctor` reads it, from the same environment.
    reader.allow("NATTERJACK_PUBLIC_URL");
    reader.finish()?;

    let _guard = telemetry::init(&telemetry, "front")?;
    let exporter = metrics::install()?;
    natterjack_front::metrics::describe();
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let ops_listener = TcpListener::bind(config.ops.listen)
        .await
        .with_context(|| format!("listen on {}", config.ops.listen))?;
    tracing::info!(address = %listener.local_addr()?, ops = %ops_listener.local_addr()?, node = config.node, "front");

    // The operators' endpoints outlive the drain, so that it can be watched.
    let (readiness, ops_stop) = (Readiness::new(), CancellationToken::new());
    let serving = tokio::spawn(ops::serve(ops_listener, readiness.clone(), exporter, ops_stop.clone()));
    let limits = config.lifecycle;
    let front = shutdown
        .spawn_essential("front", natterjack_front::run(config, listener, readiness, shutdown.clone()));
    let ending = shutdown.finish(limits).await;
    ops_stop.cancel();
    serving.await??;
    if front.is_finished() {
        front.await??;
    }
    tracing::info!(?ending, "front has ended");
    Ok(())
}
