//! `natterjack up`: the whole product in one process, with its servers as children.

mod components;
mod demo;
mod listeners;
mod servers;
mod settings;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use natterjack_runtime::{
    lifecycle::{self, Shutdown},
    metrics, telemetry,
};

use self::{components::Components, servers::Servers, settings::Settings};
use crate::{data_dir::DataDir, secrets::Secrets};

/// For the components to be ready, and for the demo room; far longer than they ever take.
const READY_WITHIN: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub struct Options {
    /// Fronts to run, each on a port of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub fronts: u16,
    /// Where everything is kept between runs.
    #[arg(long, value_name = "DIR", default_value = ".data")]
    pub data: PathBuf,
    /// Port of the first front; the next ones follow. Without it 8080, or a free one when that is taken.
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Streams that the log is spread over; settled for good when the directory is new [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub streams: Option<u16>,
    /// No demo account, no demo room.
    #[arg(long)]
    pub no_demo: bool,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let own = settings::own_variables()?;
    let data = DataDir::open(&options.data)?;
    let streams = settle_streams(&data, options.streams)?;
    let secrets = Secrets::load(&data.join("secrets"))?;
    let usual = servers::Addresses::usual();
    let mut settings = Settings { own, streams, servers: usual, data: &data, secrets: &secrets };
    settings.check()?;
    std::fs::create_dir_all(data.join("logs"))?;
    let _logging = telemetry::init(&settings.telemetry(), "natterjack")?;
    let exporter = metrics::install()?;
    natterjack_front::metrics::describe();

    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let Some(servers) = until_drained(&shutdown, Servers::start(&data, &secrets)).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    settings.servers = servers.addresses.clone();
    let served = Box::pin(serve(&options, &settings, exporter, &shutdown)).await;
    say("Stopping nats-server and Postgres.");
    servers.stop().await;
    served?;
    if shutdown.failed() {
        bail!("a component ended by itself: see {}", data.join("logs").display());
    }
    say(&format!("Stopped. The data is in {}.", data.path().display()));
    Ok(ExitCode::SUCCESS)
}

/// From prepared databases to drained components.
async fn serve(
    options: &Options,
    settings: &Settings<'_>,
    exporter: metrics::Exporter,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    if until_drained(shutdown, servers::prepare(settings)).await?.is_none() {
        return Ok(());
    }
    let components = Components::start(options, settings, exporter, shutdown).await?;
    let begun = async {
        components.ready(READY_WITHIN).await?;
        settings.write_environment(&components.first_config)?;
        if !options.no_demo {
            demo::seed(settings.data, settings.secrets, &components.urls[0]).await?;
        }
        anyhow::Ok(())
    };
    let begun = until_drained(shutdown, begun).await;
    match &begun {
        Ok(Some(())) => announce(&components, settings, options),
        Ok(None) => {}
        Err(_) => shutdown.drain(),
    }
    components.finish(shutdown).await;
    begun.map(|_| ())
}

/// `None` when a signal came first.
async fn until_drained<T>(
    shutdown: &Shutdown,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    tokio::select! {
        () = shutdown.draining() => Ok(None),
        done = work => done.map(Some),
    }
}

/// The number of streams is fixed for the life of the data.
fn settle_streams(data: &DataDir, wanted: Option<u16>) -> anyhow::Result<u16> {
    match (data.kept::<u16>("streams"), wanted) {
        (Some(kept), Some(wanted)) if kept != wanted => bail!(
            "{} has {kept} stream(s), which cannot be changed to {wanted}; choose another directory with --data",
            data.path().display()
        ),
        (Some(kept), _) => Ok(kept),
        (None, wanted) => {
            let streams = wanted.unwrap_or(1);
            data.keep("streams", streams)?;
            Ok(streams)
        }
    }
}

fn announce(components: &Components, settings: &Settings<'_>, options: &Options) {
    let line = |what: &str, text: &str| format!("  {what:<9} {text}");
    let mut lines = vec!["\nNatterjack is running.\n".to_owned()];
    lines.extend(components.urls.iter().map(|url| line("open", url)));
    if components.urls.len() > 1 {
        lines.push(line("all", &format!("{} (changes fronts by itself)", all_fronts(&components.urls))));
    }
    if !options.no_demo {
        lines.push(line("", "register with any name; the room \"Lobby\" is open to all"));
    }
    let data = settings.data.path().display();
    lines.push(line("health", &components.ops_urls.join("  ")));
    lines.push(line("data", &format!("{data} (passwords in secrets, logs in logs)")));
    let program =
        std::env::current_exe().map_or_else(|_| "natterjack".into(), |path| path.display().to_string());
    lines.push(line("check", &format!("{program} doctor --data {data}")));
    lines.push(line("stop", "Ctrl-C\n"));
    say(&lines.join("\n"));
}

/// The first front's page, told of all of them.
fn all_fronts(urls: &[String]) -> String {
    let sockets: Vec<String> = urls.iter().map(|url| url.replacen("http", "ws", 1)).collect();
    format!("{}/?fronts={}", urls[0], sockets.join(","))
}

/// For the person at the terminal; what goes on inside is logged.
fn say(text: &str) {
    println!("{text}");
}

fn limits() -> lifecycle::Config {
    lifecycle::Config { drain_limit: Duration::from_secs(10), stop_limit: Duration::from_secs(3) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_of_streams_is_settled_once() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        assert_eq!(settle_streams(&data, Some(3)).unwrap(), 3);
        assert_eq!(settle_streams(&data, None).unwrap(), 3);
        let error = settle_streams(&data, Some(1)).unwrap_err();
        assert!(error.to_string().contains("cannot be changed"), "{error}");
    }
}
