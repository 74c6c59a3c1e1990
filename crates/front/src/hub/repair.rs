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

/// A repair that has to be tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    pub at: Instant,
    /// What is known to be missing.
    pub up_to: u64,
}

impl Actor {
    /// Reads from the log what is missing, at least up to `up_to`, and forwards it in order.
    pub async fn repair(&mut self, up_to: u64) {
        // Boxed: rare, and larger than all that a topic does otherwise.
        let connection = self.hub.log().connection();
        match Box::pin(self.read_missing()).await {
            Ok(true) if self.chain.head() >= up_to => {
                self.repair = None;
                self.handle.note_whole_since(connection);
                return;
            }
            // A replica that answers may be a little behind the one that published.
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, topic = %self.handle.topic, "a gap waits to be repaired"),
        }
        self.repair = Some(Repair { at: Instant::now() + REPAIR_RETRY, up_to });
    }

    /// Whether all that the log told of was there to be read.
    async fn read_missing(&mut self) -> Result<bool, ReadError> {
        let topic = self.handle.topic;
        let hub = self.hub.clone();
        let _permit = hub.0.repairs.acquire().await.map_err(|_| ReadError::Unavailable)?;
        let heads = hub.log().heads(topic).await?;
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
            for event in page {
                self.apply(&event);
            }
            self.flush();
        }
        Ok(!self.chain.is_behind(heads))
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
