//! The fronts and the projector, all in this process.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use anyhow::bail;
use natterjack_runtime::{
    lifecycle::Shutdown,
    metrics::Exporter,
    ops::{self, Readiness},
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Options, limits, listeners, say, settings::Settings};

const FRONT_PORT: u16 = 8080;
const OPS_PORT: u16 = 9180;
const READY_POLL: Duration = Duration::from_millis(20);

pub struct Components {
    /// Where people go, one for each front.
    pub urls: Vec<String>,
    pub ops_urls: Vec<String>,
    pub first_config: natterjack_front::Config,
    readiness: Vec<(String, Readiness)>,
    /// Stops after the fronts: until then it has work.
    projector: Shutdown,
    /// The operators' endpoints end last.
    ops: CancellationToken,
}

impl Components {
    /// Starts all of them; none needs to be ready yet. `shutdown` is the fronts'.
    pub async fn start(
        options: &Options,
        settings: &Settings<'_>,
        exporter: Exporter,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (mut urls, mut ops_urls, mut readiness) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_config = None;
        let mut listeners = Vec::new();
        for index in 0..options.fronts {
            let name = format!("front-{}", index + 1);
            let listener = front_listener(options, settings, &name, index).await?;
            urls.push(format!("http://{}", listener.local_addr()?));
            listeners.push((index, name, listener));
        }
        for (index, name, listener) in listeners {
            let ops = listeners::bind(settings.data, &format!("{name}.ops"), OPS_PORT + index).await?;
            let (address, ops_address) = (listener.local_addr()?, ops.local_addr()?);
            let mut config = settings.front(&name, &address.to_string(), &ops_address.to_string())?.front;
            // A page of one front may go on with another.
            config.http.allow_origins(&urls)?;
            if config.web_dir.is_none() {
                config.web_dir = built_web_client();
            }
            first_config.get_or_insert_with(|| config.clone());
            let ready = Readiness::new();
            serve_ops(ops, &ready, exporter.clone(), &stop);
            let front = natterjack_front::serve(config, listener, ready.clone(), shutdown.clone());
            shutdown.spawn_essential("front", logged("front", front));
            ops_urls.push(ops_url(ops_address));
            readiness.push((name, ready));
        }
        let Some(first_config) = first_config else { bail!("no front to run") };

        let ops = listeners::bind(settings.data, "projector.ops", OPS_PORT + 100).await?;
        ops_urls.push(ops_url(ops.local_addr()?));
        let ready = Readiness::new();
        let projector = start_projector(settings, &ops, &ready, shutdown)?;
        serve_ops(ops, &ready, exporter, &stop);
        readiness.push(("projector".to_owned(), ready));
        Ok(Self { urls, ops_urls, first_config, readiness, projector, ops: stop })
    }

    /// Waits until each says that it is ready.
    pub async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + within;
        for (name, readiness) in &self.readiness {
            while !readiness.report().ready {
                if Instant::now() > until {
                    let report = readiness.report();
                    let open = report
                        .checks
                        .iter()
                        .filter_map(|c| Some(format!("{}: {}", c.name, c.reason.as_ref()?)));
                    bail!(
                        "{name} is not ready after {} s ({})",
                        within.as_secs(),
                        open.collect::<Vec<_>>().join("; ")
                    );
                }
                sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// Waits for the end of the fronts, then ends the projector, then the operators' endpoints.
    pub async fn finish(self, shutdown: &Shutdown) {
        shutdown.draining().await;
        say("Closing connections, finishing what was begun.");
        shutdown.finish(limits()).await;
        self.projector.drain();
        self.projector.finish(limits()).await;
        self.ops.cancel();
    }
}

async fn front_listener(
    options: &Options,
    settings: &Settings<'_>,
    name: &str,
    index: u16,
) -> anyhow::Result<TcpListener> {
    match options.port {
        Some(first) => listeners::bind_exactly(first.saturating_add(index)).await,
        None => listeners::bind(settings.data, name, FRONT_PORT + index).await,
    }
}

/// Its end takes the fronts along: the process is of no use without it.
fn start_projector(
    settings: &Settings<'_>,
    ops: &TcpListener,
    ready: &Readiness,
    fronts: &Shutdown,
) -> anyhow::Result<Shutdown> {
    let config = settings.projector(&ops.local_addr()?.to_string())?.projector;
    let shutdown = Shutdown::new();
    let (ready, own) = (ready.clone(), shutdown.clone());
    shutdown.spawn_essential("projector", async move {
        natterjack_projection::project(&config, &ready, &own).await;
    });
    let (ended, fronts) = (shutdown.clone(), fronts.clone());
    tokio::spawn(async move {
        ended.draining().await;
        fronts.drain();
    });
    Ok(shutdown)
}

async fn logged<E: Display>(name: &'static str, component: impl Future<Output = Result<(), E>>) {
    if let Err(error) = component.await {
        tracing::error!(component = name, %error, "ended with an error");
    }
}

fn serve_ops(listener: TcpListener, ready: &Readiness, exporter: Exporter, stop: &CancellationToken) {
    let server = ops::serve(listener, ready.clone(), exporter, stop.clone());
    tokio::spawn(logged("ops", server));
}

fn ops_url(address: SocketAddr) -> String {
    format!("http://{address}/readyz")
}

/// As `npm run build` leaves it, seen from the project's directory.
fn built_web_client() -> Option<std::path::PathBuf> {
    let dir = std::env::current_dir().ok()?.join("web/dist");
    dir.join("index.html").exists().then_some(dir)
}
