//! The last events of a topic, ready to be sent again.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use natterjack_domain::{
    MessageId,
    message::{self, Message},
};
use natterjack_wire::{Fact, StoredEvent};
use serde::Deserialize;
use tokio::time::Instant;

use crate::ws::encode;

/// Encoded frames of a topic's newest events, bounded in number, bytes and age. It is contiguous: between two
/// frames of it the topic has no other event.
pub struct Tail {
    frames: VecDeque<Entry>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
    max_age: Duration,
    /// The tail holds every event of the topic after this sequence.
    complete_after: u64,
}

/// What a tail knows of one message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recent {
    /// It was posted within the tail, and when, in the log's words.
    pub posted: Option<(Message, String)>,
    /// What was done to it within the tail, in order, by sequence.
    pub changes: Vec<(u64, message::Event)>,
    /// The tail tells nothing of what happened up to here.
    pub complete_after: u64,
}

/// How far back a tail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The tail tells nothing of what happened up to here.
    pub complete_after: u64,
    /// The oldest event that it holds; where it holds none, as `complete_after`.
    pub oldest: u64,
    /// So many more events it could take.
    pub room: usize,
}

struct Entry {
    seq: u64,
    since: Instant,
    frame: Bytes,
}

impl Tail {
    /// An empty tail of a topic whose head is `head`.
    pub fn new(head: u64, max_events: usize, max_bytes: usize, max_age: Duration) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, max_events, max_bytes, max_age, complete_after: head }
    }

    /// Adds the event that follows the last one.
    pub fn push(&mut self, seq: u64, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(Entry { seq, since: Instant::now(), frame });
        self.keep_bounds();
    }

    pub fn reach(&self) -> Reach {
        Reach {
            complete_after: self.complete_after,
            oldest: self.frames.front().map_or(self.complete_after, |oldest| oldest.seq),
            room: self.max_events - self.frames.len(),
        }
    }

    /// Has the tail reach back to `after`: `older` are the topic's next events after that, up to one that the tail
    /// holds or to its head. Whether it now holds all of them.
    ///
    /// The oldest frame may name no predecessor, for want of knowing it: a frame that `older` holds too is replaced.
    pub fn extend_back(&mut self, after: u64, older: Vec<(u64, Bytes)>) -> bool {
        let meets = self.reach().oldest;
        let reaches = older.last().is_some_and(|(last, _)| *last >= meets);
        if after >= self.complete_after || !reaches {
            return after >= self.complete_after;
        }
        while let Some(oldest) =
            self.frames.pop_front_if(|oldest| older.last().is_some_and(|(last, _)| oldest.seq <= *last))
        {
            self.bytes -= oldest.frame.len();
        }
        for (seq, frame) in older.into_iter().rev() {
            self.bytes += frame.len();
            self.frames.push_front(Entry { seq, since: Instant::now(), frame });
        }
        self.complete_after = after;
        self.keep_bounds();
        self.complete_after == after
    }

    fn keep_bounds(&mut self) {
        while self.frames.len() > self.max_events || self.bytes > self.max_bytes {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old at `now`: to be called now and then, so that a room that was busy once does not hold
    /// its memory for ever.
    pub fn age(&mut self, now: Instant) {
        while self.frames.front().is_some_and(|oldest| now.duration_since(oldest.since) > self.max_age) {
            self.forget_oldest();
        }
        if self.frames.capacity() > 4 * self.frames.len() {
            self.frames.shrink_to_fit();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.frame.len();
            self.complete_after = oldest.seq;
        }
    }

    /// Forgets everything: the topic's events up to `head` cannot be vouched for.
    pub fn clear(&mut self, head: u64) {
        self.frames.clear();
        self.bytes = 0;
        self.complete_after = head;
    }

    /// Looks a message up. The frames are searched as bytes first: this is for the rare edit, and costs the
    /// events that pass by nothing.
    pub fn message(&self, mid: MessageId) -> Recent {
        let needle = mid.to_string();
        let mut recent = Recent { complete_after: self.complete_after, ..Recent::default() };
        for entry in &self.frames {
            if memchr::memmem::find(&entry.frame, needle.as_bytes()).is_none() {
                continue;
            }
            // Others may name it too: replies to it, for one.
            match message_event(&entry.frame).filter(|(_, event)| event.about().0 == mid) {
                Some((ts, message::Event::Posted(posted))) => {
                    recent.posted.get_or_insert_with(|| (Message::new(&posted), ts));
                }
                Some((_, change)) => recent.changes.push((entry.seq, change)),
                None => {}
            }
        }
        recent
    }

    /// The frames after `after`, in order; none when the tail does not reach back so far.
    pub fn after(&self, after: u64) -> Option<impl ExactSizeIterator<Item = &Bytes>> {
        if after < self.complete_after {
            return None;
        }
        let first = self.frames.partition_point(|entry| entry.seq <= after);
        Some(self.frames.range(first..).map(|entry| &entry.frame))
    }
}

/// With the time at which the log stored it.
fn message_event(frame: &[u8]) -> Option<(String, message::Event)> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        ts: String,
        #[serde(borrow)]
        e: &'a serde_json::value::RawValue,
    }
    let frame: Frame<'_> = serde_json::from_slice(encode::payload(frame)).ok()?;
    match StoredEvent::decode(frame.e.get().as_bytes()).ok()?.fact() {
        Fact::Message(event) => Some((frame.ts, event)),
        Fact::Room(_) | Fact::User(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use natterjack_domain::{ClientId, MessageBody, RoomId, UserId};
    use natterjack_eventlog::{Event, Subject};

    use super::*;

    const AGE: Duration = Duration::from_mins(1);

    #[test]
    fn it_forgets_what_is_old_and_the_room_it_took() {
        let mut tail = Tail::new(10, 100, 10_000, AGE);
        for seq in 11..=90 {
            tail.push(seq, Bytes::from_static(b"x"));
        }
        let now = Instant::now();
        tail.age(now);
        assert_eq!(frames(&tail, 10).map(|f| f.len()), Some(80));
        tail.age(now + AGE * 2);
        assert_eq!((frames(&tail, 89), frames(&tail, 90)), (None, Some(vec![])));
        assert_eq!((tail.frames.capacity(), tail.bytes), (0, 0));
        tail.push(95, Bytes::from_static(b"y"));
        assert_eq!(frames(&tail, 90), Some(vec![&b"y"[..]]));
    }

    #[test]
    fn it_tells_what_it_knows_of_a_message() {
        let (room, author, cid) = (RoomId::random(), UserId::random(), ClientId::random());
        let id = MessageId::derive(room, author, cid);
        let body = MessageBody::parse("x", 10).unwrap();
        let other = MessageId::random();
        let said = message::Posted::plain(id, author, cid, body.clone());
        let posted = message::Event::Posted(said.clone());
        let reply = message::Posted { id: other, reply_to: Some(id), thread: Some(id), ..said.clone() };
        let reply = message::Event::Posted(reply);
        let mentions = message::Mentions::default();
        let edited = message::Event::Edited { id, by: author, body, mentions, meta: None };
        let mut tail = Tail::new(4, 10, 10_000, AGE);
        for (seq, fact) in (5..).zip([&posted, &reply, &edited]) {
            let id = match fact {
                message::Event::Posted(posted) => posted.id.into(),
                _ => natterjack_domain::EventId::random(),
            };
            let body = StoredEvent::new(id, &Fact::Message(fact.clone())).encode();
            let ts = "2026-11-20T19:00:00Z".to_owned();
            let subject = Subject::timeline(room);
            let event = Event { subject, seq, last: None, ts, known: true, body };
            tail.push(seq, encode::event(subject.topic, &event, seq - 1));
        }
        let posted = Some((Message::new(&said), "2026-11-20T19:00:00Z".to_owned()));
        let expected = Recent { posted, changes: vec![(7, edited)], complete_after: 4 };
        assert_eq!(tail.message(id), expected);
        assert_eq!(tail.message(MessageId::random()), Recent { complete_after: 4, ..Recent::default() });
    }

    fn frames(tail: &Tail, after: u64) -> Option<Vec<&[u8]>> {
        tail.after(after).map(|frames| frames.map(AsRef::as_ref).collect())
    }

    #[test]
    fn it_gives_what_follows_and_admits_what_it_no_longer_has() {
        let mut tail = Tail::new(10, 3, 100, AGE);
        assert_eq!(frames(&tail, 10), Some(vec![]));
        assert_eq!(frames(&tail, 9), None);
        tail.push(12, Bytes::from_static(b"a"));
        tail.push(15, Bytes::from_static(b"b"));
        assert_eq!(frames(&tail, 10), Some(vec![&b"a"[..], b"b"]));
        assert_eq!(frames(&tail, 11), Some(vec![&b"a"[..], b"b"]));
        assert_eq!(frames(&tail, 12), Some(vec![&b"b"[..]]));
        assert_eq!(frames(&tail, 99), Some(vec![]));
        tail.push(16, Bytes::from_static(b"c"));
        tail.push(17, Bytes::from_static(b"d"));
        assert_eq!(frames(&tail, 11), None);
        assert_eq!(frames(&tail, 12).map(|f| f.len()), Some(3));
    }

    #[test]
    fn it_reaches_back_when_it_is_given_what_was_before() {
        let older = |seqs: &[(u64, &'static str)]| {
            seqs.iter().map(|(seq, text)| (*seq, Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>()
        };
        let mut tail = Tail::new(10, 4, 100, AGE);
        assert_eq!(tail.reach(), Reach { complete_after: 10, oldest: 10, room: 4 });
        // Something between these and the head may be missing.
        assert!(!tail.extend_back(3, older(&[(5, "a"), (7, "b")])));
        assert!(tail.extend_back(6, older(&[(7, "b"), (10, "c")])));
        assert_eq!(tail.reach(), Reach { complete_after: 6, oldest: 7, room: 2 });
        tail.push(12, Bytes::from_static(b"d"));
        assert_eq!(frames(&tail, 6), Some(vec![&b"b"[..], b"c", b"d"]));
        // Nothing is put in twice, and the oldest frame is made anew.
        assert!(tail.extend_back(4, older(&[(5, "a"), (7, "B")])));
        assert_eq!(frames(&tail, 4), Some(vec![&b"a"[..], b"B", b"c", b"d"]));
        assert_eq!(tail.reach(), Reach { complete_after: 4, oldest: 5, room: 0 });
        // It reaches so far already.
        assert!(tail.extend_back(8, vec![]));
        // More than it takes: it keeps what is newer.
        assert!(!tail.extend_back(2, older(&[(3, "z"), (5, "A")])));
        assert_eq!(frames(&tail, 4), Some(vec![&b"A"[..], b"B", b"c", b"d"]));
        assert_eq!(frames(&tail, 2), None);
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let mut tail = Tail::new(0, 100, 10, AGE);
        for seq in 1..=5 {
            tail.push(seq, Bytes::from_static(b"1234"));
        }
        assert_eq!(frames(&tail, 2), None);
        assert_eq!(frames(&tail, 3).map(|f| f.len()), Some(2));
        tail.push(6, Bytes::from(vec![0; 11]));
        assert_eq!(frames(&tail, 5), None);
        assert_eq!(frames(&tail, 6), Some(vec![]));
    }
}
