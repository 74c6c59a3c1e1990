//! The log by itself: setting the streams up, and a cluster whose leader is killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::jetstream;
use bytes::Bytes;
use natterjack_domain::{ClientId, EventId, MessageBody, MessageId, RoomId, UserId, message, user};
use natterjack_eventlog::{
    AppendError, Appended, Config, Log, NewEvent, OpenError, Signal, StreamError, Subject, provision,
    stream_config,
};
use natterjack_runtime::config::Reader;
use natterjack_stack::{NatsCluster, NatsServer, Tools};
use natterjack_testkit::eventually;
use natterjack_wire::Fact;
use tokio::task::JoinSet;

fn config(url: &str, more: &[(&str, &str)]) -> Config {
    let pairs = more.iter().map(|(name, value)| (format!("NATTERJACK_{name}"), (*value).to_owned()));
    let mut reader = Reader::from_pairs(pairs.chain([("NATTERJACK_NATS_URL".to_owned(), url.to_owned())]));
    let config = Config::read(&mut reader);
    reader.finish().unwrap();
    config
}

async fn server() -> NatsServer {
    NatsServer::temporary(&Tools::find().unwrap()).await.unwrap()
}

async fn context(config: &Config) -> jetstream::Context {
    jetstream::new(async_nats::connect(config.url.split(',').collect::<Vec<_>>()).await.unwrap())
}

