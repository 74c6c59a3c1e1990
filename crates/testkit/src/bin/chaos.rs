//! Breaks everything again and again while people chat, and says whether a promise was broken.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, builder::TypedValueParser as _};
use natterjack_testkit::chaos::{self, Options};

/// Kills, stops and cuts off every part of a whole site while people chat, then judges what they saw.
#[derive(Parser)]
#[command(name = "chaos", args_override_self = true)]
struct Cli {
    /// How long faults are made.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What the plan of faults and the clients' choices follow from; a new one each time unless given.
    #[arg(long, default_value_t = rand::random::<u32>().into())]
    seed: u64,
    /// nats-servers: one, or three with a replica of each stream on each.
    #[arg(long, default_value_t = 3, value_parser = clap::builder::PossibleValuesParser::new(["1", "3"])
        .map(|nodes| if nodes == "1" { 1_usize } else { 3 }))]
    nodes: usize,
    /// Streams that rooms are spread over.
    #[arg(long, default_value_t = 1)]
    streams: u16,
    #[arg(long, default_value_t = 24)]
    clients: usize,
    /// Further clients: pages with the product's own library, under Node.
    #[arg(long, default_value_t = 0)]
    pages: usize,
    #[arg(long, default_value_t = 6)]
    rooms: usize,
    /// From one fault to the next, on the average.
    #[arg(long, default_value_t = 1_500)]
    every_ms: u64,
    /// Also writes the result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where histories and logs are kept when something is wrong.
    #[arg(long, value_name = "DIR", default_value = "artifacts/chaos")]
    keep: PathBuf,
    /// Keeps them also when nothing is wrong.
    #[arg(long)]
    keep_all: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let options = Options {
        seed: cli.seed,
        time: Duration::from_secs_f64(60.0 * cli.minutes),
        every: Duration::from_millis(cli.every_ms),
        nodes: cli.nodes,
        streams: cli.streams,
        clients: cli.clients,
        pages: cli.pages,
        rooms: cli.rooms,
        dir: cli.keep,
        keeps_all: cli.keep_all,
    };
    let interrupted = async {
        // Without the signal there is nothing that interrupts.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let report = Box::pin(chaos::run(options, interrupted)).await?;
    println!("seed             {:>9}", cli.seed);
    print!("{report}");
    if let Some(path) = cli.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
