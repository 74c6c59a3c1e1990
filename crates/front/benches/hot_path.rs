//! The parts of the hot path by themselves: `cargo bench -p natterjack-front`.

#![allow(clippy::unwrap_used)]

use std::{hint::black_box, io::Read as _, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natterjack_domain::{ClientId, MessageBody, MessageId, RoomId, UserId, message};
use natterjack_eventlog::{Event, Subject, Topic};
use natterjack_front::parts::{Fanout, Lag, Member, Outbox, Reached, Tail, encode};
use natterjack_wire::{Fact, StoredEvent, frame};
use tokio::runtime::Runtime;

const TEXT_CHARS: usize = 120;
/// As many as a front keeps of a room.
const TAIL_EVENTS: usize = 256;
const TAIL_BYTES: usize = 256 << 10;

fn event(room: RoomId, seq: u64) -> Event {
    let (by, cid) = (UserId::random(), ClientId::random());
    let id = MessageId::derive(room, by, cid);
    let body = MessageBody::parse(&"x".repeat(TEXT_CHARS), TEXT_CHARS).unwrap();
    let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, by, cid, body)));
    let body = StoredEvent::new(id.into(), &fact).encode();
    let ts = "2026-11-21T12:00:00.123456789Z".to_owned();
    Event { subject: Subject::timeline(room), seq, last: Some(seq - 1), ts, known: true, body }
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let (room, cid, text) = (RoomId::random(), ClientId::random(), "x".repeat(TEXT_CHARS));
    let send = format!(r#"{{"t":"send","id":7,"room":"{room}","cid":"{cid}","body":"{text}"}}"#);
    group.bench_function("read a send", |b| b.iter(|| frame::parse(black_box(&send))));
    let author = UserId::random();
    let id = MessageId::derive(room, author, cid);
    let body = MessageBody::parse(&text, TEXT_CHARS).unwrap();
    let fact = Fact::Message(message::Event::Posted(message::Posted::plain(id, author, cid, body)));
    group.bench_function("encode what is stored", |b| {
        b.iter(|| StoredEvent::new(id.into(), black_box(&fact)).encode());
    });
    let event = event(room, 1_234_567);
    group.bench_function("wrap an event", |b| {
        b.iter(|| encode::event(event.subject.topic, black_box(&event), 1_234_566));
    });
    group.finish();
}

/// Connections over loopback whose other ends are read and forgotten by a thread.
fn outboxes(runtime: &Runtime, count: usize) -> Vec<Arc<Outbox>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _guard = runtime.enter();
    let outboxes = (0..count).map(|_| {
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        thread::spawn(move || forget(client));
        server.set_nonblocking(true).unwrap();
        let (_, write) = tokio::net::TcpStream::from_std(server).unwrap().into_split();
        Arc::new(Outbox::new(write, 1 << 20))
    });
    outboxes.collect()
}

fn forget(mut socket: std::net::TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while socket.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

fn lag(after: u64) -> Lag {
    Lag { topic: Topic::Room(RoomId::random()), epoch: None, reached: Reached::named(after), reset: None }
}

/// Waits until nothing waits to be written: a reader that falls behind would make this a bench of queueing.
fn settle(outboxes: &[Arc<Outbox>]) {
    while outboxes.iter().any(|outbox| outbox.backlog_bytes() > 0) {
        thread::yield_now();
    }
}

fn hub(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("hub");
    for members in [1_u64, 20, 100] {
        let outboxes = outboxes(&runtime, usize::try_from(members).unwrap());
        let mut fanout = Fanout::default();
        for (conn, outbox) in (0..).zip(&outboxes) {
            let driven = outbox.clone();
            runtime.spawn(async move { driven.drive(Duration::from_mins(1)).await });
            fanout.add(Member { conn, user: UserId::random(), outbox: outbox.clone() });
        }
        let frame = encode::event(Topic::Room(RoomId::random()), &event(RoomId::random(), 9), 8);
        for frames in [1, 16] {
            group.throughput(Throughput::Elements(members * frames));
            group.bench_function(BenchmarkId::new(format!("flush {frames} to"), members), |b| {
                b.iter_batched(
                    || settle(&outboxes),
                    |()| {
                        for _ in 0..frames {
                            fanout.push(frame.clone(), 8);
                        }
                        fanout.flush(lag)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        assert_eq!(fanout.members().count(), outboxes.len(), "nobody was let go");
    }
    group.finish();
}

fn outbox(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("outbox");
    let outboxes = outboxes(&runtime, 1);
    let (outbox, driven) = (&outboxes[0], outboxes[0].clone());
    runtime.spawn(async move { driven.drive(Duration::from_mins(1)).await });
    let frame = Bytes::from(vec![b'x'; 430]);
    group.bench_function("write to a socket", |b| {
        b.iter_batched(
            || settle(&outboxes),
            |()| assert!(outbox.push_events(&frame, || lag(0))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("resume");
    let room = RoomId::random();
    let frames: Vec<Bytes> =
        (1..=300).map(|seq| encode::event(Topic::Room(room), &event(room, seq), seq - 1)).collect();
    let mut tail = Tail::new(0, TAIL_EVENTS, TAIL_BYTES, Duration::from_mins(2));
    for (seq, frame) in (1..).zip(&frames) {
        tail.push(seq, frame.clone());
    }
    group.bench_function("find 50 missed events", |b| {
        b.iter(|| tail.after(black_box(250)).unwrap().map(Bytes::len).sum::<usize>());
    });
    let frame = frames[0].clone();
    let mut seq = 300;
    group.bench_function("keep an event", |b| {
        b.iter(|| {
            seq += 1;
            tail.push(seq, frame.clone());
        });
    });
    group.finish();
}

criterion_group!(benches, codec, hub, outbox, resume);
criterion_main!(benches);