fn posted(room: RoomId, n: usize) -> NewEvent {
    let (by, cid) = (UserId::random(), ClientId::random());
    let id = MessageId::derive(room, by, cid);
    let body = MessageBody::parse(&n.to_string(), 100).unwrap();
    let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
    NewEvent::new(Subject::timeline(room), EventId::from(id), &fact)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_made_once_however_often_and_by_however_many() {
    let nats = server().await;
    let three = config(&nats.url(), &[("STREAMS", "3")]);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let three = three.clone();
        tasks.spawn(async move { provision(&three).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let log = Log::open(&three).await.unwrap();
    let epochs: Vec<_> = (0..3).map(|stream| log.epoch(stream)).collect();
    let room = RoomId::random();
    let seq = log.append(posted(room, 1)).await.unwrap().seq;
    provision(&three).await.unwrap();
    let again = Log::open(&three).await.unwrap();
    assert_eq!((0..3).map(|stream| again.epoch(stream)).collect::<Vec<_>>(), epochs);
    assert_eq!(again.tail_of(Subject::timeline(room), 0, 10).await.unwrap()[0].seq, seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_missing_is_named_together_with_the_way_out() {
    let nats = server().await;
    let one = config(&nats.url(), &[]);
    let error = Log::open(&one).await.err().unwrap();
    assert!(matches!(error, OpenError::Stream(StreamError::Missing { .. })), "{error:?}");
    assert_eq!(error.to_string(), "the stream CHAT-0 does not exist; `natterjack migrate` makes it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_streams_than_the_installation_has_is_refused() {
    let nats = server().await;
    provision(&config(&nats.url(), &[("STREAMS", "3")])).await.unwrap();
    for streams in ["1", "2", "4"] {
        let other = config(&nats.url(), &[("STREAMS", streams)]);
        assert!(Log::open(&other).await.is_err(), "opened with {streams}");
        let error = provision(&other).await.err().unwrap().to_string();
        assert!(error.contains("CHAT-"), "{error}");
    }
    Log::open(&config(&nats.url(), &[("STREAMS", "3")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_somebody_made_otherwise_is_refused_and_left_alone() {
    let nats = server().await;
    let one = config(&nats.url(), &[]);
    let context = context(&one).await;
    let other = jetstream::stream::Config {
        max_age: Duration::from_mins(1),
        republish: None,
        ..stream_config(0, &one)
    };
    context.create_stream(other.clone()).await.unwrap();
    for error in [provision(&one).await.err().unwrap(), Log::open(&one).await.err().unwrap()] {
        assert!(matches!(error, OpenError::Stream(StreamError::Incompatible { .. })), "{error:?}");
        let words = error.to_string();
        assert!(words.starts_with("the stream CHAT-0 is not as Natterjack needs it: "), "{words}");
        assert!(
            words.contains("the age limit is 60s, not 0ns") && words.contains("republish is off"),
            "{words}"
        );
    }
    let found = context.get_stream("CHAT-0").await.unwrap();
    assert_eq!(found.cached_info().config.max_age, other.max_age);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_reached_is_an_error_and_no_wait() {
    let nats = server().await;
    let one = config(&nats.url(), &[]);
    nats.kill_hard().await;
    for error in [provision(&one).await.err().unwrap(), Log::open(&one).await.err().unwrap()] {
        assert!(matches!(error, OpenError::Connect(_)), "{error:?}");
        assert_eq!(error.to_string(), "connecting to nats-server failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_decisions_on_one_state_the_log_takes_one() {
    let nats = server().await;
    let one = config(&nats.url(), &[]);
    provision(&one).await.unwrap();
    let log = Log::open(&one).await.unwrap();
    let room = RoomId::random();
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let log = log.clone();
        tasks.spawn(async move { log.append(posted(room, n).expecting(0)).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(AppendError::Conflict))), "{results:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_acknowledgement_an_append_is_unavailable_after_its_deadline() {
    let nats = server().await;
    let one = config(&nats.url(), &[("APPEND_DEADLINE_MS", "200")]);
    provision(&one).await.unwrap();
    let log = Log::open(&one).await.unwrap();
    let (room, begun) = (RoomId::random(), Instant::now());
    nats.suspend().await;
    let event = posted(room, 1);
    let error = log.append(event.clone()).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    nats.resume();
    // It may have been stored after all: the same id says so and stores nothing more.
    let appended = eventually("the log to answer", async || log.append(event.clone()).await.ok()).await;
    let events = log.tail_of(Subject::timeline(room), 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [appended.seq]);
}

/// Enough that some go together: what is held while others are under way becomes a batch.
const MANY: usize = 400;

/// One node with its log, and what is needed to look into the stream.
async fn one_node() -> (NatsServer, Log, jetstream::Context) {
    let nats = server().await;
    let one = config(&nats.url(), &[]);
    provision(&one).await.unwrap();
    (nats, Log::open(&one).await.unwrap(), context(&one).await)
}

/// Starts all appends in order, then waits for each.
async fn append_all(log: &Log, events: &[NewEvent]) -> Vec<Result<Appended, AppendError>> {
    let mut pending = vec![];
    for event in events {
        pending.push(log.begin(event.clone()).await);
    }
    let mut results = vec![];
    for pending in pending {
        results.push(pending.finish().await);
    }
    results
}

/// All that the room's timeline holds.
async fn timeline(log: &Log, room: RoomId) -> Vec<(u64, Bytes)> {
    let mut stored: Vec<(u64, Bytes)> = vec![];
    loop {
        let at = stored.last().map_or(0, |(seq, _)| *seq);
        let page = log.tail_of(Subject::timeline(room), at, 1_000).await.unwrap();
        if page.is_empty() {
            return stored;
        }
        stored.extend(page.into_iter().map(|event| (event.seq, event.body)));
    }
}

async fn batched(context: &jetstream::Context, stored: &[(u64, Bytes)]) -> usize {
    let stream = context.get_stream("CHAT-0").await.unwrap();
    let mut count = 0;
    for (seq, _) in stored {
        let message = stream.direct_get(*seq).await.unwrap();
        count += usize::from(message.headers.get("Nats-Batch-Id").is_some());
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_go_together_in_order_and_each_learns_its_own_sequence() {
    let (_nats, log, context) = one_node().await;
    let room = RoomId::random();
    let events: Vec<_> = (0..MANY).map(|n| posted(room, n)).collect();
    let appended: Vec<_> = append_all(&log, &events).await.into_iter().map(Result::unwrap).collect();
    assert!(appended.iter().all(|appended| !appended.duplicate));
    let expected: Vec<_> =
        appended.iter().zip(&events).map(|(appended, event)| (appended.seq, event.body.clone())).collect();
    let stored = timeline(&log, room).await;
    assert_eq!(stored, expected, "in the order in which they were begun");
    assert!(batched(&context, &stored).await > MANY / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_among_many_is_recognised_and_takes_nothing_with_it() {
    let (_nats, log, context) = one_node().await;
    let room = RoomId::random();
    let first = posted(room, 0);
    let seq = log.append(first.clone()).await.unwrap().seq;
    let mut events: Vec<_> = (1..MANY).map(|n| posted(room, n)).collect();
    // One that is stored already, and one that comes twice.
    events.insert(MANY / 2, first);
    events.insert(MANY / 3, events[MANY / 3 - 1].clone());
    let appended: Vec<_> = append_all(&log, &events).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(appended[MANY / 2 + 1], Appended { seq, duplicate: true });
    let twice = appended[MANY / 3 - 1].seq;
    assert_eq!(appended[MANY / 3], Appended { seq: twice, duplicate: true });
    let stored = timeline(&log, room).await;
    assert_eq!(stored.len(), MANY);
    for (appended, event) in appended.iter().zip(&events) {
        assert!(stored.contains(&(appended.seq, event.body.clone())));
    }
    let fresh: Vec<_> = appended.iter().filter(|a| !a.duplicate).map(|a| a.seq).collect();
    assert!(fresh.is_sorted(), "a batch that is refused is sent before anything that came later");
    assert!(batched(&context, &stored).await < MANY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_among_many_is_only_its_own() {
    let (_nats, log, _) = one_node().await;
    let (room, other) = (RoomId::random(), RoomId::random());
    let mut events: Vec<_> = (0..MANY).map(|n| posted(room, n)).collect();
    events.insert(MANY / 2, posted(other, 1).expecting(7));
    let results = append_all(&log, &events).await;
    for (index, result) in results.iter().enumerate() {
        match result {
            Err(AppendError::Conflict) => assert_eq!(index, MANY / 2),
            result => assert!(result.is_ok() && index != MANY / 2, "{index}: {result:?}"),
        }
    }
    assert_eq!(timeline(&log, room).await.len(), MANY);
    assert!(timeline(&log, other).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_repeats_slows_nobody_elses_room() {
    let (_nats, log, context) = one_node().await;
    let (room, repeating) = (RoomId::random(), RoomId::random());
    let first = posted(repeating, 0);
    let seq = log.append(first.clone()).await.unwrap().seq;
    assert!(log.append(first.clone()).await.unwrap().duplicate);
    let events: Vec<_> =
        (0..MANY).map(|n| if n % 10 == 5 { first.clone() } else { posted(room, n) }).collect();
    let appended: Vec<_> = append_all(&log, &events).await.into_iter().map(Result::unwrap).collect();
    for (n, appended) in appended.iter().enumerate() {
        assert_eq!(*appended == Appended { seq, duplicate: true }, n % 10 == 5, "{n}: {appended:?}");
    }
    let stored = timeline(&log, room).await;
    assert_eq!(stored.len(), MANY * 9 / 10);
    assert!(batched(&context, &stored).await > MANY / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_condition_keeps_its_place_in_its_room_and_holds_up_no_other() {
    let (_nats, log, context) = one_node().await;
    let (room, other) = (RoomId::random(), RoomId::random());
    // In the middle of the other room's events there is one whose condition is true, and many whose is not.
    let true_one = MANY / 2 + 5;
    let event = |n: usize| match n % 10 {
        4 | 6 => posted(other, n),
        5 if n == true_one => NewEvent { subject: Subject::state(other), ..posted(other, n) }.expecting(0),
        5 => posted(other, n).expecting(0),
        _ => posted(room, n),
    };
    let events: Vec<_> = (0..MANY).map(event).collect();
    let mut in_other = vec![];
    for (n, result) in append_all(&log, &events).await.into_iter().enumerate() {
        match result {
            Ok(appended) if n == true_one || [4, 6].contains(&(n % 10)) => in_other.push(appended.seq),
            Err(AppendError::Conflict) => assert_eq!(n % 10, 5),
            result => assert!(result.is_ok() && n % 10 != 5, "{n}: {result:?}"),
        }
    }
    assert_eq!(in_other.len(), MANY / 5 + 1);
    assert!(in_other.is_sorted());
    let stored = timeline(&log, room).await;
    assert_eq!(stored.len(), MANY * 7 / 10);
    assert!(batched(&context, &stored).await > MANY / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_and_nobody_waits_for_is_never_sent() {
    let (nats, log, _) = one_node().await;
    let room = RoomId::random();
    nats.suspend().await;
    let mut pending = vec![];
    for n in 0..MANY {
        pending.push(log.begin(posted(room, n)).await);
    }
    // More than go by themselves.
    pending.truncate(MANY / 10);
    nats.resume();
    let mut kept = vec![];
    for pending in pending {
        kept.push(pending.finish().await.unwrap().seq);
    }
    kept.push(log.append(posted(room, MANY)).await.unwrap().seq);
    let stored: Vec<_> = timeline(&log, room).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(stored, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_batches_loses_and_doubles_nothing() {
    let (mut nats, log, _) = one_node().await;
    let room = RoomId::random();
    let mut writers = JoinSet::new();
    for writer in 0..MANY {
        let log = log.clone();
        writers.spawn(async move {
            let mut acknowledged = vec![];
            for n in 0..8 {
                let event = posted(room, writer * 1_000 + n);
                acknowledged.push((log.append(event.clone()).await.unwrap().seq, event.body));
            }
            acknowledged
        });
    }
    let head =
        async || log.heads(natterjack_eventlog::Topic::Room(room)).await.ok().map(|heads| heads.timeline);
    for crash_at in [500, 1_500] {
        eventually("some appends", async || head().await.filter(|head| *head > crash_at)).await;
        nats.restart().await.unwrap();
    }
    let mut acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    acknowledged.sort();
    assert_eq!(timeline(&log, room).await, acknowledged);
}

/// The server that leads the stream, by its place in the cluster.
async fn leader(config: &Config) -> usize {
    let context = context(config).await;
    eventually("the stream to have a leader", async || {
        let stream = context.get_stream("CHAT-0").await.ok()?;
        let leader = stream.cached_info().cluster.as_ref()?.leader.clone()?;
        leader.strip_prefix('n')?.parse().ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_leader_is_killed_goes_on_and_keeps_what_it_acknowledged() {
    const RESUMES_WITHIN: Duration = Duration::from_secs(15);
    let cluster = NatsCluster::temporary(&Tools::find().unwrap()).await.unwrap();
    let config = config(&cluster.url(), &[("REPLICAS", "3"), ("APPEND_DEADLINE_MS", "30000")]);
    provision(&config).await.unwrap();
    let log = Log::open(&config).await.unwrap();
    let (room, done) = (RoomId::random(), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (log, done) = (log.clone(), done.clone());
        writers.spawn(async move {
            let mut acknowledged = vec![];
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let event = posted(room, writer * 1_000_000 + n);
                let appended = log.append(event.clone()).await.unwrap();
                acknowledged.push((appended.seq, event.body));
            }
            acknowledged
        });
    }
    let head =
        async || log.heads(natterjack_eventlog::Topic::Room(room)).await.ok().map(|heads| heads.timeline);
    eventually("some appends", async || head().await.filter(|head| *head > 50)).await;
    cluster.members[leader(&config).await].kill_hard().await;
    let (killed_at, before) = (Instant::now(), log.append(posted(room, 0)).await.unwrap().seq);
    assert!(killed_at.elapsed() < RESUMES_WITHIN, "{:?}", killed_at.elapsed());
    eventually("more appends", async || head().await.filter(|head| *head > before + 50)).await;
    done.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();

    let last = acknowledged.iter().map(|(seq, _)| *seq).max().unwrap();
    let mut stored = std::collections::BTreeMap::new();
    let mut at = 0;
    while at < last {
        let page = eventually("the log to answer", async || {
            log.tail_of(Subject::timeline(room), at, 1_000).await.ok().filter(|page| !page.is_empty())
        })
        .await;
        at = page.last().unwrap().seq;
        stored.extend(page.into_iter().map(|event| (event.seq, event.body)));
    }
    for (seq, body) in &acknowledged {
        assert_eq!(stored.get(seq), Some(body), "{seq} was acknowledged and is not there");
    }
    // Each of them once: retries were recognised, however the leader died. One append was the test's own.
    let mut bodies: Vec<_> = stored.values().collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), stored.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_are_heard_on_a_cluster_also_when_their_server_dies() {
    let cluster = NatsCluster::temporary(&Tools::find().unwrap()).await.unwrap();
    let config = config(&cluster.url(), &[("REPLICAS", "3")]);
    provision(&config).await.unwrap();
    let log = Log::open(&config).await.unwrap();
    let (feeds, mut live) = log.feeds();
    let (user, id) = (UserId::random(), feeds.name());
    eventually("the feed to be followed", async || feeds.follow(id, user).await.ok()).await;
    let mut hear = async |username: &str| {
        let fact = Fact::User(user::Event::Registered { id: user, username: username.to_owned() });
        let event = NewEvent::new(Subject::feed(user), EventId::random(), &fact);
        let Appended { seq, .. } = log.append(event).await.unwrap();
        let heard = tokio::time::timeout(natterjack_testkit::PATIENCE, live.recv()).await.unwrap();
        let Some((whose, Signal::Event(event))) = heard else { panic!("{heard:?}") };
        assert_eq!((whose, event.seq), (user, seq));
    };
    hear("before").await;

    let mut link = feeds.link();
    let gaps = link.borrow_and_update().gaps;
    // It is the first one's address that is tried first.
    cluster.members[0].kill_hard().await;
    link.wait_for(|link| link.connected && link.gaps > gaps).await.unwrap();
    hear("after").await;
}
