//! What a client missed and the tail does not hold: a little is read from the log into the tail, for all who miss it;
//! more comes from the second copy of the log in Postgres, or, where Postgres is behind or away, by a short read of the
//! log.

use bytes::Bytes;
use natterjack_eventlog::{Event, ReadError, Topic};

use super::{Followed, Handle, Hub, Place};
use crate::{metrics, position::Reached, ws::encode};

/// Most bytes that are sent again; beyond it a fresh snapshot is cheaper.
const REPLAY_MAX_BYTES: usize = 4 << 20;

/// Events that are read from Postgres at once: so few that neither its core nor this one is kept from what those who
/// append wait for.
const PIECE: usize = 64;

/// Events of a topic, encoded, that follow the asked position without a gap.
pub struct Missed {
    pub frames: Vec<Bytes>,
    /// Where the client is with these.
    pub reached: Reached,
    /// There are further events after that.
    pub more: bool,
}

/// Stored events of a topic that follow the asked position without a gap.
pub struct Stored {
    pub events: Vec<Event>,
    /// The topic has no other event up to here.
    pub up_to: u64,
}

impl Hub {
    /// Reads up to `limit` events of a topic after `from`, ready to be sent. Where they lie too far back to be read
    /// now, there are none, and more. `None` when the topic's tail holds them now: attach again.
    ///
    /// `at`: where the topic was when the connection was last found to be allowed there. Beyond it the person may have left, as
    /// this front does not know yet where Postgres is ahead of it; who is still there gets those events live.
    pub async fn missed(
        &self,
        followed: &Followed,
        at: &Place,
        from: Reached,
        limit: usize,
    ) -> Result<Option<Missed>, ReadError> {
        if let Followed::Room(room) = followed
            && self.extend_tail(room, from.up_to).await?
        {
            return Ok(None);
        }
        Ok(Some(match self.stored(at, from.up_to, limit + 1).await? {
            Some(stored) => {
                let known = stored.events.partition_point(|event| event.seq <= at.head);
                gather(at.topic, from, limit, &stored.events[..known], stored.up_to.min(at.head))
            }
            None => Missed { frames: vec![], reached: from, more: true },
        }))
    }

    /// Has the topic's tail reach back to `after`, where that is not far and the tail has room: one short read of the
    /// log for all who come back at once, as after the death of a front, and none of Postgres.
    async fn extend_tail(&self, handle: &Handle, after: u64) -> Result<bool, ReadError> {
        let inner = &self.0;
        if handle.head().saturating_sub(after) > inner.config.deep_read_span {
            return Ok(false);
        }
        let mut beyond_tail = handle.beyond_tail.lock().await;
        if beyond_tail.is_some_and(|beyond| after <= beyond) {
            return Ok(false);
        }
        let Some(reach) = handle.tail_reach().await else { return Ok(false) };
        if after >= reach.complete_after {
            return Ok(true);
        }
        if reach.room == 0 {
            *beyond_tail = Some(after);
            return Ok(false);
        }
        if !self.is_whole(&handle.place(), after).await? {
            return Ok(false);
        }
        // Up to the oldest frame, which comes again with what it follows.
        let read = inner.log.one_by_one(handle.topic, after, reach.oldest, reach.room + 1);
        let events = self.deep_read(read).await?;
        metrics::replayed("log", events.len());
        // What the first of them follows is not known: `after` may be a checkpoint, which a client that shares this
        // tail need not have heard of. Nothing is missing before it.
        let mut prev = 0;
        let older = events.iter().map(|event| {
            let frame = encode::event(handle.topic, event, prev);
            prev = event.seq;
            (event.seq, frame)
        });
        let extended = handle.extend_tail_back(after, older.collect()).await.unwrap_or(false);
        if !extended {
            *beyond_tail = Some(after);
        }
        Ok(extended)
    }

    /// Whether the log has no hole after `after`, which reads by subject would pass over.
    async fn is_whole(&self, at: &Place, after: u64) -> Result<bool, ReadError> {
        let log = &self.0.log;
        self.deep_read(log.is_whole(log.stream_of(at.topic), after, at.head)).await
    }

    /// The same for a gap of `topic` that is being repaired. Of what lies far back not everything is read for it: then only
    /// what is named is known to be missing.
    pub(super) async fn is_whole_nearby(
        &self,
        topic: Topic,
        after: u64,
        up_to: u64,
    ) -> Result<bool, ReadError> {
        let (log, span) = (&self.0.log, self.0.config.deep_read_span);
        Ok(up_to.saturating_sub(after) > span || log.is_whole(log.stream_of(topic), after, up_to).await?)
    }

