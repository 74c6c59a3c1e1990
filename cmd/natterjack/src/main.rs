//! The command line: runs the whole product on one machine, and serves its operators.

mod bench;
mod data_dir;
mod doctor;
mod environment;
mod migrate;
mod replay;
mod secrets;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Natterjack: a chat server whose single source of truth is an event log.
#[derive(Parser)]
#[command(name = "natterjack", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything: a private nats-server and Postgres, fronts and the projector, until Ctrl-C.
    Up(up::Options),
    /// Checks an installation: what is wrong, and what to do about it.
    Doctor(doctor::Options),
    /// Brings the database and the streams up to date.
    Migrate(Target),
    /// Makes the read models, or what is searched, again from the log and swaps them in, while people chat.
    Rebuild(replay::Options),
    /// Compares the read models and what is searched with a replay of the log, while people chat.
    Verify(Target),
    /// Measures the product beside what this machine can do without it, on servers of its own.
    Bench(bench::Options),
    /// A bare broadcaster, the reference of `bench`.
    #[command(hide = true)]
    BenchHub { listen: std::net::SocketAddr },
}

/// Which installation.
#[derive(clap::Args)]
struct Target {
    /// A directory of `natterjack up`, whose settings are used. Without it: `NATTERJACK_…` variables, and
    /// where they name no installation, `.data` if it exists.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(options) => Box::pin(up::run(options)).await,
        Command::Doctor(options) => Box::pin(doctor::run(options)).await,
        Command::Migrate(target) => migrate::run(&target).await,
        Command::Rebuild(options) => replay::rebuild(&options).await,
        Command::Verify(target) => replay::verify(&target).await,
        Command::Bench(options) => Box::pin(bench::run(options)).await,
        Command::BenchHub { listen } => {
            natterjack_bench::serve_bare_hub(listen).await.map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
