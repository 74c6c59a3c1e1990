//! A program of its own: a signal reaches every test of a process.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use natterjack_runtime::lifecycle::Shutdown;

fn signal(name: &str) {
    let own = std::process::id().to_string();
    assert!(Command::new("kill").args([name, &own]).status().unwrap().success());
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_stops() {
    let shutdown = Shutdown::new();
    shutdown.on_signals().unwrap();
    signal("-TERM");
    shutdown.draining().await;
    assert!(!shutdown.is_stopping());
    signal("-INT");
    shutdown.stopping().await;
}
