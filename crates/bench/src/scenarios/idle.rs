//! Connections that do nothing: what does each hold of the front's memory, also after a busy time, and does any of
//! it stay when people come and go?

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{EventId, RoomId, UserId, room::Event};
use natterjack_eventlog::{Log, NewEvent, Subject};
use natterjack_identity::AccessTokens;
use natterjack_wire::Fact;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    Options,
    accounting::usage,
    client::{Reader, Writer},
    crowd::{self, Seat},
    installation::{Installation, Program},
    load::{self, OpenLoop},
    report::{Goal, Row},
};

const ROOMS: usize = 500;
const MEMBERS: usize = 20;
const KIB: f64 = 1_024.0;
/// Messages of all rooms together while they are busy: each connection gets this, divided by the rooms.
const BURST_PER_SECOND: f64 = 1_500.0;
/// Connections that are being replaced at once.
const REPLACED_AT_ONCE: usize = 16;
/// Short, so that the figures hold what heartbeats, idle rooms and old events leave behind.
const SETTINGS: &[(&str, &str)] =
    &[("HEARTBEAT_MS", "5000"), ("ROOM_IDLE_SECS", "2"), ("TAIL_SECS", "4"), ("HEADS_PERIOD_MS", "2000")];
/// Longer than a heartbeat, and than it takes until nothing is left to be forgotten.
const SETTLING: Duration = Duration::from_secs(12);

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let front = installation.front_with(crate::cores::MEASURED, SETTINGS).await?;
    let (log, tokens) = (installation.log().await?, Installation::tokens()?);
    let rooms = crowd::rooms(&log, ROOMS, MEMBERS).await?;
    let memory = || Ok::<_, anyhow::Error>(usage(front.pid())?.memory_bytes as f64);

    let before = memory()?;
    let seats = crowd::seats(front.address, &tokens, &rooms).await?;
    let connections = (ROOMS * MEMBERS) as f64;
    let mut crowd = Crowd::sit(seats);
    sleep(SETTLING).await;
    let idle = (memory()? - before) / connections / KIB;

    let burst = crowd.burst(Duration::from_secs(if options.quick { 5 } else { 20 })).await;
    let busy = (memory()? - before) / connections / KIB;
    sleep(SETTLING).await;
    let after = (memory()? - before) / connections / KIB;
    ensure!(crowd.all_there(), "a connection was lost");

    let churn = Churn { front: &front, log: &log, tokens: &tokens };
    let lasting = Duration::from_secs(if options.quick { 30 } else { 300 });
    let churned = churn.run(&mut crowd, lasting).await?;
    Ok(vec![
        Row::new("idle.connection", idle, "KiB/connection").goal(Goal::AtMost(4.0)),
        Row::new("idle.busy", busy, "KiB/connection"),
        Row::new("idle.after", after, "KiB/connection").beside(idle).goal(Goal::RatioAtMost(1.5)),
        Row::new("idle.burst", burst, "messages"),
        Row::new("idle.churn", churned.replaced, "connections replaced"),
        Row::new("idle.churn.slope", churned.slope, "bytes kept/connection replaced")
            .goal(Goal::AtMost(64.0)),
        Row::new("idle.churn.memory", churned.memory / connections / KIB, "KiB/connection"),
    ])
}

/// People who are connected and follow their room.
struct Crowd(VecDeque<Seated>);

struct Seated {
    room: RoomId,
    user: UserId,
    writer: Arc<Writer>,
    listening: JoinHandle<()>,
}

impl Crowd {
    /// Neighbours are of different rooms.
    fn sit(rooms: Vec<Vec<Seat>>) -> Self {
        let mut rooms: Vec<_> = rooms.into_iter().map(Vec::into_iter).collect();
        let mut crowd = VecDeque::new();
        for _ in 0..MEMBERS {
            crowd.extend(rooms.iter_mut().filter_map(Iterator::next).map(Seated::new));
        }
        Self(crowd)
    }

