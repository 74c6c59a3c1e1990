//! Coming back on a front that knows nothing yet: what it needs, and where from.

use futures_util::{StreamExt, stream};
use natterjack_domain::{
    ClientId, EventId, MessageBody, MessageId, RoomId, RoomName, UserId, Visibility, message, room,
};
use natterjack_eventlog::{Log, NewEvent, Subject};
use natterjack_testkit::{Account, Site};
use natterjack_wire::{ErrorCode, Fact};
use serde_json::json;

/// More than a front reads from the log one by one.
const CHANGES: usize = 150;

/// Resumes after `after`; gives the texts that were missed.
async fn resume(account: &Account, front: &str, room: RoomId, after: u64, missed: usize) -> Vec<String> {
    let mut socket = account.connect(front).await;
    let answer = socket.subscribe(room, json!({ "after": after })).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    let (mut last, mut texts) = (after, vec![]);
    while texts.len() < missed {
        let event = socket.until(|frame| frame["t"] == "ev").await;
        assert!(event["prev"].as_u64().unwrap() <= last, "a gap after {last}: {event}");
        last = event["seq"].as_u64().unwrap();
        texts.push(event["e"]["body"].as_str().unwrap_or_default().to_owned());
    }
    socket.assert_none(|frame| frame["t"] == "ev").await;
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_short_absence_a_cold_front_asks_nothing_of_postgres() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await, site.projector().await);
    let url = front.url();
    let (ada, bob) = (site.register(&url, "ada").await, site.register(&url, "bob").await);
    let room = ada.create_room(&url, "Marsh", "public").await;
    bob.join(&url, room).await;
    let mut socket = ada.connect(&url).await;
    let mut posted = vec![];
    for text in ["one", "two", "three", "four"] {
        posted.push(socket.post(room, text).await["seq"].as_u64().unwrap());
    }
    site.projected().await;
    projector.stop().await;
    // Now whoever asks Postgres is told that nothing ever happened.
    site.admin().await.unwrap().execute("DELETE FROM log.events", &[]).await.unwrap();

    let cold = site.front().await.url();
    assert_eq!(resume(&bob, &cold, room, posted[1], 2).await, ["three", "four"]);
    // Who is farther behind, who is not so far, and who names a place where the room has no event.
    assert_eq!(resume(&ada, &cold, room, posted[0], 3).await, ["two", "three", "four"]);
    assert_eq!(resume(&bob, &cold, room, posted[2], 1).await, ["four"]);
    let begin = posted[0] - 1;
    assert_eq!(resume(&ada, &cold, room, begin, 4).await, ["one", "two", "three", "four"]);
}

