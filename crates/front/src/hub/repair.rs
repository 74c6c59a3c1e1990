//! Finding out what a topic has missed, and putting it right.

use std::time::Duration;

use natterjack_eventlog::{Event, ReadError, Subject};
use natterjack_wire::{ServerFrame, frame::ResetReason};
use tokio::time::Instant;

use super::actor::Actor;
use crate::{metrics, ws::encode};

/// Events read from the log at once when a gap is repaired.
pub(super) const REPAIR_PAGE: usize = 500;
pub(super) const REPAIR_RETRY: Duration = Duration::from_millis(200);

/// What the log does not give within this it holds no longer. A replica may be seconds behind after a failover.
pub(super) const HOLE_AFTER: Duration = Duration::from_secs(5);

/// A gap, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Missing {
    /// At least up to here.
    pub up_to: u64,
    /// An event that is among what is missing, since the one that showed the gap names it.
    pub named: Option<u64>,
}

/// A repair that has to be tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    pub at: Instant,
    pub missing: Missing,
    /// Since when the log answers, and does not give what is missing.
    pub unanswered_since: Option<Instant>,
}

impl Missing {
    pub fn up_to(up_to: u64) -> Self {
        Self { up_to, named: None }
    }

    /// Whether these events, which follow each other, leave out the one that is named.
    pub fn is_left_out_of(&self, events: &[Event]) -> bool {
        self.named.is_some_and(|named| {
            events.last().is_some_and(|last| last.seq > named)
                && events.iter().all(|event| event.seq != named)
        })
    }
}

impl Actor {
    /// Reads from the log what is missing and forwards it in order.
    pub async fn repair(&mut self, missing: Missing) {
        let before = self.repair.take().and_then(|repair| repair.unanswered_since);
        let connection = self.hub.log().connection();
        // Boxed: rare, and larger than all that a topic does otherwise.
        let unanswered_since = match Box::pin(self.read_missing(missing)).await {
            Ok(true) if self.chain.head() >= missing.up_to => {
                return self.handle.note_whole_since(connection);
            }
            // A replica that answers may be a little behind the one that published.
            Ok(_) => Some(before.unwrap_or_else(Instant::now)),
            Err(error) => {
                tracing::warn!(%error, topic = %self.handle.topic, "a gap waits to be repaired");
                None
            }
        };
        let log = self.hub.log();
        let has_hole = log.has_hole_after(log.stream_of(self.handle.topic), self.chain.head());
        if unanswered_since.is_some_and(|since| has_hole || since.elapsed() > HOLE_AFTER) {
            return self.give_up(missing);
        }
        self.repair = Some(Repair { at: Instant::now() + REPAIR_RETRY, missing, unanswered_since });
    }

    /// Whether all that the log told of was there to be read.
    async fn read_missing(&mut self, missing: Missing) -> Result<bool, ReadError> {
        let topic = self.handle.topic;
        let hub = self.hub.clone();
        let _permit = hub.0.repairs.acquire().await.map_err(|_| ReadError::Unavailable)?;
        let heads = hub.log().heads(topic).await?;
        let (stream, head) = (hub.log().stream_of(topic), self.chain.head());
        if self.chain.is_behind(heads)
            && !hub.log().is_whole(stream, head, heads.state.max(heads.timeline)).await?
        {
            return Ok(false);
        }
        let shorter = Subject { topic, kind: self.chain.shorter() };
        let known = self.chain.head_of(shorter.kind);
        if self.chain.is_behind_in(shorter.kind, heads) {
            // What continues this chain may lie before what was forwarded of the other one.
            let events = hub.log().tail_of(shorter, known, REPAIR_PAGE).await?;
            match events.first() {
                Some(first) if first.seq <= self.chain.head() => {
                    self.take_late(&events);
                    return Ok(!self.chain.is_behind(heads));
                }
                Some(_) => {}
                // Nothing can be told by a replica that has not heard of it.
                None => return Ok(false),
            }
        }
        while self.chain.is_behind(heads) {
            let page = hub.log().tail(topic, self.chain.head(), REPAIR_PAGE).await?;
            if page.is_empty() {
                break;
            }
            if missing.is_left_out_of(&page) {
                return Ok(false);
            }
            for event in page {
                self.apply(&event);
            }
            self.flush();
        }
        Ok(!self.chain.is_behind(heads))
    }

    /// The log has lost an event. Nobody is told what comes after it as if nothing were missing: the members start anew,
    /// with what Postgres has a copy of, and so does this task.
    fn give_up(&mut self, missing: Missing) {
        metrics::gap("hole");
        let (topic, log) = (self.handle.topic, self.hub.log());
        tracing::error!(%topic, up_to = missing.up_to, "the log has a hole: the members start anew");
        log.note_hole(log.stream_of(topic), missing.up_to.saturating_sub(1));
        self.reset(ResetReason::GapTooLarge);
        self.is_over = true;
    }

    /// Events turned up that lie before others that were forwarded. They cannot be put in their place any more:
    /// the members are told to start anew.
    fn take_late(&mut self, events: &[Event]) {
        metrics::gap("late");
        for event in events {
            self.chain.advance(event.subject.kind, event.seq);
            self.handle.fold(event);
        }
        self.late_head = self.chain.head();
        self.handle.set_head(self.late_head);
        self.tail.clear(self.late_head);
        self.reset(ResetReason::LateEvent);
    }

    /// Tells the members to start anew and lets them go: they subscribe again.
    pub fn reset(&mut self, reason: ResetReason) {
        let room = Some(self.handle.room_id);
        let frame = encode::frame(&ServerFrame::Reset { room, epoch: self.handle.epoch.to_string(), reason });
        for member in self.fanout.take_members() {
            member.outbox.push(&frame);
        }
        self.idle_since = Instant::now();
    }
}
