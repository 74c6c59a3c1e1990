//! What holds for any message of the log. `fuzz/` runs it, and the tests run it over the corpus.

use bytes::Bytes;
use natterjack_domain::{RoomId, UserId, user};
use natterjack_eventlog::{Kind, Subject};
use natterjack_wire::{Fact, StoredEvent};

use crate::{
    Entry,
    fold::{Counts, Keys, Known, Repeats, fold},
};

/// The first byte picks the subject. Whatever the body says: it counts for what it says, or is parked with its reason; on no
/// subject but its own; and a replay says the same.
pub fn entry(bytes: &[u8]) {
    let Some((which, body)) = bytes.split_first() else { return };
    let room = RoomId::from_uuid(uuid::Uuid::from_u128(1));
    let by = StoredEvent::decode(body).map_or(UserId::from_uuid(uuid::Uuid::nil()), |event| event.by);
    let subject = [Subject::state(room), Subject::timeline(room), Subject::feed(by)][usize::from(which % 3)];
    let read = |known| Entry::new(7, subject, "t".into(), known, Bytes::copy_from_slice(body));
    let entry = read(true);
    assert_eq!(entry, read(true));
    assert!(read(false).fact.is_err(), "no front wrote it");
    match &entry.fact {
        Ok(fact) => {
            assert_eq!(StoredEvent::decode(body).map(StoredEvent::fact).ok().as_ref(), Some(fact));
            match fact {
                Fact::Room(_) => assert_eq!(subject.kind, Kind::State),
                Fact::Message(_) => assert_eq!(subject.kind, Kind::Timeline),
                Fact::User(user::Event::Read { seq, .. }) => assert!(i64::try_from(*seq).is_ok()),
                Fact::User(_) => assert_eq!(subject.kind, Kind::Feed),
            }
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    // A batch of it, twice.
    let batch = [entry.clone(), Entry { seq: 8, ..entry }];
    let _ = Keys::of(&batch, Repeats::LookedFor);
    let mut known = Known::default();
    if which & 4 == 0 {
        known.rooms.insert(room, Counts::default());
    }
    let changes = fold(&batch, known);
    assert!(changes.posted.len() <= 1, "a message is posted once");
    assert!(changes.parked.len() <= batch.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_holds() {
        replay::replay("entry", entry);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
