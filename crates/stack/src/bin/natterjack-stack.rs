//! Runs a private nats-server and Postgres in a directory until Ctrl-C: for trying things out by hand, and for
//! the tests of what becomes of the servers when their parent dies.
//!
//! Usage: `natterjack-stack DIR`. Prints one line of JSON when both take connections.

use std::error::Error;

use tokio::signal::unix::{SignalKind, signal};

use natterjack_stack::{Durability, NatsOptions, NatsServer, Postgres, PostgresOptions, Tools};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: natterjack-stack DIR")?;
    let dir = std::path::PathBuf::from(dir);
    let tools = Tools::find()?;
    let nats = NatsServer::start(&tools, NatsOptions::new(dir.join("nats"))).await?;
    let options = PostgresOptions {
        durability: Durability::None,
        ..PostgresOptions::new(dir.join("postgres"), "natterjack")
    };
    let postgres = Postgres::start(&tools, options).await?;
    let line = serde_json::json!({
        "nats": { "url": nats.url(), "pid": nats.pid() },
        "postgres": { "url": postgres.admin_url("postgres"), "pid": postgres.pid() },
    });
    let mut interrupted = signal(SignalKind::interrupt())?;
    println!("{line}");
    interrupted.recv().await;
    nats.stop().await;
    postgres.stop_fast().await;
    Ok(())
}
