//! Rebuilding and verifying, while the projector goes on.

use natterjack_projection::{ReplayError, TABLES, apply, rebuild, verify};
use natterjack_readmodel::messages::{self, From};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use crate::{
    script::{self, Step, created, entries, posted, room, user},
    world::{EPOCH, STREAM, World},
};

/// One room with many messages.
fn chatter(count: u8) -> Vec<Step> {
    let mut steps = vec![created(0, 0, &[0, 1])];
    steps.extend((0..count).map(|n| posted(0, n % 2, n, "word")));
    steps
}

#[tokio::test]
async fn a_rebuild_mends_the_tables_and_the_projector_goes_on() {
    let world = World::new().await;
    let steps = script::steps(400).new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let entries = entries(&steps);
    let (first, second) = entries.split_at(entries.len() / 2);
    world.apply_all(first, 50).await;
    let before = world.tables().await;
    world
        .execute(
            "UPDATE read.messages SET body = 'tampered' WHERE body IS NOT NULL; DELETE FROM read.members",
        )
        .await;
    let mut seen = vec![];
    rebuild(&world.migrator, |progress| seen.push(progress)).await.unwrap();
    assert_eq!(world.tables().await, before);
    assert_eq!(seen.last().map(|p| (p.done, p.total)), Some((first.len() as u64, first.len() as u64)));
    assert_eq!(world.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'read_%'").await, 0);

    assert_eq!(world.open().await, first.len() as u64);
    world.apply_all(second, 50).await;
    assert!(verify(&world.migrator, |_| {}).await.unwrap().is_good());
}

#[tokio::test]
async fn events_go_on_being_applied_during_rebuilds_and_verifications() {
    let world = World::new().await;
    let entries = entries(&chatter(250));
    world.open().await;
    let projecting = async {
        // One connection, as a projector has it: its prepared statements live through the swaps.
        let mut client = world.projector().await;
        for batch in entries.chunks(2) {
            apply(&mut client, STREAM, EPOCH, batch).await.unwrap();
        }
    };
    let replaying = async {
        for _ in 0..3 {
            rebuild(&world.migrator, |_| {}).await.unwrap();
            let report = verify(&world.migrator, |_| {}).await.unwrap();
            assert!(report.is_good(), "{report:?}");
        }
    };
    tokio::join!(projecting, replaying);
    rebuild(&world.migrator, |_| {}).await.unwrap();
    let report = verify(&world.migrator, |_| {}).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    let messages = report.tables.iter().find(|t| t.table == "messages").unwrap();
    assert_eq!((messages.rows, messages.expected_rows), (250, 250));
    assert_eq!(world.count("SELECT last_ordinal FROM read.rooms").await, 250);
}

#[tokio::test]
async fn a_verification_tells_what_differs() {
    let world = World::new().await;
    world.apply_all(&entries(&chatter(20)), 5).await;
    let report = verify(&world.migrator, |_| {}).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(
        (report.streams[0].log_seq, report.streams[0].read_seq, report.streams[0].events),
        (21, 21, 21)
    );

    world.execute("UPDATE read.messages SET body = 'other' WHERE ordinal = 7").await;
    let report = verify(&world.migrator, |_| {}).await.unwrap();
    let differing: Vec<_> = report.tables.iter().filter(|t| !t.equal).map(|t| t.table).collect();
    assert_eq!(differing, ["messages"]);

    rebuild(&world.migrator, |_| {}).await.unwrap();
    world.execute("DELETE FROM log.events WHERE seq = 21").await;
    let report = verify(&world.migrator, |_| {}).await.unwrap();
    assert_eq!((report.streams[0].events, report.is_good()), (20, false));
}

#[tokio::test]
async fn tables_that_lag_behind_the_log_are_compared_where_they_are() {
    let world = World::new().await;
    let entries = entries(&chatter(20));
    world.apply_all(&entries, 5).await;
    world.wipe().await;
    world.open().await;
    world.apply(&entries[..8]).await.unwrap();
    let report = verify(&world.migrator, |_| {}).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.streams[0].log_seq, report.streams[0].read_seq), (21, 8));
    // A rebuild takes all that the second copy holds.
    rebuild(&world.migrator, |_| {}).await.unwrap();
    assert_eq!(world.open().await, 21);
}

#[tokio::test]
async fn one_replay_at_a_time_and_leftovers_do_no_harm() {
    let world = World::new().await;
    world.apply_all(&entries(&chatter(5)), 5).await;
    world.execute("CREATE SCHEMA read_next; CREATE TABLE read_next.rooms (); CREATE SCHEMA read_old").await;
    let (first, second) = tokio::join!(rebuild(&world.migrator, |_| {}), verify(&world.migrator, |_| {}));
    let busy = [first.err(), second.err()];
    let refused = |e: &Option<ReplayError>| matches!(e, Some(ReplayError::AlreadyRunning));
    assert_eq!(busy.iter().filter(|e| refused(e)).count(), 1, "{busy:?}");
    assert_eq!(busy.iter().flatten().count(), 1, "{busy:?}");
}

#[tokio::test]
async fn readers_and_their_prepared_statements_live_through_a_swap() {
    let world = World::new().await;
    world.apply_all(&entries(&chatter(9)), 5).await;
    let client = world.front.get().await.unwrap();
    let read = async || {
        let page = messages::history(&client, room(0), user(0), From::Cursor(None), None).await;
        page.unwrap().unwrap().items.len()
    };
    // Often enough for Postgres to keep a plan.
    for _ in 0..8 {
        assert_eq!(read().await, 9);
    }
    for _ in 0..2 {
        rebuild(&world.migrator, |_| {}).await.unwrap();
        assert_eq!(read().await, 9);
    }
    let reading = async {
        for _ in 0..200 {
            assert_eq!(read().await, 9);
        }
    };
    let (rebuilt, ()) = tokio::join!(rebuild(&world.migrator, |_| {}), reading);
    rebuilt.unwrap();
}

#[tokio::test]
async fn every_read_table_is_verified() {
    let world = World::new().await;
    let sql = "SELECT table_name::text FROM information_schema.tables
               WHERE table_schema = 'read' AND table_name <> 'refinery_schema_history' ORDER BY 1";
    let rows = world.migrator.get().await.unwrap().query(sql, &[]).await.unwrap();
    let mut known = TABLES.to_vec();
    known.sort_unstable();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), known);
}
