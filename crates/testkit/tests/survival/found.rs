//! What chaos found once, each by itself.

use natterjack_eventlog::Log;
use natterjack_runtime::config::Reader;
use natterjack_testkit::{Direction, Proxy, Site, eventually};
use serde_json::json;

use crate::world::announce;

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
    let site = Site::builder().set("LOG_READ_TIMEOUT_MS", 500).start_with_cluster().await;
    for member in &site.nats.members[..2] {
        member.suspend().await;
    }
    let mut reader = Reader::from_pairs(site.settings("natterjack_front"));
    let config = natterjack_eventlog::Config::read(&mut reader);
    // when a front starts and has asked in vain,
    let starting = site.front();
    let in_vain = async {
        // A leader that is alone takes a while to notice it.
        let mut failed = 0;
        while failed < 2 {
            if let Err(error) = Log::open(&config).await {
                assert!(error.may_pass(), "{error}");
                failed += 1;
            }
        }
        site.nats.members[..2].iter().for_each(natterjack_stack::NatsServer::resume);
    };
    // then it serves as soon as there is one.
    let (front, ()) = tokio::join!(starting, in_vain);
    let ada = site.register(&front.url(), "ada").await;
    ada.create_room(&front.url(), "Marsh", "public").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_lies_before_what_was_forwarded_is_told_of_by_a_reset() {
    // Given a message whose announcement was lost, and a change of the room that was announced after it,
    let site = Site::builder().set("HEADS_PERIOD_MS", 600_000).start().await;
    let (near, far) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&near, "ada").await, site.register(&near, "bob").await);
    let carol = site.register(&near, "carol").await;
    let room = ada.create_room(&near, "Marsh", "public").await;
    bob.join(&near, room).await;
    let (mut adas, mut bobs) = (ada.connect(&near).await, bob.connect(&far).await);
    bobs.subscribe(room, json!({})).await;
    announce(&site, false).await;
    assert_eq!(adas.post(room, "unheard").await["t"], "ok");
    announce(&site, true).await;
    carol.join(&near, room).await;
    bobs.until(|frame| frame["e"]["type"] == "room.member_joined").await;
    // when the next message shows that one is missing,
    assert_eq!(adas.post(room, "next").await["t"], "ok");
    // then nobody is told of it as if nothing were: there was a reset, or a comparison of heads found the lost one before.
    let told = bobs
        .until(|frame| {
            frame["t"] == "reset" || frame["e"]["body"] == "unheard" || frame["e"]["body"] == "next"
        })
        .await;
    assert_ne!(told["e"]["body"], "next", "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_connection_hid_comes_before_what_is_live_again() {
    // Given a front whose connection is lost again and again,
    let site = Site::builder().set("HEADS_PERIOD_MS", 600_000).start().await;
    let near = site.front().await.url();
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let far = site.front_with(&[("NATS_URL", &format!("nats://{}", proxy.address()))]).await;
    let (ada, bob) = (site.register(&near, "ada").await, site.register(&near, "bob").await);
    let room = ada.create_room(&near, "Marsh", "public").await;
    bob.join(&near, room).await;
    let (mut adas, mut bobs) = (ada.connect(&near).await, bob.connect(&far.url()).await);
    bobs.subscribe(room, json!({})).await;
    for n in 0..5 {
        // when the room changes meanwhile, and people go on talking as it comes back,
        proxy.cut();
        eventually("the front to notice", async || (!far.readiness.report().ready).then_some(())).await;
        let newcomer = site.register(&near, &format!("newcomer-{n}")).await;
        newcomer.join(&near, room).await;
        proxy.heal();
        let mut last = json!(0);
        while !far.readiness.report().ready {
            last = adas.post(room, "and on").await["seq"].clone();
        }
        // then the change is told in its place, and nobody has to begin anew.
        let mut has_joined = false;
        loop {
            let frame = bobs.until(|frame| frame["t"] == "ev" || frame["t"] == "reset").await;
            assert_eq!(frame["t"], "ev", "{frame}");
            has_joined |= frame["e"]["user"] == json!(newcomer.user);
            if frame["seq"] == last {
                break;
            }
        }
        assert!(has_joined, "round {n}");
    }
}
