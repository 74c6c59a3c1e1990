use std::path::Path;

use serde_json::Value;

use crate::installation::{Up, directory, make_room, register, run, until};

async fn doctor(dir: &Path, variables: &[(&str, &str)]) -> (bool, Value) {
    let output = run(dir, &["doctor", "--json"], variables).await;
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}

fn status(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}"));
    check["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_operators_commands_work_on_a_running_installation() {
    let dir = directory();
    let up = Up::start(dir.path(), &[]).await;
    let token = register(&up.urls[0], "ada").await.unwrap();
    make_room(&up.urls[0], &token, "Kitchen").await.unwrap();

    let (good, report) = doctor(dir.path(), &[]).await;
    assert!(good, "{report:#}");
    let names = report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap());
    let expected = [
        "configuration",
        "nats-server",
        "nats clock",
        "streams",
        "log store",
        "log holes",
        "postgres",
        "postgres clock",
        "migrations",
        "parked events",
        "projector",
        "disk",
        "websocket",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);

    let (good, report) = doctor(dir.path(), &[("NATTERJACK_STREAMS", "2"), ("NATTERJACK_LISTEN", "x")]).await;
    assert!(!good);
    assert_eq!(
        (status(&report, "configuration"), status(&report, "streams")),
        ("failed".into(), "failed".into())
    );

    for command in ["migrate", "rebuild", "verify"] {
        let output = run(dir.path(), &[command], &[]).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {words}");
    }
    // Chat went on, and the rebuilt tables are followed.
    until("a room can be made", || make_room(&up.urls[0], &token, "Garden")).await;
    let (good, report) = doctor(dir.path(), &[]).await;
    assert!(good, "{report:#}");
    up.interrupt().await;

    let (good, report) = doctor(dir.path(), &[]).await;
    assert!(!good);
    for (name, expected) in
        [("nats-server", "failed"), ("postgres", "failed"), ("streams", "skipped"), ("disk", "ok")]
    {
        assert_eq!(status(&report, name), expected, "{name}");
    }
}

#[tokio::test]
async fn without_an_installation_they_say_what_is_missing() {
    let dir = directory();
    let somewhere = [("NATTERJACK_NATS_URL", "nats://127.0.0.1:1")];
    for (command, settings, expected) in [
        ("migrate", &[][..], "no settings in the environment and no .data here"),
        ("verify", &[], "no settings in the environment and no .data here"),
        ("migrate", &somewhere, "no database to migrate"),
        ("verify", &somewhere, "NATTERJACK_POSTGRES_MIGRATOR_URL"),
    ] {
        let output = run(dir.path(), &[command], settings).await;
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && words.contains(expected), "{words}");
    }
    let (good, report) = doctor(dir.path(), &somewhere).await;
    assert!(!good);
    assert_eq!(status(&report, "configuration"), "failed");
}