    /// Has all rooms busy; gives how many messages were sent.
    async fn burst(&self, lasting: Duration) -> f64 {
        let seats: Vec<_> = self.0.iter().map(|seat| (seat.room, seat.writer.clone())).collect();
        let mut turn = 0;
        let load = OpenLoop::every(Duration::from_secs_f64(1.0 / BURST_PER_SECOND), move |at| {
            let (room, writer): &(RoomId, Arc<Writer>) = &seats[turn % seats.len()];
            let _ = writer.send(&load::message(*room, at, load::next_number()));
            turn += 1;
        });
        sleep(lasting).await;
        drop(load);
        lasting.as_secs_f64() * BURST_PER_SECOND
    }

    fn all_there(&self) -> bool {
        self.0.iter().all(|seat| !seat.listening.is_finished())
    }
}

impl Seated {
    fn new(seat: Seat) -> Self {
        let Seat { room, user, reader, writer } = seat;
        let writer = Arc::new(writer);
        Self { room, user, listening: tokio::spawn(listen(reader, writer.clone())), writer }
    }
}

/// Reads and answers heartbeats, until the connection ends.
async fn listen(mut reader: Reader, writer: Arc<Writer>) {
    loop {
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

/// People leave and go, others come and join, as fast as the front takes it.
struct Churn<'a> {
    front: &'a Program,
    log: &'a Log,
    tokens: &'a AccessTokens,
}

struct Churned {
    replaced: f64,
    /// Bytes of memory for each connection that was replaced.
    slope: f64,
    memory: f64,
}

impl Churn<'_> {
    async fn run(&self, crowd: &mut Crowd, lasting: Duration) -> anyhow::Result<Churned> {
        let (begun, mut replaced, mut samples) = (Instant::now(), 0_usize, Vec::new());
        // The first fifth brings what is idle no longer to where it stays.
        let counted_from = lasting / 5;
        while begun.elapsed() < lasting {
            let leaving: Vec<_> = crowd.0.drain(..REPLACED_AT_ONCE * 8).collect();
            replaced += leaving.len();
            let come = stream::iter(leaving).map(|seat| self.replace(seat)).buffered(REPLACED_AT_ONCE);
            crowd.0.extend(come.try_collect::<Vec<_>>().await?);
            if begun.elapsed() > counted_from {
                samples.push((replaced as f64, usage(self.front.pid())?.memory_bytes as f64));
            }
        }
        ensure!(crowd.all_there(), "a connection was lost");
        let memory = samples.last().map_or(f64::NAN, |(_, memory)| *memory);
        Ok(Churned { replaced: replaced as f64, slope: slope(&samples), memory })
    }

    /// One leaves the room and goes, half of them without a word; another joins it and comes.
    async fn replace(&self, seat: Seated) -> anyhow::Result<Seated> {
        let (room, gone) = (seat.room, seat.user);
        if gone.as_uuid().as_u128().is_multiple_of(2) {
            seat.writer.close()?;
        } else {
            seat.listening.abort();
        }
        drop(seat.writer);
        let user = UserId::random();
        self.tell(room, Event::MemberJoined { user, by: user }).await?;
        self.tell(room, Event::MemberLeft { user: gone, by: gone }).await?;
        let (mut reader, writer) = crowd::enter(self.front.address, self.tokens, user).await?;
        writer.send(&format!(r#"{{"t":"sub","id":1,"room":"{room}"}}"#))?;
        reader.until(r#""t":"ok""#).await?;
        Ok(Seated::new(Seat { room, user, reader, writer }))
    }

    async fn tell(&self, room: RoomId, event: Event) -> anyhow::Result<()> {
        let event = NewEvent::new(Subject::state(room), EventId::random(), &Fact::Room(event));
        self.log.append(event).await?;
        Ok(())
    }
}

/// Of the straight line that fits best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 5.0), (1.0, 7.0), (3.0, 11.0)]) - 2.0).abs() < 1e-9);
    }
}