    /// A read that searches the log by subject, at the expense of those who append: few at once.
    pub(super) async fn deep_read<T>(
        &self,
        read: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let _permit = self.0.deep_reads.acquire().await.map_err(|_| ReadError::Unavailable)?;
        read.await
    }

    /// Reads up to `limit` events of a topic after `after`. None when only the log could tell, and they lie so far
    /// back in it that reading them would hold up those who append.
    pub async fn stored(&self, at: &Place, after: u64, limit: usize) -> Result<Option<Stored>, ReadError> {
        let (inner, topic) = (&self.0, at.topic);
        if let Some(mut copied) = self.copied(at, after, limit).await {
            // What this front has not seen yet comes live, to those who are members then.
            copied.events.retain(|event| event.seq <= at.head);
            copied.up_to = copied.up_to.min(at.head).max(after);
            metrics::replayed("postgres", copied.events.len());
            return Ok(Some(copied));
        }
        if at.head.saturating_sub(after) > inner.config.deep_read_span || !self.is_whole(at, after).await? {
            return Ok(None);
        }
        let events = self.deep_read(inner.log.one_by_one(topic, after, at.head, limit)).await?;
        metrics::replayed("log", events.len());
        let up_to = events.last().map_or(after, |last| last.seq);
        Ok(Some(Stored { events, up_to }))
    }

    /// The same from the second copy of the log; none where it has nothing after `after`.
    async fn copied(&self, at: &Place, after: u64, limit: usize) -> Option<Stored> {
        let mut copied: Option<Stored> = None;
        loop {
            let (read, from) =
                copied.as_ref().map_or((0, after), |copied| (copied.events.len(), copied.up_to));
            let wanted = PIECE.min(limit - read);
            let piece = self.0.store.events_after(at.topic, &at.epoch, from, wanted).await;
            let Some((as_of, piece)) = piece.filter(|(as_of, _)| *as_of > from) else { return copied };
            // A full piece ends where its last event is; another one reaches as far as the source does.
            let full = piece.last().map(|last| last.seq).filter(|_| piece.len() >= wanted);
            let copied = copied.get_or_insert(Stored { events: vec![], up_to: from });
            copied.events.extend(piece);
            copied.up_to = full.unwrap_or(as_of);
            if full.is_none() || copied.events.len() >= limit {
                break;
            }
        }
        copied
    }
}

/// `up_to`: the source holds everything up to there.
fn gather(topic: Topic, from: Reached, limit: usize, events: &[Event], up_to: u64) -> Missed {
    let (mut frames, mut bytes, mut last) = (vec![], 0, from.last);
    for event in events {
        bytes += event.body.len();
        if frames.len() == limit || (bytes > REPLAY_MAX_BYTES && !frames.is_empty()) {
            return Missed { frames, reached: Reached::named(last), more: true };
        }
        frames.push(encode::event(topic, event, last));
        last = event.seq;
    }
    Missed { frames, reached: Reached { up_to: up_to.max(from.up_to).max(last), last }, more: false }
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
            let missed = gather(topic, Reached::named(5), limit, events, as_of);
            (missed.frames.len(), missed.reached.up_to, missed.more)
        };
        assert_eq!(page(&[], 3, 9), (0, 9, false));
        assert_eq!(page(&events(&[6, 8], 10), 3, 9), (2, 9, false));
        assert_eq!(page(&events(&[6, 8, 12], 10), 3, 5), (3, 12, false));
        assert_eq!(page(&events(&[6, 8, 12, 13], 10), 3, 20), (3, 12, true));
        assert_eq!(page(&events(&[6, 8], REPLAY_MAX_BYTES), 3, 9), (1, 6, true));
    }

    #[test]
    fn the_chain_goes_on_from_the_last_event_and_not_from_the_checkpoint() {
        let topic = Topic::Room(RoomId::random());
        let from = Reached { up_to: 120, last: 80 };
        let missed = gather(topic, from, 3, &events(&[121], 10), 120);
        let frame = String::from_utf8_lossy(&missed.frames[0]).into_owned();
        assert!(frame.contains(r#""seq":121,"prev":80,"#), "{frame}");
        assert_eq!(missed.reached, Reached::named(121));
        assert_eq!(gather(topic, from, 3, &[], 130).reached, Reached { up_to: 130, last: 80 });
    }
}
