//! The fold against the rules of the domain, with tables in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use natterjack_domain::{MessageId, RoomId, UserId, room::Room};
use natterjack_projection::{
    Entry,
    fold::{Changes, Content, Counts, Keys, Known, KnownMessage, NewMessage, Repeats, fold},
};
use natterjack_wire::Fact;
use proptest::prelude::*;

use crate::script::{self, Step, created, edited, entries, mid, posted, registered, room, user};

/// Tables as Postgres would hold them.
#[derive(Debug, Default, PartialEq)]
struct Memory {
    rooms: BTreeMap<RoomId, (String, Counts)>,
    members: BTreeMap<(RoomId, UserId), u64>,
    messages: BTreeMap<(RoomId, u64), NewMessage>,
    marks: BTreeMap<(UserId, RoomId), u64>,
    people: BTreeMap<UserId, String>,
    parked: Vec<(u64, String, String)>,
}

impl Memory {
    fn of<'a>(batches: impl IntoIterator<Item = &'a [Entry]>) -> Self {
        let mut memory = Self::default();
        for batch in batches {
            let known = memory.load(&Keys::of(batch, Repeats::LookedFor));
            memory.store(fold(batch, known));
        }
        memory
    }

    fn load(&self, keys: &Keys) -> Known {
        let rooms = keys.rooms.iter().filter_map(|id| Some((*id, self.rooms.get(id)?.1)));
        let members = keys.members.iter().copied().filter(|key| self.members.contains_key(key));
        let messages = self.messages.values().filter(|m| keys.messages.contains(&(m.room, m.mid)));
        let known = |m: &NewMessage| {
            let recalled = m.content.recalled.is_some();
            let rules = natterjack_domain::message::Message { id: m.mid, author: m.author, recalled };
            ((m.room, m.mid), KnownMessage { seq: m.posted.seq, rules })
        };
        Known {
            rooms: rooms.collect::<HashMap<_, _>>(),
            members: members.collect::<HashSet<_>>(),
            messages: messages.map(known).collect(),
        }
    }

    fn store(&mut self, changes: Changes) {
        for (id, new) in changes.created {
            assert!(self.rooms.insert(id, (new.name.unwrap().to_string(), Counts::default())).is_none());
        }
        for (id, counts) in changes.counts {
            self.rooms.get_mut(&id).unwrap().1 = counts;
        }
        for (key, joined) in changes.members {
            match joined {
                Some(seq) => self.members.insert(key, seq),
                None => self.members.remove(&key),
            };
        }
        for message in changes.posted {
            assert!(self.messages.insert((message.room, message.posted.seq), message).is_none());
        }
        for (key, Content { body, edited, recalled }) in changes.edited {
            let content = &mut self.messages.get_mut(&key).unwrap().content;
            content.body = body;
            content.edited = edited.or(content.edited.take());
            content.recalled = recalled;
        }
        for (key, seq) in changes.marks {
            let mark = self.marks.entry(key).or_default();
            *mark = (*mark).max(seq);
        }
        for (id, person) in changes.people {
            self.people.entry(id).or_insert(person.username);
        }
        self.parked.extend(changes.parked.into_iter().map(|p| (p.seq, p.subject, p.error)));
    }

    fn message(&self, room: RoomId, mid: MessageId) -> &NewMessage {
        self.messages.values().find(|m| (m.room, m.mid) == (room, mid)).unwrap()
    }
}

fn fold_at_once(steps: &[Step]) -> Memory {
    Memory::of([&entries(steps)[..]])
}

fn fold_one_by_one(steps: &[Step]) -> Memory {
    Memory::of(entries(steps).chunks(1))
}

#[test]
fn a_repeated_message_counts_once_and_leaves_no_hole() {
    let steps = [created(0, 0, &[0]), posted(0, 0, 1, "a"), posted(0, 1, 1, "b"), posted(0, 0, 2, "c")];
    for memory in [fold_at_once(&steps), fold_one_by_one(&steps)] {
        let ordinals: Vec<_> = memory.messages.values().map(|m| (m.posted.seq, m.ordinal)).collect();
        assert_eq!(ordinals, [(2, 1), (4, 2)]);
        assert_eq!(memory.message(room(0), mid(1)).content.body.as_deref(), Some("a"));
        assert_eq!(memory.rooms[&room(0)].1, Counts { members: 1, last_ordinal: 2, head: 4 });
    }
}

#[test]
fn only_the_author_edits_and_nothing_follows_a_recall() {
    let steps = [
        created(0, 0, &[0]),
        posted(0, 0, 1, "first"),
        edited(0, 1, 1, "a stranger's"),
        edited(1, 0, 1, "in a room where it is not"),
        edited(0, 0, 1, "second"),
        Step::Recalled { room: 0, by: 1, mid: 1 },
        posted(0, 0, 2, "x"),
        Step::Recalled { room: 0, by: 0, mid: 2 },
        edited(0, 0, 2, "too late"),
        Step::Recalled { room: 0, by: 0, mid: 2 },
    ];
    for memory in [fold_at_once(&steps), fold_one_by_one(&steps)] {
        let content = &memory.message(room(0), mid(1)).content;
        assert_eq!(content.body.as_deref(), Some("second"));
        assert_eq!(content.edited.as_ref().map(|mark| (mark.seq, mark.at.clone())), Some((5, script::ts(5))));
        assert_eq!(content.recalled, None);
        let gone = &memory.message(room(0), mid(2)).content;
        assert_eq!((&gone.body, &gone.edited), (&None, &None));
        assert_eq!(gone.recalled.as_ref().map(|mark| mark.seq), Some(8));
        assert_eq!(memory.rooms[&room(0)].1.head, 10);
    }
}

