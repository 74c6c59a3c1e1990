//! One message of the log, and what it means.

use std::error::Error;

use bytes::Bytes;
use natterjack_domain::{
    RoomId,
    user::{self, schedule},
};
use natterjack_eventlog::{Event, Kind, NotAnEvent, Subject, Topic};
use natterjack_wire::{Fact, StoredEvent};

/// A message of the log as the second copy holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    /// `None` for a message that is no event of the log's; nothing else is known of it then.
    pub subject: Option<Subject>,
    /// When the log stored it, in the log's own words.
    pub ts: String,
    /// Whether a front wrote it.
    pub known: bool,
    pub body: Bytes,
    /// What it says or, in words that a replay repeats, why it counts for nothing.
    pub fact: Result<Fact, String>,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        let Event { subject, seq, ts, known, body, .. } = event;
        Self::new(seq, subject, ts, known, body)
    }
}

/// What was read from a stream; an error where not even the place in the stream is known.
pub(crate) fn read(message: Result<Event, NotAnEvent>) -> Result<Entry, NotAnEvent> {
    match message {
        Ok(event) => Ok(event.into()),
        Err(NotAnEvent { seq: Some(seq), .. }) => Ok(Entry::foreign(seq)),
        Err(unplaced) => Err(unplaced),
    }
}

impl Entry {
    pub fn new(seq: u64, subject: Subject, ts: String, known: bool, body: Bytes) -> Self {
        let fact = read_fact(subject, known, &body);
        Self { seq, subject: Some(subject), ts, known, body, fact }
    }

    /// A message that is no event of the log's.
    pub fn foreign(seq: u64) -> Self {
        let fact = Err("not an event of the log".into());
        Self { seq, subject: None, ts: String::new(), known: false, body: Bytes::new(), fact }
    }

    /// The room whose subject it stands on.
    pub fn room(&self) -> Option<RoomId> {
        match self.subject {
            Some(Subject { topic: Topic::Room(room), .. }) => Some(room),
            _ => None,
        }
    }
}

fn read_fact(subject: Subject, known: bool, body: &[u8]) -> Result<Fact, String> {
    if !known {
        return Err("no front wrote it".into());
    }
    let fact = StoredEvent::decode(body).map_err(|error| chain(&error))?.fact();
    if !belongs(&fact, subject) {
        return Err("an event of this type does not belong on this subject".into());
    }
    if let Fact::User(event) = &fact
        && number(event).is_some_and(|number| i64::try_from(number).is_err())
    {
        return Err("the sequence is beyond every sequence".into());
    }
    Ok(fact)
}

/// Only a person's own feed speaks of the person, and only a room's subjects speak of the room: readers of one
/// subject must not miss what another one says.
fn belongs(fact: &Fact, subject: Subject) -> bool {
    match (fact, subject.kind) {
        (Fact::Room(_), Kind::State) | (Fact::Message(_), Kind::Timeline) => true,
        (Fact::User(event), Kind::Feed) => subject.topic == Topic::User(event.user()),
        _ => false,
    }
}

/// The number that a person's event bears and a table has to hold.
fn number(event: &user::Event) -> Option<u64> {
    use schedule::Event::{Begun, Cancelled, Failed, Scheduled, Sent};
    match event {
        user::Event::Read { seq, .. }
        | user::Event::MarkedUnread { seq, .. }
        | user::Event::ThreadRead { seq, .. }
        | user::Event::Delivered { seq, .. }
        | user::Event::Schedule { event: Sent { seq }, .. } => Some(*seq),
        user::Event::Schedule { event: Scheduled { plan }, .. } => Some(plan.at),
        user::Event::Schedule { event: Begun | Cancelled | Failed { .. }, .. }
        | user::Event::Registered { .. }
        | user::Event::ProfileChanged { .. }
        | user::Event::Deactivated { .. }
        | user::Event::ThreadFollowed { .. }
        | user::Event::DraftSaved { .. }
        | user::Event::MessageSaved { .. }
        | user::Event::NotifyChanged { .. }
        | user::Event::DndChanged { .. } => None,
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use natterjack_domain::{EventId, UserId};
    use natterjack_wire::event::EventBody;

    use super::*;

    fn entry(subject: Subject, by: UserId, body: EventBody) -> Entry {
        let body = StoredEvent { v: 1, id: EventId::random(), by, body }.encode();
        Entry::new(1, subject, "t".into(), true, body)
    }

    #[test]
    fn what_counts_for_nothing_says_why() {
        let (room, user, other) = (RoomId::random(), UserId::random(), UserId::random());
        let joined = EventBody::MemberJoined { user, invite: None };
        let read = |seq| EventBody::UserRead { room, seq };
        let misplaced = "an event of this type does not belong on this subject";
        let good = entry(Subject::state(room), user, joined.clone());
        assert!(good.fact.is_ok());
        assert!(entry(Subject::feed(user), user, read(7)).fact.is_ok());
        let on_state = |known, body| Entry::new(1, Subject::state(room), "t".into(), known, body);
        let newer = Bytes::from_static(br#"{"v":2,"type":"room.merged"}"#);
        let cases = [
            (Entry::foreign(1), "not an event of the log"),
            (on_state(false, good.body), "no front wrote it"),
            (on_state(true, newer), "version 2 is newer than this program, which reads up to 1"),
            (entry(Subject::timeline(room), user, joined.clone()), misplaced),
            (entry(Subject::feed(user), user, joined), misplaced),
            (entry(Subject::feed(other), user, read(7)), misplaced),
            (entry(Subject::feed(user), user, read(u64::MAX)), "the sequence is beyond every sequence"),
        ];
        for (entry, expected) in cases {
            assert_eq!(entry.fact, Err(expected.to_owned()));
        }
        let garbage = on_state(true, Bytes::from_static(b"\xff{"));
        assert!(garbage.fact.unwrap_err().starts_with("not a stored event: "));
    }
}
