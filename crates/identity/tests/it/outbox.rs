use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use natterjack_domain::profile::{self, Nickname};
use natterjack_identity::{
    Change,
    outbox::{OutboxEvent, PublicFact, RelayError},
};

use crate::world::World;

/// What was published, in order.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<OutboxEvent>>>);

impl Published {
    fn take(&self, event: OutboxEvent) -> Ready<Result<(), Infallible>> {
        self.0.lock().unwrap().push(event);
        ready(Ok(()))
    }

    fn facts(&self) -> Vec<PublicFact> {
        self.0.lock().unwrap().iter().map(|e| e.fact.clone()).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().filter_map(name).collect()
    }
}

fn name(event: &OutboxEvent) -> Option<String> {
    match &event.fact {
        PublicFact::Registered { username } => Some(username.clone()),
        PublicFact::ProfileChanged(_) | PublicFact::Deactivated {} => None,
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
    let fact = PublicFact::Registered { username: "ada".into() };
    assert_eq!((event.user, &event.fact, event.created_at), (login.user, &fact, world.now()));
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
        if name(&event).as_deref() != Some("bob") {
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

fn nicknamed(name: &str) -> Change {
    let profile =
        profile::Change { nickname: Some(Nickname::parse(name).ok()), ..profile::Change::default() };
    Change { profile, ..Change::default() }
}

#[tokio::test]
async fn what_one_person_changes_is_published_in_that_order_by_however_many() {
    let world = World::new().await;
    let (ada, bob) = (world.register("ada").await, world.register("bob").await);
    for name in ["A", "B", "C"] {
        world.identity.change(ada.user, nicknamed(name)).await.unwrap();
    }
    let published = Published::default();
    // While one relay has Ada's first fact in its hands, another finds only Bob's, and none of those that follow it.
    let (held, other) = (Arc::new(tokio::sync::Notify::new()), world.with(|_| {}));
    let (begun, finish) = (held.clone(), Arc::new(tokio::sync::Notify::new()));
    let slow = async |event: OutboxEvent| {
        if event.user == ada.user {
            begun.notify_one();
            finish.notified().await;
        }
        published.take(event).await
    };
    let quick = async {
        held.notified().await;
        assert_eq!(other.relay(|event| published.take(event)).await.unwrap(), 1);
        assert_eq!(published.names(), ["bob"]);
        finish.notify_one();
    };
    let one = world.with(|config| config.outbox_batch_rows = 1);
    let (relayed, ()) = tokio::join!(one.relay(slow), quick);
    assert_eq!(relayed.unwrap(), 1);
    while other.relay(|event| published.take(event)).await.unwrap() > 0 {}
    let of = |user| published.0.lock().unwrap().iter().filter(|e| e.user == user).count();
    assert_eq!((of(ada.user), of(bob.user)), (4, 1));
    let names = published.facts().into_iter().filter_map(|fact| match fact {
        PublicFact::ProfileChanged(profile) => profile.nickname.map(String::from),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["A", "B", "C"]);
}

#[tokio::test]
async fn what_a_newer_program_has_written_waits_for_it_and_holds_up_nobody_else() {
    let world = World::new().await;
    let (ada, _) = (world.register("ada").await, world.register("bob").await);
    let newer = "UPDATE identity.outbox SET type = 'user.ascended' WHERE account_id = $1";
    world.admin().await.execute(newer, &[ada.user.as_uuid()]).await.unwrap();
    world.identity.change(ada.user, nicknamed("A")).await.unwrap();
    let published = Published::default();
    while world.identity.relay(|event| published.take(event)).await.unwrap() > 0 {}
    assert_eq!(published.names(), ["bob"]);
    assert_eq!(world.count("identity.outbox").await, 2);
}
