//! Connections that do nothing: what does each hold of the front's memory, also after a busy time?

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::ensure;
use natterjack_domain::{RoomId, UserId};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    accounting::usage,
    client::{Reader, Writer},
    crowd::{self, Seat},
    installation::Installation,
    load::{self, OpenLoop},
    report::{Goal, Row},
};

const ROOMS: usize = 500;
const MEMBERS: usize = 20;
const KIB: f64 = 1_024.0;
/// Messages of all rooms together while they are busy: each connection gets this, divided by the rooms.
const BURST_PER_SECOND: f64 = 2_000.0;
const BURST: Duration = Duration::from_secs(20);
/// What the sleepers missed comes from the log, and the allocator gives pages back a while after.
const CATCHING_UP: Duration = Duration::from_secs(30);
/// A long message each, so that the outboxes of those who do not read are full before the end.
const BURST_CHARS: usize = 3_900;
const DELIVERIES: &str = "natterjack_front_deliveries_total";
/// Counted when a connection is caught up from the log, since its outbox was full.
const LAGS: &str = "natterjack_front_lags_total";
/// One in so many does not read during the burst.
const SLOW: usize = 2;
/// Short, so that the figures hold what heartbeats, idle rooms and old events leave behind; and small, so that a burst
/// fills what is bounded.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("HEARTBEAT_MS", "10000"),
    ("ROOM_IDLE_SECS", "2"),
    ("TAIL_SECS", "4"),
    ("HEADS_PERIOD_MS", "2000"),
    ("SEND_BUFFER_BYTES", "4096"),
    ("OUTBOX_MAX_BYTES", "65536"),
];
/// Longer than a heartbeat, and than it takes until nothing is left to be forgotten.
pub(super) const SETTLING: Duration = Duration::from_secs(15);

pub async fn run() -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let front = installation.front_with(crate::cores::MEASURED, SETTINGS).await?;
    let (log, tokens) = (installation.log().await?, Installation::tokens()?);
    let rooms = crowd::rooms(&log, ROOMS, MEMBERS).await?;
    let memory = || Ok::<_, anyhow::Error>(usage(front.pid())?.memory_bytes as f64);

    let before = memory()?;
    let seats = crowd::seats(front.address, &tokens, &rooms).await?;
    let each = |memory: f64| (memory - before) / (ROOMS * MEMBERS) as f64 / KIB;
    let crowd = Crowd::sit(seats);
    sleep(SETTLING).await;
    let idle = each(memory()?);

    let delivered = front.metric(DELIVERIES).await?;
    crowd.burst().await;
    let busy = each(memory()?);
    let delivered = front.metric(DELIVERIES).await? - delivered;
    crowd.wake();
    sleep(CATCHING_UP + SETTLING).await;
    let after = each(memory()?);
    ensure!(crowd.all_there(), "a connection was lost");
    let lags = front.metric(LAGS).await?;
    ensure!(lags >= (ROOMS * MEMBERS / SLOW / 4) as f64, "the burst filled too few outboxes: {lags}");
    Ok(vec![
        Row::new("idle.connection", idle, "KiB/connection").goal(Goal::AtMost(4.0)),
        Row::new("idle.burst", delivered / 1e3, "thousand deliveries"),
        Row::new("idle.lags", lags, "outboxes that were full"),
        Row::new("idle.busy", busy, "KiB/connection"),
        Row::new("idle.after", after, "KiB/connection").beside(idle).goal(Goal::RatioAtMost(1.5)),
    ])
}

/// People who are connected and follow their room.
pub(super) struct Crowd {
    pub seats: VecDeque<Seated>,
    asleep: watch::Sender<bool>,
}

pub(super) struct Seated {
    pub room: RoomId,
    pub user: UserId,
    pub writer: Arc<Writer>,
    pub listening: JoinHandle<()>,
}

impl Crowd {
    /// Neighbours are of different rooms.
    pub fn sit(rooms: Vec<Vec<Seat>>) -> Self {
        let asleep = watch::Sender::new(false);
        let mut rooms: Vec<_> = rooms.into_iter().map(Vec::into_iter).collect();
        let mut seats = VecDeque::new();
        for turn in 0..MEMBERS {
            let sleeper = turn.is_multiple_of(SLOW).then(|| asleep.subscribe());
            let seated = rooms.iter_mut().filter_map(Iterator::next);
            seats.extend(seated.map(|seat| Seated::new(seat, sleeper.clone())));
        }
        Self { seats, asleep }
    }

    /// Has all rooms busy while many do not read.
    async fn burst(&self) {
        self.asleep.send_replace(true);
        let seats: Vec<_> = self.seats.iter().map(|seat| (seat.room, seat.writer.clone())).collect();
        let mut turn = 0;
        let load = OpenLoop::every(Duration::from_secs_f64(1.0 / BURST_PER_SECOND), move |at| {
            let (room, writer): &(RoomId, Arc<Writer>) = &seats[turn % seats.len()];
            let _ = writer.send(&load::message_of(BURST_CHARS, *room, at, load::next_number()));
            turn += 1;
        });
        sleep(BURST).await;
        drop(load);
    }

    fn wake(&self) {
        self.asleep.send_replace(false);
    }

    pub fn all_there(&self) -> bool {
        self.seats.iter().all(|seat| !seat.listening.is_finished())
    }
}

impl Seated {
    pub fn new(seat: Seat, asleep: Option<watch::Receiver<bool>>) -> Self {
        let Seat { room, user, reader, writer } = seat;
        let writer = Arc::new(writer);
        Self { room, user, listening: tokio::spawn(listen(reader, writer.clone(), asleep)), writer }
    }
}

/// Reads and answers heartbeats, until the connection ends.
async fn listen(mut reader: Reader, writer: Arc<Writer>, mut asleep: Option<watch::Receiver<bool>>) {
    loop {
        if let Some(asleep) = &mut asleep {
            // The crowd may be gone.
            let _ = asleep.wait_for(|asleep| !asleep).await;
        }
        let mut pinged = false;
        // Only a ping bears nothing.
        if reader.read(|payload| pinged |= payload.is_empty()).await.is_err() {
            return;
        }
        if pinged && writer.pong().is_err() {
            return;
        }
    }
}
