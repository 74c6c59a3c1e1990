//! What a client missed and the tail no longer holds: from the second copy of the log in Postgres, or,
//! where Postgres is behind or away, by a short read of the log.

use bytes::Bytes;
use natterjack_eventlog::{Event, ReadError, Topic};

use super::Hub;
use crate::{metrics, ws::encode};

/// Most bytes that are sent again; beyond it a fresh snapshot is cheaper.
const REPLAY_MAX_BYTES: usize = 4 << 20;

/// Events of a topic, encoded, that follow the asked position without a gap.
pub struct Missed {
    pub frames: Vec<Bytes>,
    /// The topic has no other event up to here.
    pub up_to: u64,
    /// There are further events after `up_to`.
    pub more: bool,
}

/// Stored events of a topic that follow the asked position without a gap.
pub struct Stored {
    pub events: Vec<Event>,
    /// The topic has no other event up to here.
    pub up_to: u64,
}

impl Hub {
    /// Reads up to `limit` events of `topic` after `after`, ready to be sent.
    pub async fn missed(&self, topic: Topic, after: u64, limit: usize) -> Result<Missed, ReadError> {
        let Stored { events, up_to } = self.stored(topic, after, limit + 1).await?;
        Ok(gather(topic, after, limit, &events, up_to))
    }

    /// Reads up to `limit` events of `topic` after `after`.
    pub async fn stored(&self, topic: Topic, after: u64, limit: usize) -> Result<Stored, ReadError> {
        let epoch = self.0.log.epoch_of(topic);
        let full = |events: &[Event]| events.last().map(|last| last.seq).filter(|_| events.len() >= limit);
        if let Some((as_of, events)) = self.0.store.events_after(topic, &epoch, after, limit).await
            && as_of > after
        {
            metrics::replayed("postgres", events.len());
            // A full page ends where its last event is; another one reaches as far as the source does.
            let up_to = full(&events).unwrap_or(as_of);
            return Ok(Stored { events, up_to });
        }
        let _permit = self.0.deep_reads.acquire().await.map_err(|_| ReadError::Unavailable)?;
        let events = self.0.log.tail(topic, after, limit).await?;
        metrics::replayed("log", events.len());
        let up_to = events.last().map_or(after, |last| last.seq);
        Ok(Stored { events, up_to })
    }
}

/// `as_of`: the source holds everything up to there.
fn gather(topic: Topic, after: u64, limit: usize, events: &[Event], as_of: u64) -> Missed {
    let (mut frames, mut bytes, mut prev) = (vec![], 0, after);
    for event in events {
        bytes += event.body.len();
        if frames.len() == limit || (bytes > REPLAY_MAX_BYTES && !frames.is_empty()) {
            return Missed { frames, up_to: prev, more: true };
        }
        frames.push(encode::event(topic, event, prev));
        prev = event.seq;
    }
    Missed { frames, up_to: prev.max(as_of), more: false }
}

#[cfg(test)]
mod tests {
    use natterjack_domain::RoomId;
    use natterjack_eventlog::Subject;

    use super::*;

    fn events(seqs: &[u64], size: usize) -> Vec<Event> {
        let subject = Subject::timeline(RoomId::random());
        let event = |seq| Event {
            subject,
            seq,
            last: None,
            ts: "2026-11-20T19:00:00Z".into(),
            known: true,
            body: vec![b'1'; size].into(),
        };
        seqs.iter().copied().map(event).collect()
    }

    #[test]
    fn a_page_ends_at_the_limit_of_events_or_bytes_and_says_so() {
        let topic = Topic::Room(RoomId::random());
        let page = |events: &[Event], limit, as_of| {
            let missed = gather(topic, 5, limit, events, as_of);
            (missed.frames.len(), missed.up_to, missed.more)
        };
        assert_eq!(page(&[], 3, 9), (0, 9, false));
        assert_eq!(page(&events(&[6, 8], 10), 3, 9), (2, 9, false));
        assert_eq!(page(&events(&[6, 8, 12], 10), 3, 5), (3, 12, false));
        assert_eq!(page(&events(&[6, 8, 12, 13], 10), 3, 20), (3, 12, true));
        assert_eq!(page(&events(&[6, 8], REPLAY_MAX_BYTES), 3, 9), (1, 6, true));
    }
}
