//! Batches on a real Postgres: exactly once, one projector at a time, and no event stops another.

use natterjack_projection::{ApplyError, Entry, Hole, apply, open};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use uuid::Uuid;

use crate::{
    fold::cut,
    script::{self, Step, created, edited, entries, posted, registered},
    world::{EPOCH, STREAM, World},
};

fn conversation() -> Vec<Entry> {
    entries(&[
        registered(0, "ann"),
        created(0, 0, &[0, 1]),
        posted(0, 0, 1, "one"),
        posted(0, 1, 2, "two"),
        edited(0, 0, 1, "eins"),
        Step::Recalled { room: 0, by: 1, mid: 2 },
        Step::Read { user: 0, room: 0, seq: 4 },
        Step::Foreign,
        Step::Joined { room: 0, user: 2 },
        Step::Left { room: 0, user: 1 },
    ])
}

#[tokio::test]
async fn a_batch_applied_again_has_no_second_effect() {
    let (world, entries) = (World::new().await, conversation());
    assert_eq!(world.open().await, 0);
    let applied = world.apply(&entries[..6]).await.unwrap();
    assert_eq!((applied.seq, applied.events, applied.parked), (6, 6, 0));
    let before = world.tables().await;
    for again in [&entries[..6], &entries[2..5], &entries[5..]] {
        let refused = world.apply(again).await;
        assert!(matches!(refused, Err(ApplyError::Superseded { reached: 6 })), "{refused:?}");
    }
    assert_eq!(world.tables().await, before);
    assert_eq!(world.open().await, 6);
    assert_eq!(world.apply(&entries[6..]).await.unwrap().parked, 1);
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 10);
    assert_eq!(world.count("SELECT seq FROM log.checkpoints").await, 10);
}

#[tokio::test]
async fn a_hole_and_another_epoch_are_refused_and_change_nothing() {
    let (world, entries) = (World::new().await, conversation());
    world.apply_all(&entries[..3], 10).await;
    let before = world.tables().await;
    let hole = world.apply(&entries[4..]).await;
    assert!(matches!(hole, Err(ApplyError::Hole(Hole { expected: 4, found: 5 }))), "{hole:?}");
    let mut client = world.projector().await;
    let other = apply(&mut client, STREAM, "e2", &entries[3..]).await;
    assert!(matches!(other, Err(ApplyError::EpochChanged { .. })), "{other:?}");
    let other = open(&mut client, STREAM, "e2").await;
    assert!(matches!(other, Err(ApplyError::EpochChanged { .. })), "{other:?}");
    assert_eq!(world.tables().await, before);
    // A stream of which nothing was applied may be made again.
    assert_eq!(open(&mut client, 1, "e1").await.unwrap().reached(), 0);
    assert_eq!(open(&mut client, 1, "e2").await.unwrap().reached(), 0);
}

#[tokio::test]
async fn of_two_projectors_one_goes_on_and_the_other_steps_back() {
    let (world, entries) = (World::new().await, conversation());
    world.open().await;
    let (first, second) = tokio::join!(world.apply(&entries), world.apply(&entries));
    let (good, bad): (Vec<_>, Vec<_>) = [first, second].into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    assert!(matches!(bad[0], Err(ApplyError::Superseded { reached: 10 })), "{bad:?}");
    assert_eq!(world.count("SELECT last_ordinal FROM read.rooms").await, 2);
    assert_eq!(world.open().await, 10);
}

#[tokio::test]
async fn what_postgres_refuses_is_parked_alone() {
    let world = World::new().await;
    // Letters without a pattern, which do not shrink: too long for the index.
    let hash = |n: u32| Uuid::new_v5(&Uuid::nil(), &n.to_be_bytes()).simple().to_string();
    let long: String = (0..250).map(hash).collect();
    let entries = entries(&[
        registered(0, "ann"),
        registered(1, "nul\0"),
        created(0, 0, &[0]),
        registered(2, &long),
        posted(0, 0, 1, "goes on"),
    ]);
    world.open().await;
    let applied = world.apply(&entries).await.unwrap();
    assert_eq!((applied.seq, applied.parked), (5, 2));
    let tables = world.tables().await;
    assert_eq!((tables["people"].len(), tables["messages"].len()), (1, 1));
    assert!(tables["parked"][0].contains("(SQLSTATE 22021)"), "{tables:?}");
    assert!(tables["parked"][1].contains("(SQLSTATE 54000)"), "{tables:?}");
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 5);

    let other = World::new().await;
    other.apply_all(&entries, 1).await;
    assert_eq!(other.tables().await, tables);
}

