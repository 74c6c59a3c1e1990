use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use natterjack_identity::outbox::{OutboxEvent, RelayError, USER_REGISTERED};
use serde_json::json;

use crate::world::World;

/// What was published, in order.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<OutboxEvent>>>);

impl Published {
    fn take(&self, event: OutboxEvent) -> Ready<Result<(), Infallible>> {
        self.0.lock().unwrap().push(event);
        ready(Ok(()))
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|e| e.payload["username"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_registration_is_published_once() {
    let world = World::new().await;
    let login = world.register("ada").await;
    world.identity.outbox_written().await;
    let published = Published::default();
    assert_eq!(world.identity.relay(|event| published.take(event)).await.unwrap(), 1);
    assert_eq!(world.identity.relay(|event| published.take(event)).await.unwrap(), 0);
    let events = published.0.lock().unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.user, event.kind.as_str()), (login.user, USER_REGISTERED));
    assert_eq!((&event.payload, event.created_at), (&json!({"username": "ada"}), world.now()));
}

#[tokio::test]
async fn a_batch_is_bounded_and_in_order() {
    let world = World::new().await;
    for name in ["ada", "bob", "eve"] {
        world.register(name).await;
    }
    let (published, small) = (Published::default(), world.with(|config| config.outbox_batch_rows = 2));
    assert_eq!(small.relay(|event| published.take(event)).await.unwrap(), 2);
    assert_eq!(published.names(), ["ada", "bob"]);
    assert_eq!(small.relay(|event| published.take(event)).await.unwrap(), 1);
    assert_eq!(published.names(), ["ada", "bob", "eve"]);
}

#[tokio::test]
async fn what_cannot_be_published_stays_with_its_id_and_what_was_is_gone() {
    let world = World::new().await;
    for name in ["ada", "bob", "eve"] {
        world.register(name).await;
    }
    let refused = Mutex::new(None);
    let failing = async |event: OutboxEvent| {
        if event.payload["username"] != "bob" {
            return Ok(());
        }
        *refused.lock().unwrap() = Some(event);
        Err("no ack")
    };
    let failed = world.identity.relay(failing).await;
    assert!(matches!(failed, Err(RelayError::Publish("no ack"))), "{failed:?}");
    let published = Published::default();
    assert_eq!(world.identity.relay(|event| published.take(event)).await.unwrap(), 2);
    assert_eq!(published.names(), ["bob", "eve"]);
    assert_eq!(published.0.lock().unwrap().first(), refused.lock().unwrap().as_ref());
}

#[tokio::test]
async fn concurrent_relays_share_the_work() {
    let world = World::new().await;
    for number in 0..12 {
        world.register(&format!("user{number}")).await;
    }
    let published = Published::default();
    let relays = (0..4).map(|_| {
        let (identity, published) = (world.with(|config| config.outbox_batch_rows = 3), published.clone());
        tokio::spawn(async move { identity.relay(|event| published.take(event)).await.unwrap() })
    });
    for relay in relays.collect::<Vec<_>>() {
        relay.await.unwrap();
    }
    while world.identity.relay(|event| published.take(event)).await.unwrap() > 0 {}
    let mut names = published.names();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), published.names().len()), (12, 12));
}
