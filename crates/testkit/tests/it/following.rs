//! Following rooms and one's own feed: from a position, past the tail, into another epoch; read marks and typing.

use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Site, Socket, eventually};
use natterjack_wire::ErrorCode;
use serde_json::{Value, json};

const TAIL: usize = 4;

/// A room with `count` messages of Ada's; their sequences.
async fn talk(ada: &Account, front: &str, room: RoomId, count: usize) -> Vec<u64> {
    let mut socket = ada.connect(front).await;
    let mut seqs = vec![];
    for n in 0..count {
        seqs.push(socket.post(room, &format!("{n}")).await["seq"].as_u64().unwrap());
    }
    seqs
}

/// Takes events until `last`; they have to follow `after` without a gap. Gives how many they were.
async fn take_up_to(socket: &mut Socket, after: u64, last: u64) -> usize {
    let (mut at, mut count) = (after, 0);
    while at < last {
        let event = socket.until(|frame| frame["t"] == "ev").await;
        assert!(event["prev"].as_u64().unwrap() <= at, "a gap after {at}: {event}");
        assert!(event["seq"].as_u64().unwrap() > at, "again: {event}");
        at = event["seq"].as_u64().unwrap();
        count += 1;
    }
    count
}

async fn resume(account: &Account, front: &str, room: RoomId, more: Value) -> (Socket, Value) {
    let mut socket = account.connect(front).await;
    let answer = socket.subscribe(room, more).await;
    assert_eq!(answer["t"], "ok", "{answer}");
    (socket, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_position_following_begins_at_the_head() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let head = *talk(&ada, &front, room, 3).await.last().unwrap();
    let (mut socket, answer) = resume(&ada, &front, room, json!({})).await;
    let expected = json!({
        "t": "ok", "id": answer["id"], "room": room, "epoch": &*site.log().await.epoch(0), "head": head,
    });
    assert_eq!(answer, expected, "nothing was asked to be recovered");
    let next = talk(&ada, &front, room, 1).await[0];
    let event = socket.until(|frame| frame["t"] == "ev").await;
    assert_eq!((&event["seq"], &event["prev"]), (&json!(next), &json!(head)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_comes_from_the_tail_from_postgres_or_from_the_log() {
    let mut site = Site::builder().set("TAIL_EVENTS", TAIL).streams(3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let seqs = talk(&ada, &one, room, 50).await;
    let head = *seqs.last().unwrap();
    site.projected().await;
    for front in [&one, &two] {
        for postgres in [true, false] {
            for back in [0, 1, TAIL, TAIL + 1, 20, 49] {
                let after = seqs[49 - back];
                let (mut socket, answer) = resume(&ada, front, room, json!({ "after": after })).await;
                assert_eq!((&answer["recovered"], &answer["head"]), (&json!(true), &json!(head)));
                assert_eq!(take_up_to(&mut socket, after, head).await, back, "Postgres: {postgres}");
                socket.assert_none(|frame| frame["t"] == "ev").await;
            }
            if postgres {
                site.postgres.stop_fast().await;
            }
        }
        site.postgres.restart().await.unwrap();
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_lags_behind_leaves_no_gap() {
    let site = Site::builder().set("TAIL_EVENTS", TAIL).start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let early = talk(&ada, &front, room, 20).await;
    site.projected().await;
    projector.stop().await;
    let late = talk(&ada, &front, room, 20).await;
    // Another room, so that the stream's positions and the room's differ.
    let other = ada.create_room(&front, "Pond", "public").await;
    talk(&ada, &front, other, 5).await;
    for after in [0, early[3], early[19], late[2], late[19]] {
        let (mut socket, answer) = resume(&ada, &front, room, json!({ "after": after })).await;
        assert_eq!(answer["recovered"], true);
        take_up_to(&mut socket, after, late[19]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_was_asked_for_is_not_recovered_and_following_begins_at_the_head() {
    let site = Site::builder().set("TAIL_EVENTS", TAIL).start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let seqs = talk(&ada, &front, room, 30).await;
    let head = seqs[29];
    for (limit, back, recovered) in [
        (0, 0, true),
        (0, 1, false),
        (2, 2, true),
        (2, 3, false),
        (10, 10, true),
        (10, 11, false),
        (9_999, 29, true),
    ] {
        let after = seqs[29 - back];
        let (mut socket, answer) =
            resume(&ada, &front, room, json!({ "after": after, "limit": limit })).await;
        assert_eq!(answer["recovered"], recovered, "{back} of at most {limit}");
        assert_eq!(answer["head"], head);
        if recovered {
            assert_eq!(take_up_to(&mut socket, after, head).await, back);
        }
        socket.assert_none(|frame| frame["t"] == "ev").await;
    }
    let (_, answer) = resume(&ada, &front, room, json!({ "after": head + 1_000 })).await;
    assert_eq!(answer["head"], head, "a position that is not there yet is no harm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_five_hundred_events_are_never_recovered() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut socket = ada.connect(&front).await;
    for _ in 0..10 {
        let send = |id: u64| json!({ "t": "send", "id": id, "room": room, "cid": natterjack_domain::ClientId::random(), "body": "x" });
        socket.send(&Value::from((0..51).map(send).collect::<Vec<_>>())).await.unwrap();
        for _ in 0..51 {
            socket.until(|frame| frame["t"] == "ok").await;
        }
    }
    let (_, answer) = resume(&ada, &front, room, json!({ "after": 0 })).await;
    assert_eq!(answer["recovered"], false);
    let head = answer["head"].as_u64().unwrap();
    let (mut socket, answer) = resume(&ada, &front, room, json!({ "after": head - 500 })).await;
    assert_eq!(answer["recovered"], true);
    assert_eq!(take_up_to(&mut socket, head - 500, head).await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_epoch_recovers_nothing() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let seqs = talk(&ada, &front, room, 3).await;
    let epoch = site.log().await.epoch(0);
    let (_, answer) = resume(&ada, &front, room, json!({ "after": seqs[0], "epoch": &*epoch })).await;
    assert_eq!((&answer["recovered"], &answer["epoch"]), (&json!(true), &json!(&*epoch)));
    for after in [0, seqs[0], seqs[2]] {
        let more = json!({ "after": after, "epoch": "of-old" });
        let (mut socket, answer) = resume(&ada, &front, room, more).await;
        assert_eq!((&answer["recovered"], &answer["head"]), (&json!(false), &json!(seqs[2])));
        socket.assert_none(|frame| frame["t"] == "ev").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_unsub_no_event_comes_and_after_sub_none_is_missing() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let (mut socket, answer) = resume(&ada, &front, room, json!({})).await;
    let last = answer["head"].as_u64().unwrap();
    assert_eq!(socket.ask(json!({ "t": "unsub", "id": 5, "room": room })).await["room"], json!(room));
    let seqs = talk(&ada, &front, room, 3).await;
    // The front has them: a second client got them.
    let (mut other, _) = resume(&ada, &front, room, json!({ "after": last })).await;
    take_up_to(&mut other, last, seqs[2]).await;
    socket.assert_none(|frame| frame["t"] == "ev").await;
    socket.subscribe(room, json!({ "after": last })).await;
    assert_eq!(take_up_to(&mut socket, last, seqs[2]).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_reaches_the_others_on_every_front_and_not_oneself() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    bob.join(&one, room).await;
    let (mut typist, _) = resume(&ada, &one, room, json!({})).await;
    let (mut tablet, _) = resume(&ada, &two, room, json!({})).await;
    let (mut here, _) = resume(&bob, &one, room, json!({})).await;
    let (mut there, _) = resume(&bob, &two, room, json!({})).await;
    for on in [true, false] {
        typist.send(&json!({ "t": "typing", "room": room, "on": on })).await.unwrap();
        let expected = json!({ "t": "eph", "room": room, "typing": [{ "user": ada.user, "on": on }] });
        for socket in [&mut here, &mut there] {
            assert_eq!(socket.until(|frame| frame["typing"].is_array()).await, expected);
        }
    }
    // A message is behind the signals on each way.
    typist.post(room, "typed").await;
    for socket in [&mut typist, &mut tablet] {
        socket.until(|frame| frame["t"] == "ev").await;
        socket.assert_none(|frame| frame["typing"].is_array()).await;
    }
}

async fn unread(account: &Account, front: &str) -> (u64, u64) {
    let (_, rooms) = account.get(&format!("{front}/v1/rooms")).await;
    let summary = &rooms["items"][0];
    (summary["unread"].as_u64().unwrap(), summary["read_seq"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_device_has_read_is_read_on_all_and_only_moves_forward() {
    let site = Site::builder().start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let room = ada.create_room(&one, "Marsh", "public").await;
    bob.join(&one, room).await;
    let (mut phone, mut laptop) = (bob.connect(&one).await, bob.another(&two).await.connect(&two).await);
    let seqs = talk(&ada, &one, room, 5).await;
    site.projected().await;
    assert_eq!(unread(&bob, &one).await, (5, 0));

    let read = |seq: u64| json!({ "t": "read", "room": room, "seq": seq });
    let marked = |seq: u64| json!({ "v": 1, "type": "user.read", "by": bob.user, "room": room, "seq": seq });
    let told = async |socket: &mut Socket, seq: u64| {
        let mut frame = socket.until(|frame| frame["t"] == "u" && frame["e"]["type"] == "user.read").await;
        frame["e"].as_object_mut().unwrap().remove("id");
        assert_eq!(frame["e"], marked(seq));
    };
    phone.send(&read(seqs[2])).await.unwrap();
    told(&mut laptop, seqs[2]).await;
    told(&mut phone, seqs[2]).await;
    eventually("the mark to count", async || (unread(&bob, &two).await == (2, seqs[2])).then_some(())).await;

    // Backwards, again, and beyond the head, of which only the last is news.
    for seq in [seqs[0], seqs[2], seqs[4] + 1_000] {
        phone.send(&read(seq)).await.unwrap();
    }
    told(&mut phone, seqs[4]).await;
    // Another device does not know what this one has marked; backwards it still does not move.
    laptop.send(&read(seqs[1])).await.unwrap();
    told(&mut laptop, seqs[4]).await;
    site.projected().await;
    eventually("the mark to count", async || (unread(&bob, &one).await == (0, seqs[4])).then_some(())).await;
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_message_is_read_as_soon_as_it_is_acknowledged() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut socket = ada.connect(&front).await;
    for n in 0..20 {
        let seq = socket.post(room, &format!("{n}")).await["seq"].as_u64().unwrap();
        socket.send(&json!({ "t": "read", "room": room, "seq": seq })).await.unwrap();
        let mark = socket.until(|frame| frame["t"] == "u" && frame["e"]["type"] == "user.read").await;
        assert_eq!(mark["e"]["seq"], seq, "message {n}");
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_goes_on_from_where_the_client_was_on_whichever_front() {
    let site = Site::builder().set("TAIL_EVENTS", 2).streams(3).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let mut away = Socket::open(&one).await.unwrap();
    let welcome = away.hello(&ada.token).await;
    drop(away);
    let seqs = talk(&ada, &one, room, 6).await;
    let (mut reader, _) = resume(&ada, &one, room, json!({})).await;
    for seq in &seqs {
        reader.send(&json!({ "t": "read", "room": room, "seq": seq })).await.unwrap();
        reader.until(|frame| frame["e"]["seq"] == *seq).await;
    }
    for front in [&one, &two] {
        let mut socket = Socket::open(front).await.unwrap();
        let resume = json!({ "epoch": welcome["epoch"], "seq": welcome["seq"] });
        socket.send(&json!({ "t": "hello", "token": ada.token, "resume": resume })).await.unwrap();
        let again = socket.next().await.unwrap();
        assert_eq!((&again["t"], &again["recovered"]), (&json!("welcome"), &json!(true)), "{again}");
        let mut last = welcome["seq"].as_u64().unwrap();
        for seq in &seqs {
            let frame = socket.until(|f| f["t"] == "u" && f["e"]["type"] == "user.read").await;
            assert_eq!(frame["e"]["seq"], *seq);
            assert!(frame["seq"].as_u64().unwrap() > last);
            last = frame["seq"].as_u64().unwrap();
        }
        assert_eq!(again["seq"], last);

        let mut stranger = Socket::open(front).await.unwrap();
        let resume = json!({ "epoch": "of-old", "seq": welcome["seq"] });
        stranger.send(&json!({ "t": "hello", "token": ada.token, "resume": resume })).await.unwrap();
        assert_eq!(stranger.next().await.unwrap()["recovered"], false);
        stranger.assert_none(|frame| frame["t"] == "u").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_not_there_is_not_followed() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = ada.connect(&front).await;
    let room = RoomId::random();
    assert_eq!(socket.subscribe(room, json!({})).await["code"], ErrorCode::RoomNotFound.number());
    assert_eq!(socket.post(room, "hello?").await["code"], ErrorCode::RoomNotFound.number());
}
