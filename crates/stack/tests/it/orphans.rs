use std::process::Stdio;

use natterjack_stack::{Durability, NatsOptions, NatsServer, Postgres, PostgresOptions};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{connects, open_dir, port_of, tools, until};

struct Parent {
    child: Child,
    nats: u16,
    postgres: u16,
}

async fn parent(dir: &std::path::Path) -> Parent {
    let mut child = Command::new(env!("CARGO_BIN_EXE_natterjack-stack"))
        .arg(dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).await.unwrap();
    let facts: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = |what: &str| port_of(facts[what]["url"].as_str().unwrap());
    Parent { nats: port("nats"), postgres: port("postgres"), child }
}

#[tokio::test]
async fn no_server_outlives_a_parent_that_is_killed() {
    let dir = open_dir();
    let mut parent = parent(dir.path()).await;
    parent.child.kill().await.unwrap();
    until("nats-server is gone", || async { !connects(parent.nats).await }).await;
    until("Postgres is gone", || async { !connects(parent.postgres).await }).await;

    // The directories are free at once for the next, which finds what was there.
    let tools = tools();
    NatsServer::start(&tools, NatsOptions::new(dir.path().join("nats"))).await.unwrap();
    let options = PostgresOptions {
        durability: Durability::None,
        ..PostgresOptions::new(dir.path().join("postgres"), "natterjack")
    };
    let postgres = Postgres::start(&tools, options).await.unwrap();
    assert_eq!(postgres.port(), parent.postgres);
}

#[tokio::test]
async fn an_interrupted_parent_stops_them_in_order() {
    let dir = open_dir();
    let mut parent = parent(dir.path()).await;
    let pid = i32::try_from(parent.child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(parent.child.wait().await.unwrap().success());
    assert!(!connects(parent.nats).await && !connects(parent.postgres).await);
    let log = std::fs::read_to_string(dir.path().join("postgres/postgres.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
}
