//! What chaos found once, each by itself.

use natterjack_eventlog::Log;
use natterjack_runtime::config::Reader;
use natterjack_testkit::{Direction, Proxy, Site};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_to_a_front_that_is_behind_hears_nothing_again() {
    // Given a front that hears nothing from the log any more,
    let site = Site::builder().set("HEADS_PERIOD_MS", 60_000).start().await;
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let behind = site.front_with(&[("NATS_URL", &format!("nats://{}", proxy.address()))]).await.url();
    let front = site.front().await.url();
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    bob.join(&front, room).await;
    let (mut adas, mut bobs) = (ada.connect(&front).await, bob.connect(&behind).await);
    bobs.subscribe(room, json!({})).await;
    let first = adas.post(room, "first").await;
    bobs.until(|frame| frame["t"] == "ev" && frame["seq"] == first["seq"]).await;
    proxy.hold(Direction::FromTarget);
    let mut seen = json!(0);
    for n in 0..3 {
        seen = adas.post(room, &format!("{n}")).await["seq"].clone();
    }
    // when somebody comes who was told more on another one,
    let answer = bobs.subscribe(room, json!({ "after": seen })).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    // then the first that is heard when the front hears again is what was not heard yet.
    proxy.heal();
    let next = adas.post(room, "next").await;
    let event = bobs.until(|frame| frame["t"] == "ev").await;
    assert_eq!((&event["seq"], &event["prev"]), (&next["seq"], &seen), "{event}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_starts_while_the_log_has_no_leader_waits_for_it() {
    // Given a cluster without a quorum,
    let site = Site::builder().set("ACK_TIMEOUT_MS", 500).start_with_cluster().await;
    for member in &site.nats.members[..2] {
        member.suspend().await;
    }
    let mut reader = Reader::from_pairs(site.settings("natterjack_front"));
    let config = natterjack_eventlog::Config::read(&mut reader);
    // when a front starts and has asked in vain,
    let starting = site.front();
    let in_vain = async {
        for _ in 0..2 {
            let error = Log::open(&config).await.err().expect("nobody answers");
            assert!(error.may_pass(), "{error}");
        }
        site.nats.members[..2].iter().for_each(natterjack_stack::NatsServer::resume);
    };
    // then it serves as soon as there is one.
    let (front, ()) = tokio::join!(starting, in_vain);
    let ada = site.register(&front.url(), "ada").await;
    ada.create_room(&front.url(), "Marsh", "public").await;
}
