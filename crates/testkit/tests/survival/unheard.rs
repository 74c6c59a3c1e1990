//! Invariant 17: an event that is stored but never told live, as when a leader dies between the two, is found by the
//! comparison of heads and delivered.

use std::time::{Duration, Instant};

use natterjack_domain::{EventId, user};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_testkit::Site;
use natterjack_wire::Fact;
use serde_json::json;

use crate::world::{announce, posted, world};

/// The period is half a second here; more is patience with a loaded machine.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

async fn what_was_never_told_is_found(streams: u16) {
    let world = world(Site::builder().streams(streams).start().await).await;
    let mut socket = world.bob.connect(&world.front.url()).await;
    socket.subscribe(world.room, json!({})).await;
    let log = world.site.log().await;
    announce(&world.site, false).await;
    let said = log.append(posted(world.room, world.ada.user, "unheard")).await.unwrap().seq;
    let read = Fact::User(user::Event::Read { id: world.bob.user, room: world.room, seq: said });
    let marked = NewEvent::new(Subject::feed(world.bob.user), EventId::random(), &read);
    let marked = log.append(marked).await.unwrap().seq;
    announce(&world.site, true).await;
    let since = Instant::now();
    let frame = socket.until(|frame| frame["t"] == "ev").await;
    assert_eq!((&frame["seq"], &frame["e"]["body"]), (&json!(said), &json!("unheard")));
    let frame = socket.until(|frame| frame["t"] == "u" && frame["e"]["type"] == "user.read").await;
    assert_eq!(frame["seq"], marked, "{frame}");
    eprintln!("found after {:?}", since.elapsed());
    assert!(since.elapsed() < FOUND_WITHIN, "{:?}", since.elapsed());
    // What is live goes on from there, each once.
    let next = world.say(&["heard"]).await[0];
    assert_eq!(socket.until(|frame| frame["t"] == "ev").await["seq"], next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_and_never_told_is_found_by_its_head() {
    what_was_never_told_is_found(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_three_streams() {
    what_was_never_told_is_found(3).await;
}
