//! What chaos found once, each by itself.

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
