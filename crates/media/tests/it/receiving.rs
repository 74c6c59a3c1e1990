use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, stream};
use natterjack_media::{Course, Error, Refusal};
use tokio_util::sync::CancellationToken;

use crate::world::World;

#[tokio::test]
async fn a_full_store_leaves_nothing_of_an_upload_in_one_request() {
    let world = World::new(&[]).await;
    world.store.full.store(true, Ordering::SeqCst);
    let upload = world.create(5).await.unwrap();
    let failed = world.send(&upload, 0, "words", Course::Once).await;
    assert!(matches!(failed, Err(Error::Storage(_))), "{failed:?}");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn an_upload_that_found_no_room_at_its_end_ends_once_there_is_some() {
    let world = World::new(&[]).await;
    let upload = world.create(10).await.unwrap();
    let upload = world.send(&upload, 0, "01234", Course::Resumable).await.unwrap();
    assert_eq!((upload.received, world.objects().await), (5, 1));
    world.store.full.store(true, Ordering::SeqCst);
    let failed = world.send(&upload, 5, "56789", Course::Resumable).await;
    assert!(matches!(failed, Err(Error::Storage(_))), "{failed:?}");
    // The last piece found no room: the first is there still.
    let again = world.media.upload_of(world.owner, upload.id).await.unwrap();
    assert_eq!((again.received, world.objects().await), (5, 1));
    world.store.full.store(false, Ordering::SeqCst);
    let done = world.send(&again, 5, "56789", Course::Resumable).await.unwrap();
    assert_eq!(done.whole.unwrap().attachment.size, 10);
    assert_eq!(world.objects().await, 1);
}

#[tokio::test]
async fn what_had_come_before_it_could_be_kept_is_looked_at_again_on_request() {
    let world = World::new(&[]).await;
    let upload = world.create(5).await.unwrap();
    world.send(&upload, 0, "wor", Course::Resumable).await.unwrap();
    // All has come, but the front ended before it was put together.
    let sql = "UPDATE media.uploads SET length = received";
    world.admin().await.execute(sql, &[]).await.unwrap();
    let upload = world.media.upload_of(world.owner, upload.id).await.unwrap();
    let done = world.send(&upload, 3, "", Course::Resumable).await.unwrap();
    assert_eq!(done.whole.unwrap().attachment.mime, "text/plain");
}

#[tokio::test]
async fn the_place_of_a_writer_who_died_is_taken_once_its_time_is_up() {
    let world = World::new(&[]).await;
    let upload = world.create(5).await.unwrap();
    let admin = world.admin().await;
    let sql =
        "UPDATE media.uploads SET writer = gen_random_uuid(), writer_until = now() + interval '1 minute'";
    admin.execute(sql, &[]).await.unwrap();
    let refused = world.send(&upload, 0, "words", Course::Resumable).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Locked))), "{refused:?}");
    admin.execute("UPDATE media.uploads SET writer_until = now() - interval '1 second'", &[]).await.unwrap();
    assert!(world.send(&upload, 0, "words", Course::Resumable).await.is_ok());
}

#[tokio::test]
async fn uploads_begun_at_once_keep_to_the_quota_and_their_number_together() {
    let world = World::new(&[("NATTERJACK_MEDIA_QUOTA_BYTES", "1000")]).await;
    let begun = futures_util::future::join_all((0..8).map(|_| world.create(300))).await;
    assert_eq!(begun.iter().filter(|upload| upload.is_ok()).count(), 3);
    assert!(
        begun
            .iter()
            .filter_map(|upload| upload.as_ref().err())
            .all(|error| matches!(error, Error::Refused(Refusal::Quota { used: 900, quota: 1_000 })))
    );
    let world = World::new(&[("NATTERJACK_MEDIA_OPEN_MAX", "2")]).await;
    let begun = futures_util::future::join_all((0..8).map(|_| world.create(3))).await;
    assert_eq!(begun.iter().filter(|upload| upload.is_ok()).count(), 2);
}

#[tokio::test]
async fn what_is_given_up_while_it_comes_is_gone() {
    let world = World::new(&[]).await;
    let upload = world.create(10).await.unwrap();
    let upload = world.send(&upload, 0, "01234", Course::Resumable).await.unwrap();
    world.media.discard(world.owner, upload.id).await.unwrap();
    world.assert_nothing_left().await;
    let late = world.send(&upload, 5, "56789", Course::Resumable).await;
    assert!(matches!(late, Err(Error::Refused(Refusal::NotFound))), "{late:?}");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn what_came_before_a_request_broke_off_counts_where_it_can_be_gone_on_with() {
    let world = World::new(&[]).await;
    let broken = || stream::iter([Ok("012".into()), Err("gone".into())]).boxed();
    let (upload, cut) = (world.create(5).await.unwrap(), CancellationToken::new);
    let failed = world.media.receive(upload.clone(), 0, broken(), Course::Resumable, cut()).await;
    assert!(matches!(failed, Err(Error::Refused(Refusal::Aborted(3)))), "{failed:?}");
    assert!(matches!(
        world.send(&upload, 0, "01234", Course::Resumable).await,
        Err(Error::Refused(Refusal::Offset(3)))
    ));
    assert!(world.send(&upload, 3, "34", Course::Resumable).await.unwrap().whole.is_some());
    world.media.discard(world.owner, upload.id).await.unwrap();

    let upload = world.create(5).await.unwrap();
    let failed = world.media.receive(upload, 0, broken(), Course::Once, cut()).await;
    assert!(matches!(failed, Err(Error::Refused(Refusal::Aborted(3)))), "{failed:?}");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_front_that_ends_keeps_what_has_come() {
    let world = World::new(&[]).await;
    let (upload, cut) = (world.create(5).await.unwrap(), CancellationToken::new());
    let ends = cut.clone();
    let end = stream::once(async move {
        ends.cancel();
        std::future::pending().await
    });
    let body = stream::iter([Ok("012".into())]).chain(end).boxed();
    let failed = world.media.receive(upload.clone(), 0, body, Course::Resumable, cut).await;
    assert!(matches!(failed, Err(Error::Refused(Refusal::Cut(3)))), "{failed:?}");
    assert!(world.send(&upload, 3, "34", Course::Resumable).await.unwrap().whole.is_some());
}
