//! A short run of chaos with a fixed seed; `scripts/chaos.sh` makes long ones with any.

use std::{path::Path, time::Duration};

use natterjack_testkit::chaos::{self, Options};

/// Fails the test when the checker finds anything wrong; histories and logs are kept then.
async fn survives(seed: u64, nodes: usize, streams: u16) {
    let options = Options {
        seed,
        time: Duration::from_secs(20),
        every: Duration::from_millis(800),
        nodes,
        streams,
        clients: 10,
        pages: 0,
        rooms: 4,
        dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../artifacts/chaos"),
        keeps_all: false,
    };
    let report = chaos::run(options, std::future::pending()).await.unwrap();
    assert!(report.is_good(), "\n{report}");
    assert!(report.faults >= 10 && report.acked >= 20, "nothing much happened:\n{report}");
    // Each message goes to nearly all of the ten: who is told to begin anew has to be the exception.
    assert!(report.delivered > 5 * report.acked, "too little was delivered:\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_dies_with_one_nats_server() {
    survives(1, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_dies_with_three_nats_servers() {
    survives(2, 3, 1).await;
}