#[test]
fn the_first_creation_registration_and_the_greatest_mark_count() {
    let read = |seq| Step::Read { user: 1, room: 0, seq };
    let steps = [
        Step::Joined { room: 0, user: 3 },
        posted(0, 3, 1, "to nobody"),
        created(0, 0, &[0, 1, 1]),
        created(0, 2, &[2]),
        registered(1, "ann"),
        registered(1, "bob"),
        read(7),
        read(3),
    ];
    for memory in [fold_at_once(&steps), fold_one_by_one(&steps)] {
        let members: Vec<_> = memory.members.iter().map(|(key, seq)| (key.1, *seq)).collect();
        assert_eq!(members, [(user(0), 3), (user(1), 3)]);
        assert_eq!(memory.rooms[&room(0)].1, Counts { members: 2, last_ordinal: 0, head: 4 });
        assert_eq!(memory.messages.len(), 0);
        assert_eq!(memory.people[&user(1)], "ann");
        assert_eq!(memory.marks[&(user(1), room(0))], 7);
    }
}

#[test]
fn what_cannot_be_read_is_parked_and_moves_the_head() {
    let steps = [
        created(0, 0, &[0]),
        Step::Garbage { room: 0 },
        Step::Newer { room: 0 },
        Step::Forged { room: 0, by: 0, mid: 1 },
        Step::Foreign,
        Step::Newer { room: 1 },
    ];
    let memory = fold_at_once(&steps);
    assert_eq!(memory.rooms[&room(0)].1.head, 4);
    assert_eq!(memory.rooms.len(), 1);
    let parked: Vec<_> = memory.parked.iter().map(|(seq, _, error)| (*seq, error.as_str())).collect();
    assert_eq!(
        parked[1..4],
        [
            (3, "version 2 is newer than this program, which reads up to 1"),
            (4, "no front wrote it"),
            (5, "not an event of the log"),
        ]
    );
    assert_eq!((parked.len(), &memory.parked[3].1[..]), (5, ""));
}

/// One person's changes, as they are told to that person.
#[test]
fn who_comes_and_goes_is_told() {
    let steps = [
        created(0, 0, &[0, 1]),
        Step::Joined { room: 0, user: 1 },
        Step::Left { room: 0, user: 1 },
        Step::Left { room: 0, user: 1 },
        Step::Joined { room: 0, user: 1 },
    ];
    let entries = entries(&steps);
    let changes = fold(&entries, Known::default());
    let told: Vec<_> = changes.notices.iter().map(|n| (n.user, n.seq)).collect();
    assert_eq!(told, [(user(0), 1), (user(1), 1), (user(1), 3), (user(1), 5)]);
    assert_eq!(changes.members[&(room(0), user(1))], Some(5));
}

/// Cuts `entries` where `cuts` says.
pub fn cut<'a>(entries: &'a [Entry], cuts: &[prop::sample::Index]) -> Vec<&'a [Entry]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len() + 1)).collect();
    at.extend([0, entries.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &entries[w[0]..w[1]]).filter(|batch| !batch.is_empty()).collect()
}

proptest! {
    #[test]
    fn where_batches_are_cut_does_not_matter(
        steps in script::steps(60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let entries = entries(&steps);
        prop_assert_eq!(Memory::of([&entries[..]]), Memory::of(cut(&entries, &cuts)));
        prop_assert_eq!(Memory::of([&entries[..]]), Memory::of(entries.chunks(1)));
    }

    #[test]
    fn members_are_those_of_the_domain(steps in script::steps(60)) {
        let entries = entries(&steps);
        let memory = Memory::of(entries.chunks(7));
        let mut rooms: BTreeMap<RoomId, Room> = BTreeMap::new();
        for (step, entry) in steps.iter().zip(&entries) {
            if let Ok(Fact::Room(event)) = &entry.fact {
                let (Step::Created { room: n, .. } | Step::Joined { room: n, .. } | Step::Left { room: n, .. }) = step
                else { panic!("{step:?}") };
                rooms.entry(room(*n)).or_default().apply(event);
            }
        }
        for (id, expected) in rooms {
            let members: HashSet<_> = memory.members.keys().filter(|key| key.0 == id).map(|key| key.1).collect();
            prop_assert_eq!(&members, &expected.members().collect());
            let count = memory.rooms.get(&id).map_or(0, |(_, counts)| counts.members);
            prop_assert_eq!(count, members.len() as u64);
            prop_assert_eq!(memory.rooms.contains_key(&id), expected.facts().is_some());
        }
    }
}
