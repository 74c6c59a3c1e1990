//! Finding out what a topic has missed, and putting it right.

use std::time::Duration;

use natterjack_eventlog::{Event, ReadError, Subject};
use natterjack_wire::{ServerFrame, frame::ResetReason};
use tokio::time::Instant;

use super::actor::Actor;
use crate::{metrics, outside::Log, ws::encode};

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

/// What reading again what was missed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Everything was there.
    All,
    /// The replica that answers has not heard of all of it yet, or has lost the end.
    Later,
    /// It has, and passes over a part.
    Less,
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

    /// Takes note that these events are not missing any more.
    pub fn found(&mut self, events: &[Event]) {
        self.named = self.named.filter(|named| events.iter().all(|event| event.seq != *named));
    }

    /// Whether the log has lost what is missing, so that waiting for it is in vain. Only what a replica passes over, and
    /// what nobody has who is asked for it by its number, is lost: a replica may be far behind.
    pub async fn is_lost(&self, read: Read, log: &Log, stream: u16) -> bool {
        let seq = self.named.unwrap_or(self.up_to);
        if read == Read::Less || seq == 0 {
            return read == Read::Less;
        }
        let is_lost = matches!(log.again(stream, seq).await, Ok(None));
        if is_lost {
            log.note_hole(stream, seq);
        }
        is_lost
    }
}

impl Actor {
    /// Reads from the log what is missing and forwards it in order.
    pub async fn repair(&mut self, mut missing: Missing) {
        let before = self.repair.take().and_then(|repair| repair.unanswered_since);
        let connection = self.hub.log().connection();
        // Boxed: rare, and larger than all that a topic does otherwise.
        let (read, unanswered_since) = match Box::pin(self.read_missing(&mut missing)).await {
            Ok(Read::All) if self.chain.head() >= missing.up_to => {
                return self.handle.note_whole_since(connection);
            }
            // A replica that answers may be a little behind the one that published.
            Ok(read) => (read, Some(before.unwrap_or_else(Instant::now))),
            Err(error) => {
                tracing::warn!(%error, topic = %self.handle.topic, "a gap waits to be repaired");
                (Read::Later, None)
            }
        };
        let (hub, stream) = (self.hub.clone(), self.hub.log().stream_of(self.handle.topic));
        let has_hole = hub.log().has_hole(stream, self.chain.head(), missing.up_to);
        if unanswered_since.is_some_and(|since| has_hole || since.elapsed() > HOLE_AFTER)
            && (has_hole || missing.is_lost(read, hub.log(), stream).await)
        {
            return self.give_up(missing);
        }
        self.repair = Some(Repair { at: Instant::now() + REPAIR_RETRY, missing, unanswered_since });
    }

    async fn read_missing(&mut self, missing: &mut Missing) -> Result<Read, ReadError> {
        let topic = self.handle.topic;
        let hub = self.hub.clone();
        let _permit = hub.0.repairs.acquire().await.map_err(|_| ReadError::Unavailable)?;
        let heads = hub.log().heads(topic).await?;
        let (head, newest) = (self.chain.head(), heads.state.max(heads.timeline));
        if self.chain.is_behind(heads) && !hub.is_whole_nearby(topic, head, newest).await? {
            return Ok(Read::Less);
        }
        let shorter = Subject { topic, kind: self.chain.shorter() };
        let known = self.chain.head_of(shorter.kind);
        if self.chain.is_behind_in(shorter.kind, heads) {
            // What continues this chain may lie before what was forwarded of the other one.
            let events = hub.log().tail_of(shorter, known, REPAIR_PAGE).await?;
            match events.first() {
                Some(first) if first.seq <= self.chain.head() => {
                    self.take_late(&events);
                    missing.found(&events);
                    return Ok(if self.chain.is_behind(heads) { Read::Later } else { Read::All });
                }
                Some(_) => {}
                // Nothing can be told by a replica that has not heard of it.
                None => return Ok(Read::Later),
            }
        }
        while self.chain.is_behind(heads) {
            let page = hub.log().tail(topic, self.chain.head(), REPAIR_PAGE).await?;
            if page.is_empty() {
                break;
            }
            if missing.is_left_out_of(&page) {
                return Ok(Read::Less);
            }
            missing.found(&page);
            for event in page {
                self.apply(&event);
            }
            self.flush();
        }
        Ok(if self.chain.is_behind(heads) { Read::Later } else { Read::All })
    }

    /// The log has lost an event. Nobody is told what comes after it as if nothing were missing: the members start anew,
    /// with what Postgres has a copy of, and so does this task.
    fn give_up(&mut self, missing: Missing) {
        metrics::gap("hole");
        let topic = self.handle.topic;
        tracing::error!(%topic, up_to = missing.up_to, "the log has a hole: the members start anew");
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

#[cfg(test)]
mod tests {
    use natterjack_domain::RoomId;

    use super::*;

    #[test]
    fn an_event_that_was_found_is_not_missed_among_those_after_it() {
        let subject = Subject::timeline(RoomId::random());
        let event = |seq| Event {
            subject,
            seq,
            last: None,
            ts: "2026-11-20T19:00:00Z".into(),
            known: true,
            body: bytes::Bytes::new(),
        };
        let mut missing = Missing { up_to: 9, named: Some(7) };
        assert!(missing.is_left_out_of(&[event(6), event(8)]));
        assert!(!missing.is_left_out_of(&[event(6)]), "it may come with the next page");
        missing.found(&[event(6)]);
        assert!(missing.is_left_out_of(&[event(8)]));
        missing.found(&[event(7)]);
        assert!(!missing.is_left_out_of(&[event(8), event(9)]));
    }
}