/// Appends the events that make a room with [`CHANGES`] changes: `last` and `gone` are the last to join, and `gone` leaves.
/// `linked`: as fronts do, each on condition that it follows the one before; else only the last one is.
async fn eventful(log: &Log, [owner, last, gone]: [UserId; 3], linked: bool) -> RoomId {
    let id = RoomId::random();
    let name = Some(RoomName::parse("Marsh").unwrap());
    let created = room::Event::Created {
        by: owner,
        kind: room::Kind::Room,
        name,
        visibility: Visibility::Private,
        members: vec![owner],
    };
    let joined = (0..CHANGES).map(|_| UserId::random()).chain([last, gone]);
    let joined = joined.map(|user| room::Event::MemberJoined { by: user, user, invite: None });
    let left = room::Event::MemberLeft { by: gone, user: gone, reason: None };
    let mut before = 0;
    for event in [created].into_iter().chain(joined).chain([left]) {
        let is_last = matches!(event, room::Event::MemberLeft { .. });
        let new = NewEvent::new(Subject::state(id), EventId::random(), &Fact::Room(event));
        let new = if linked || is_last { new.expecting(before) } else { new };
        before = log.append(new).await.unwrap().seq;
    }
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_many_changes_is_folded_from_whatever_there_is() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await, site.projector().await);
    let url = front.url();
    let (ada, bob) = (site.register(&url, "ada").await, site.register(&url, "bob").await);
    let eve = site.register(&url, "eve").await;
    let log = site.log().await;
    let people = [ada.user, bob.user, eve.user];
    let rooms: Vec<RoomId> =
        stream::iter([true, false]).then(|linked| eventful(&log, people, linked)).collect().await;
    site.projected().await;
    let with_postgres = site.front().await.url();
    projector.stop().await;
    site.postgres.stop_fast().await;
    let without_postgres = site.front().await.url();
    // The first of these had its chance while Postgres was there.
    for front in [&with_postgres, &without_postgres] {
        for room in &rooms {
            for member in [&ada, &bob] {
                let answer = member.connect(front).await.post(*room, "here").await;
                assert_eq!(answer["t"], "ok", "{answer}");
            }
            let answer = eve.connect(front).await.post(*room, "me too").await;
            assert_eq!(answer["code"], ErrorCode::RoomNotFound.number());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_is_followed_back_as_far_as_its_events_say_what_was_before() {
    let site = Site::builder().start().await;
    let log = site.log().await;
    let id = RoomId::random();
    let append = async |expected: Option<u64>| {
        let user = UserId::random();
        let fact = Fact::Room(room::Event::MemberJoined { by: user, user, invite: None });
        let event = NewEvent::new(Subject::state(id), EventId::random(), &fact);
        log.append(NewEvent { expected_last: expected, ..event }).await.unwrap().seq
    };
    let first = append(Some(0)).await;
    let second = append(Some(first)).await;
    let third = append(Some(second)).await;
    let back = async |head, down_to, max| {
        let (events, at) = log.back_from(Subject::state(id), head, down_to, max).await.unwrap();
        (events.iter().map(|event| event.seq).collect::<Vec<_>>(), at)
    };
    assert_eq!(back(third, 0, 9).await, (vec![third, second, first], 0));
    assert_eq!(back(third, first, 9).await, (vec![third, second], first));
    assert_eq!(back(third, 0, 1).await, (vec![third], second));
    assert_eq!(back(0, 0, 9).await, (vec![], 0));
    let loose = append(None).await;
    let last = append(Some(loose)).await;
    assert_eq!(back(last, 0, 9).await, (vec![last], loose));
    assert_eq!(back(last + 1, 0, 9).await, (vec![], last + 1), "the log holds nothing there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_more_than_is_read_at_once_gets_all_of_it_from_either_store() {
    let site = Site::builder().set("TAIL_EVENTS", 16).start().await;
    let (front, projector) = (site.front().await, site.projector().await);
    let (url, log) = (front.url(), site.log().await);
    let ada = site.register(&url, "ada").await;
    let room = ada.create_room(&url, "Marsh", "public").await;
    let begin = log.last_seq(0).await.unwrap();
    let (mut texts, mut seqs) = (vec![], vec![begin]);
    for n in 0..150 {
        let (by, cid) = (UserId::random(), ClientId::random());
        let id = MessageId::derive(room, by, cid);
        let body = MessageBody::parse(&n.to_string(), 100).unwrap();
        let posted = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
        let post = async |room| {
            let event = NewEvent::new(Subject::timeline(room), EventId::random(), &posted);
            log.append(event).await.unwrap().seq
        };
        seqs.push(post(room).await);
        // What others say lies in between.
        post(RoomId::random()).await;
        texts.push(n.to_string());
    }
    site.projected().await;
    projector.stop().await;
    let of_postgres = site.front_with(&[("DEEP_READ_SPAN", "0")]).await;
    for before in [0, 22] {
        let missed = resume(&ada, &of_postgres.url(), room, seqs[before], 150 - before).await;
        assert_eq!(missed, texts[before..]);
    }
    site.postgres.stop_fast().await;
    let of_the_log = site.front().await;
    for before in [0, 22] {
        let missed = resume(&ada, &of_the_log.url(), room, seqs[before], 150 - before).await;
        assert_eq!(missed, texts[before..]);
    }
}
