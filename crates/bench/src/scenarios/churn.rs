//! People come and go: does the front keep anything of those who are gone?

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{EventId, RoomId, UserId, room::Event};
use natterjack_eventlog::{Log, NewEvent, Subject};
use natterjack_identity::AccessTokens;
use natterjack_wire::Fact;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::idle::{Crowd, SETTINGS, SETTLING, Seated};
use crate::{
    Options,
    accounting::usage,
    crowd::{self, Seat},
    installation::{Installation, Program},
    report::{Goal, Row},
};

const ROOMS: usize = 100;
const MEMBERS: usize = 20;
/// People who are replaced at once.
const AT_ONCE: usize = 16;
const KIB: f64 = 1_024.0;

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let front = installation.front_with(crate::cores::MEASURED, SETTINGS).await?;
    let (log, tokens) = (installation.log().await?, Installation::tokens()?);
    let rooms = crowd::rooms(&log, ROOMS, MEMBERS).await?;
    let memory = || Ok::<_, anyhow::Error>(usage(front.pid())?.memory_bytes as f64);

    let before = memory()?;
    let mut crowd = Crowd::sit(crowd::seats(front.address, &tokens, &rooms).await?);
    sleep(SETTLING).await;
    let churn = Churn { front: &front, log: &log, tokens: &tokens };
    let churned = churn.run(&mut crowd, options.quick).await?;
    sleep(SETTLING).await;
    let after = (memory()? - before) / (ROOMS * MEMBERS) as f64 / KIB;
    // Half a minute is too short to tell what grows from what finds its size.
    let flat = Row::new("churn.slope", churned.slope, "bytes kept/connection replaced");
    Ok(vec![
        Row::new("churn.replaced", churned.replaced / 1e3, "thousand connections"),
        if options.quick { flat } else { flat.goal(Goal::AtMost(64.0)) },
        Row::new("churn.connection", after, "KiB/connection"),
    ])
}

/// People leave and go, others come and join.
struct Churn<'a> {
    front: &'a Program,
    log: &'a Log,
    tokens: &'a AccessTokens,
}

struct Churned {
    replaced: f64,
    /// Bytes of memory for each connection that was replaced.
    slope: f64,
}

impl Churn<'_> {
    /// For an hour 32 people a second. In a quick run half a minute, as fast as the front takes it.
    async fn run(&self, crowd: &mut Crowd, quick: bool) -> anyhow::Result<Churned> {
        let (lasting, pause) = if quick {
            (Duration::from_secs(30), Duration::from_millis(1))
        } else {
            (Duration::from_hours(1), Duration::from_millis(500))
        };
        let mut rounds = interval(pause);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (begun, mut replaced, mut samples) = (Instant::now(), 0_usize, Vec::new());
        // The first fifth brings what is idle no longer to where it stays.
        let counted_from = lasting / 5;
        while begun.elapsed() < lasting {
            rounds.tick().await;
            let leaving: Vec<_> = crowd.seats.drain(..AT_ONCE).collect();
            replaced += leaving.len();
            let come = stream::iter(leaving).map(|seat| self.replace(seat)).buffered(AT_ONCE);
            crowd.seats.extend(come.try_collect::<Vec<_>>().await?);
            if begun.elapsed() > counted_from {
                samples.push((replaced as f64, usage(self.front.pid())?.memory_bytes as f64));
            }
        }
        ensure!(crowd.all_there(), "a connection was lost");
        Ok(Churned { replaced: replaced as f64, slope: slope(&samples) })
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
        self.tell(room, Event::MemberJoined { user, by: user, invite: None }).await?;
        self.tell(room, Event::MemberLeft { user: gone, by: gone, reason: None }).await?;
        let (mut reader, writer) = crowd::enter(self.front.address, self.tokens, user).await?;
        crowd::follow(&mut reader, &writer, room).await?;
        Ok(Seated::new(Seat { room, user, reader, writer }, None))
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