#[tokio::test]
async fn repeats_and_what_postgres_refuses_do_not_stop_a_large_batch() {
    let world = World::new().await;
    let mut steps = vec![created(0, 0, &[0]), posted(0, 0, 0, "first")];
    world.apply_all(&entries(&steps), 2).await;
    steps.extend((1..=250).map(|n| posted(0, 0, n, "word")));
    steps.insert(100, registered(1, "nul\0"));
    // Posted before this batch, and in it.
    steps.extend([posted(0, 0, 0, "again"), posted(0, 0, 7, "again")]);
    let applied = world.apply(&entries(&steps)[2..]).await.unwrap();
    assert_eq!((applied.seq, applied.parked), (255, 1));
    assert_eq!(world.count("SELECT count(*) FROM read.messages WHERE body <> 'again'").await, 251);
    assert_eq!(world.count("SELECT last_ordinal FROM read.rooms").await, 251);
    assert_eq!(world.count("SELECT head FROM read.rooms").await, 255);
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 255);
}

#[tokio::test]
async fn the_second_copy_is_mended_by_setting_its_checkpoint_back() {
    let (world, entries) = (World::new().await, conversation());
    world.apply_all(&entries, 4).await;
    let before = world.tables().await;
    world.execute("DELETE FROM log.events WHERE seq = 6; UPDATE log.checkpoints SET seq = 4").await;
    assert_eq!(world.open().await, 4);
    world.apply(&entries[4..]).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 10);
    assert_eq!(world.tables().await, before);
}

#[tokio::test]
async fn an_outage_in_the_middle_leaves_nothing_half_done() {
    let (world, entries) = (World::new().await, conversation());
    world.open().await;
    let before = world.tables().await;
    let mut client = world.projector().await;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    // Holds the batch up where it writes its messages.
    let mut blocker = world.migrator.get().await.unwrap();
    let block = blocker.transaction().await.unwrap();
    block.batch_execute("LOCK TABLE read.messages").await.unwrap();
    let killer = async {
        let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
        while world.count(&waits).await == 0 {}
        world.terminate(pid).await;
    };
    let (failed, ()) = tokio::join!(apply(&mut client, STREAM, EPOCH, &entries), killer);
    let outage = matches!(&failed, Err(ApplyError::Database(error)) if error.is_unavailable());
    assert!(outage, "{failed:?}");
    drop(block);
    drop(blocker);
    assert_eq!(world.tables().await, before);
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 0);
    world.apply(&entries).await.unwrap();
    assert_eq!(world.count("SELECT last_ordinal FROM read.rooms").await, 2);
}

/// The contract: the tables are what the log makes of them, and nothing else.
#[tokio::test]
async fn emptied_tables_are_made_again_row_by_row_the_same() {
    let (world, entries) = (World::new().await, conversation());
    world.apply_all(&entries, 4).await;
    let before = world.tables().await;
    world.wipe().await;
    assert_eq!(world.open().await, 0);
    world.apply(&entries[..7]).await.unwrap();
    assert_eq!(world.open().await, 7);
    world.apply(&entries[7..]).await.unwrap();
    assert_eq!(world.tables().await, before);
    assert_eq!(world.count("SELECT count(*) FROM log.events").await, 10);
}

#[tokio::test]
async fn where_batches_are_cut_does_not_matter_to_the_rows() {
    let world = World::new().await;
    let mut runner = TestRunner::deterministic();
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..20);
    for _ in 0..12 {
        let entries = entries(&script::steps(120).new_tree(&mut runner).unwrap().current());
        world.execute("TRUNCATE log.events, log.checkpoints").await;
        world.wipe().await;
        world.apply_all(&entries, entries.len().max(1)).await;
        let at_once = world.tables().await;
        let cuts = cuts.new_tree(&mut runner).unwrap().current();
        world.wipe().await;
        world.open().await;
        for batch in cut(&entries, &cuts) {
            world.apply(batch).await.unwrap();
        }
        assert_eq!(world.tables().await, at_once, "{entries:?}");
    }
}
