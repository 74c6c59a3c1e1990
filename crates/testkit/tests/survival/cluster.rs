//! Invariants 7 and 16 on three nats-servers: one is killed, two are, or the disk of one is bad.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use natterjack_domain::ClientId;
use natterjack_stack::NatsCluster;
use natterjack_testkit::{Front, Site, eventually};
use natterjack_wire::ErrorCode;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    spoil::flip_a_bit,
    world::{World, number, told, world},
};

/// The server that leads the stream, by its place in the cluster.
async fn leader(site: &Site<NatsCluster>) -> usize {
    let url = site.nats.url();
    let client = async_nats::connect(url.split(',').collect::<Vec<_>>()).await.unwrap();
    let context = jetstream::new(client);
    eventually("the stream to have a leader", async || {
        let stream = context.get_stream("CHAT-0").await.ok()?;
        let leader = stream.cached_info().cluster.as_ref()?.leader.clone()?;
        leader.strip_prefix('n')?.parse().ok()
    })
    .await
}

/// Has another server lead the stream.
async fn step_down(site: &Site<NatsCluster>, server: usize) {
    let url = site.nats.url();
    let client = async_nats::connect(url.split(',').collect::<Vec<_>>()).await.unwrap();
    client.request("$JS.API.STREAM.LEADER.STEPDOWN.CHAT-0", "".into()).await.unwrap();
    eventually("another leader", async || (leader(site).await != server).then_some(())).await;
}

fn writable(front: &Front) -> Option<String> {
    let checks = front.readiness.report().checks;
    checks.into_iter().find(|check| check.name == "log").unwrap().reason
}

