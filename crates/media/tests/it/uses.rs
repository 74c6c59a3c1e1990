use natterjack_domain::{AttachmentId, MessageId, RoomId, UserId};
use natterjack_media::{Course, Error, Refusal};

use crate::world::World;

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_bears_what_its_author_uploaded_for_the_room() {
    let world = World::new(&[]).await;
    let (media, owner, room) = (&world.media, world.owner, world.room);
    let (one, two) = (world.whole().await.id, world.whole().await.id);
    let message = MessageId::random();
    for _ in 0..2 {
        let taken = media.take(owner, room, message, &[two, one]).await.unwrap();
        assert_eq!(taken.iter().map(|a| a.id).collect::<Vec<_>>(), [two, one]);
    }
    assert_eq!(refused(media.take(UserId::random(), room, message, &[one]).await), Refusal::Foreign(one));
    assert_eq!(refused(media.take(owner, RoomId::random(), message, &[one]).await), Refusal::Foreign(one));
    let unknown = AttachmentId::random();
    assert_eq!(refused(media.take(owner, room, message, &[one, unknown]).await), Refusal::Foreign(unknown));
    let open = world.create(5).await.unwrap().id;
    assert_eq!(refused(media.take(owner, room, message, &[open]).await), Refusal::Unfinished);
    assert_eq!(refused(media.discard(owner, one).await), Refusal::NotFound);
}

#[tokio::test]
async fn it_is_had_where_a_message_bears_it_and_unsent_by_its_owner() {
    let world = World::new(&[]).await;
    let (media, owner, room) = (&world.media, world.owner, world.room);
    let (other, elsewhere) = (UserId::random(), RoomId::random());
    let id = world.whole().await.id;
    assert!(media.readable(room, owner, id).await.is_ok());
    assert_eq!(refused(media.readable(room, other, id).await), Refusal::NotFound);
    assert_eq!(refused(media.readable(elsewhere, owner, id).await), Refusal::NotFound);
    media.take(owner, room, MessageId::random(), &[id]).await.unwrap();
    assert!(media.readable(room, other, id).await.is_ok());
    assert_eq!(refused(media.readable(elsewhere, other, id).await), Refusal::NotFound);
    media.forward(room, elsewhere, MessageId::random(), &[id]).await.unwrap();
    assert!(media.readable(elsewhere, other, id).await.is_ok());
    let nowhere = RoomId::random();
    assert_eq!(refused(media.forward(nowhere, room, MessageId::random(), &[id]).await), Refusal::Foreign(id));
}

#[tokio::test]
async fn what_no_message_has_any_more_is_collected_and_nothing_else() {
    let world = World::new(&[("NATTERJACK_MEDIA_ORPHAN_S", "3600")]).await;
    let (media, owner, room) = (&world.media, world.owner, world.room);
    let admin = world.admin().await;
    let [sent, recalled, unsent, young] =
        [world.whole().await.id, world.whole().await.id, world.whole().await.id, world.whole().await.id];
    let half = world.create(10).await.unwrap();
    world.send(&half, 0, "01234", Course::Resumable).await.unwrap();
    let (said, taken_back) = (MessageId::random(), MessageId::random());
    media.take(owner, room, said, &[sent]).await.unwrap();
    media.take(owner, room, taken_back, &[recalled]).await.unwrap();
    let sql = "INSERT INTO read.messages (room, seq, mid, author, cid, ordinal, body, posted_at, recalled_seq, recalled_at, all_mentions)
               VALUES ($1, 1, $2, $3, $2, 1, NULL, '', 2, '', 0)";
    admin.execute(sql, &[room.as_uuid(), taken_back.as_uuid(), owner.as_uuid()]).await.unwrap();
    assert_eq!(refused(media.readable(room, UserId::random(), recalled).await), Refusal::NotFound);
    assert_eq!(media.collect().await.unwrap(), 0);

    let age = "UPDATE media.uploads SET touched_at = now() - interval '2 hours' WHERE id <> $1";
    admin.execute(age, &[young.as_uuid()]).await.unwrap();
    admin.execute("UPDATE media.uses SET used_at = now() - interval '2 hours'", &[]).await.unwrap();
    // Somebody else is at it.
    admin.execute("SELECT pg_advisory_lock($1)", &[&0x6e6a_6d65_6469_6120_i64]).await.unwrap();
    assert_eq!(media.collect().await.unwrap(), 0);
    admin.execute("SELECT pg_advisory_unlock($1)", &[&0x6e6a_6d65_6469_6120_i64]).await.unwrap();
    assert_eq!(media.collect().await.unwrap(), 3);
    for gone in [recalled, unsent, half.id] {
        assert!(media.upload(gone).await.unwrap().is_none());
    }
    for kept in [sent, young] {
        assert!(media.upload(kept).await.unwrap().is_some());
    }
    assert_eq!((world.rows().await, world.objects().await), (2, 2));
}
