//! Invariant 14: the log has no room any more.

use std::{path::Path, process::Command};

use natterjack_domain::ClientId;
use natterjack_stack::{NatsOptions, NatsServer, Tools};
use natterjack_testkit::{Site, eventually};
use natterjack_wire::ErrorCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{World, told, world};

const QUOTA: &str = "1MB";

async fn server(dir: &Path, max_file_store: &str) -> NatsServer {
    let options = NatsOptions { max_file_store: max_file_store.to_owned(), ..NatsOptions::new(dir) };
    NatsServer::start(&Tools::find().unwrap(), options).await.unwrap()
}

/// Posts until the log refuses; gives what was acknowledged, and the refused frame with its answer.
async fn fill(world: &World) -> (Vec<String>, Value, Value) {
    let mut socket = world.ada.connect(&world.front.url()).await;
    let mut texts = vec![];
    for n in 0..5_000_u32 {
        let text = format!("{n} {}", "x".repeat(7_900));
        let id = 10_000 + n;
        let frame =
            json!({ "t": "send", "id": id, "room": world.room, "cid": ClientId::random(), "body": text });
        let answer = socket.ask(frame.clone()).await;
        if answer["t"] == "err" {
            return (texts, frame, answer);
        }
        texts.push(text);
    }
    panic!("the log took everything");
}

/// Nothing false, and reading works.
async fn assert_readable(world: &World, acknowledged: &[String]) {
    let url = world.front.url();
    let page = format!("{url}/v1/rooms/{}/messages?limit=1", world.room);
    let page = eventually("the last message", async || {
        let (status, page) = world.bob.get(&page).await;
        (status.is_success() && page["items"][0]["body"] == json!(acknowledged.last()?)).then_some(page)
    })
    .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert!(world.front.readiness.report().ready);
    eventually("the front to say so", async || {
        let checks = world.front.readiness.report().checks;
        checks.iter().any(|check| check.name == "log" && !check.ready).then_some(())
    })
    .await;
}

async fn assert_recovered(world: &World, refused: &Value, mut acknowledged: Vec<String>) {
    eventually("the log to take it", async || {
        let mut socket = world.ada.try_connect(&world.front.url()).await?;
        let answer = socket.ask(refused.clone()).await;
        (answer["t"] == "ok").then_some(())
    })
    .await;
    acknowledged.push(refused["body"].as_str().unwrap().to_owned());
    assert_eq!(told(&world.bob, &world.front.url(), world.room).await, acknowledged, "each once");
    eventually("the front to say so", async || {
        let checks = world.front.readiness.report().checks;
        checks.iter().all(|check| check.ready).then_some(())
    })
    .await;
    world.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_refuses_with_a_code_of_its_own_and_takes_messages_when_it_has_room_again() {
    let dir = TempDir::with_prefix("nats-full-").unwrap();
    let builder = Site::builder().set("APPEND_DEADLINE_MS", 3_000).set("TAIL_BYTES", 67_108_864);
    let mut world = world(builder.start_on(server(dir.path(), QUOTA).await).await).await;
    let projector = world.site.projector().await;
    let (acknowledged, refused, answer) = fill(&world).await;
    assert_eq!(answer["code"], ErrorCode::LogRefuses.number(), "{answer}");
    assert!(answer["retry_ms"].is_u64(), "{answer}");
    assert_readable(&world, &acknowledged).await;
    world.site.nats.stop().await;
    world.site.nats = server(dir.path(), "100MB").await;
    assert_recovered(&world, &refused, acknowledged).await;
    projector.stop().await;
}

/// A small file system in memory; only root can make one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = TempDir::with_prefix("nats-small-").unwrap();
        let options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(dir.path()).output().ok()?;
        mounted.status.success().then_some(Self(dir))
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=100m"]).arg(self.0.path()).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_before_the_quota_is_survived_too() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: only root can make a small disk");
        return;
    };
    let builder = Site::builder().set("APPEND_DEADLINE_MS", 3_000).set("TAIL_BYTES", 67_108_864);
    let mut world = world(builder.start_on(server(disk.0.path(), "1GB").await).await).await;
    let projector = world.site.projector().await;
    let (acknowledged, refused, answer) = fill(&world).await;
    assert!(answer["retry_ms"].is_u64(), "{answer}");
    assert_readable(&world, &acknowledged).await;
    disk.grow();
    // nats-server gives JetStream up when a write fails, until it is started again.
    world.site.nats.restart().await.unwrap();
    assert_recovered(&world, &refused, acknowledged).await;
    projector.stop().await;
    world.site.nats.stop().await;
}