/// People chat while the stream's leader ends: nobody who tries again is refused, and nobody waits longer than `stall_max`.
async fn a_leader_ends(graceful: bool, stall_max: Duration) {
    const BEFORE_AND_AFTER: usize = 50;
    let mut world = world(Site::builder().start_with_cluster().await).await;
    let (other, projector) = (world.site.front().await, world.site.projector().await);
    let mut bobs = world.bob.connect(&other.url()).await;
    bobs.subscribe(world.room, json!({})).await;
    let (ada, room, url) = (world.ada.clone(), world.room, world.front.url());
    let (sender, mut acked) = tokio::sync::mpsc::unbounded_channel();
    let chatting = tokio::spawn(async move {
        let mut socket = ada.connect(&url).await;
        for n in 0_u32.. {
            let send = json!({ "t": "send", "id": n, "room": room, "cid": ClientId::random(), "body": n.to_string() });
            let mut answer = socket.ask(send.clone()).await;
            // A front that cannot look into the log at this moment says when to try again.
            while let Some(retry_ms) = answer["retry_ms"].as_u64() {
                sleep(Duration::from_millis(retry_ms)).await;
                answer = socket.ask(send.clone()).await;
            }
            if sender.send((Instant::now(), number(&answer["seq"]))).is_err() {
                break;
            }
        }
    });
    let mut acks = vec![];
    for _ in 0..BEFORE_AND_AFTER {
        acks.push(acked.recv().await.unwrap());
    }
    let ends = leader(&world.site).await;
    if graceful {
        // As docs/operations.md says: a server that is only told to end may take its leadership with it.
        step_down(&world.site, ends).await;
        world.site.nats.members[ends].stop().await;
    } else {
        world.site.nats.members[ends].kill_hard().await;
    }
    let ended = Instant::now();
    while acks.last().unwrap().0 < ended {
        acks.push(acked.recv().await.unwrap());
    }
    for _ in 0..BEFORE_AND_AFTER {
        acks.push(acked.recv().await.unwrap());
    }
    drop(acked);
    chatting.await.unwrap();
    let stall = acks.windows(2).map(|two| two[1].0 - two[0].0).max().unwrap();
    eprintln!("longest stall, graceful {graceful}: {stall:?}");
    assert!(stall <= stall_max, "{stall:?}");

    for (_, seq) in &acks {
        let frame = bobs.until(|frame| frame["t"] == "ev").await;
        assert_eq!(number(&frame["seq"]), *seq, "{frame}");
    }
    world.site.assert_replay_is_equal().await;
    // What is said to a person comes over a connection of its own.
    let quiet = world.ada.create_room(&world.front.url(), "Pond", "private").await;
    let path = format!("{}/v1/rooms/{quiet}/members", world.front.url());
    world.ada.post(&path, json!({ "user": world.bob.user })).await;
    bobs.until(|frame| frame["t"] == "eph" && frame["membership"]["room"] == json!(quiet)).await;
    world.site.nats.members[ends].restart().await.unwrap();
    let ok = world.ada.connect(&world.front.url()).await.post(world.room, "all three").await;
    bobs.until(|frame| frame["seq"] == ok["seq"]).await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_stalls_writers_for_ten_seconds_at_most_and_refuses_nobody() {
    a_leader_ends(false, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_stalls_writers_for_three_seconds_at_most() {
    a_leader_ends(true, Duration::from_secs(3)).await;
}

async fn take_quorum(world: &World<NatsCluster>, frozen: bool) {
    // The one that stays does not lead.
    let leads = leader(&world.site).await;
    for member in [leads, (leads + 1) % 3] {
        if frozen {
            world.site.nats.members[member].suspend().await;
        } else {
            world.site.nats.members[member].kill_hard().await;
        }
    }
}

async fn give_quorum_back(world: &mut World<NatsCluster>, frozen: bool) {
    for member in &mut world.site.nats.members {
        if frozen {
            member.resume();
        }
    }
    if !frozen {
        let (mut dead, mut starting) = (vec![], tokio::task::JoinSet::new());
        for member in world.site.nats.members.drain(..) {
            starting.spawn(async move {
                let mut member = member;
                if tokio::time::timeout(Duration::ZERO, member.exited()).await.is_ok() {
                    member.restart().await.unwrap();
                }
                member
            });
        }
        while let Some(member) = starting.join_next().await {
            dead.push(member.unwrap());
        }
        world.site.nats.members = dead;
    }
}

async fn without_a_quorum(frozen: bool) {
    let site = Site::builder().set("APPEND_DEADLINE_MS", 1_000).start_with_cluster().await;
    let mut world = world(site).await;
    let (url, projector) = (world.front.url(), world.site.projector().await);
    let seqs = world.say(&["one", "two", "three"]).await;
    world.site.projected().await;
    let mut bobs = world.bob.connect(&url).await;
    bobs.subscribe(world.room, json!({})).await;
    let mut adas = world.ada.connect(&url).await;
    take_quorum(&world, frozen).await;

    let frame = |n: u32| json!({ "t": "send", "id": 70 + n, "room": world.room, "cid": ClientId::random(), "body": format!("during {n}") });
    let frames = [frame(0), frame(1)];
    for frame in &frames {
        let refused = adas.ask(frame.clone()).await;
        assert_eq!(refused["code"], ErrorCode::LogUnavailable.number(), "{refused}");
        assert!(refused["retry_ms"].is_u64(), "{refused}");
    }
    eventually("the front to say so", async || writable(&world.front)).await;
    bobs.assert_none(|frame| frame["t"] == "ev").await;
    let page = format!("{url}/v1/rooms/{}/messages", world.room);
    // Where the front's own server is frozen it has to find another one before it knows who may read.
    let page = eventually("history to be readable", async || {
        let (status, page) = world.bob.get(&page).await;
        status.is_success().then_some(page)
    })
    .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 3, "{page}");
    // On a connection that is there already; a new one has to ask the log where the person's feed is.
    bobs.ask(json!({ "t": "unsub", "id": 7, "room": world.room })).await;
    let answer = bobs.subscribe(world.room, json!({ "after": seqs[0] })).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    for seq in &seqs[1..] {
        assert_eq!(bobs.until(|frame| frame["t"] == "ev").await["seq"], *seq);
    }

    give_quorum_back(&mut world, frozen).await;
    for frame in &frames {
        let ok = eventually("the send to be taken", async || {
            let mut socket = world.ada.try_connect(&url).await?;
            let answer = socket.ask(frame.clone()).await;
            (answer["t"] == "ok").then_some(answer)
        })
        .await;
        bobs.until(|frame| frame["t"] == "ev" && frame["seq"] == ok["seq"]).await;
    }
    eventually("the front to be well", async || {
        (writable(&world.front).is_none() && world.front.readiness.report().ready).then_some(())
    })
    .await;
    let expected = ["one", "two", "three", "during 0", "during 1"];
    assert_eq!(told(&world.bob, &url, world.room).await, expected, "each once");
    world.site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_it_can_be_read_and_says_that_nothing_can_be_sent() {
    without_a_quorum(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_three_servers_frozen_nothing_is_acknowledged_and_all_is_well_when_they_go_on() {
    without_a_quorum(true).await;
}

/// What the projector has made.
const MADE: &str = "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
                    WHERE schemaname IN ('log', 'read') AND tablename <> 'refinery_schema_history'";

/// The disk of one replica is bad: what it passes over is read from another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_has_lost_is_read_from_another() {
    let mut world = world(Site::builder().start_with_cluster().await).await;
    let seqs = world.say(&["before", "Newts are here", "after"]).await;
    for spoilt in 0..3 {
        let member = &mut world.site.nats.members[spoilt];
        member.stop().await;
        flip_a_bit(member, "Newts are here");
        member.restart().await.unwrap();
        // Reads the whole stream, from whichever replica its consumer is on.
        let client = world.site.admin().await.unwrap();
        let made = client.query_one(MADE, &[]).await.unwrap().get::<_, String>(0);
        client.batch_execute(&format!("TRUNCATE {made}")).await.unwrap();
        let projector = world.site.projector().await;
        world.site.assert_replay_is_equal().await;
        let sql = "SELECT count(*) FROM log.events WHERE seq = $1";
        let copied: i64 = client.query_one(sql, &[&i64::try_from(seqs[1]).unwrap()]).await.unwrap().get(0);
        assert_eq!(copied, 1);
        projector.stop().await;
        let member = &mut world.site.nats.members[spoilt];
        member.stop().await;
        flip_a_bit(member, "Newts are here");
        member.restart().await.unwrap();
    }
}
