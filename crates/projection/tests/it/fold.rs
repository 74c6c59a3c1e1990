//! The fold against the rules of the domain, with tables in memory.

use std::collections::{BTreeMap, HashMap};

use natterjack_domain::{
    MessageId, Role, RoomId, UserId,
    message::{Emoji, Message, PINS_MAX, REACTIONS_MAX, Reactions},
    profile::Profile,
    room::{Facts, Room, Standing},
};
use natterjack_projection::{
    Entry,
    fold::{
        Changes, Counts, Gone, Kept, Keys, Known, KnownMessage, Membership, Named, NewMessage, Pin, Repeats,
        Sanction, SanctionKind, Says, Scheduled, Thread, Version, fold,
    },
};
use natterjack_wire::Fact;
use proptest::prelude::*;

use crate::script::{
    self, Step, created, edited, emoji, entries, mid, named, posted, reacted, registered, reply, room, user,
};

/// Tables as Postgres would hold them.
#[derive(Debug, Default, PartialEq)]
struct Memory {
    rooms: BTreeMap<RoomId, (Facts, Counts)>,
    members: BTreeMap<(RoomId, UserId), (u64, Role)>,
    sanctions: BTreeMap<(RoomId, SanctionKind, UserId), Sanction>,
    messages: BTreeMap<(RoomId, u64), NewMessage>,
    named: BTreeMap<(RoomId, u64), Named>,
    versions: BTreeMap<(RoomId, u64, u64), Version>,
    threads: BTreeMap<(RoomId, u64), Thread>,
    reactions: BTreeMap<(RoomId, u64, Emoji, UserId), u64>,
    reaction_counts: BTreeMap<(RoomId, u64, Emoji), u64>,
    pins: BTreeMap<(RoomId, u64), Pin>,
    marks: BTreeMap<(UserId, RoomId), u64>,
    /// But for the marks, each of which is where its shifts have brought it.
    kept: Kept,
    people: BTreeMap<UserId, String>,
    profiles: BTreeMap<UserId, Profile>,
    deactivated: BTreeMap<UserId, String>,
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
        let states = keys.states.iter().filter_map(|id| Some((*id, self.state(*id, keys)?)));
        let messages = self.messages.values().filter(|m| keys.messages.contains(&(m.room, m.mid)));
        let known = |m: &NewMessage| {
            let rules = Message {
                id: m.mid,
                author: m.author,
                thread: m.thread.map(|thread| thread.root),
                gone: m.content.gone.is_some(),
                pinned: self.pins.contains_key(&(m.room, m.posted.seq)),
                reactions: self.reactions_to(m, keys),
            };
            ((m.room, m.mid), KnownMessage { seq: m.posted.seq, rules })
        };
        let firsts = self.messages.values().filter(|m| keys.threads.contains(&(m.room, m.mid)));
        let threads = firsts.filter_map(|m| {
            let key = (m.room, m.posted.seq);
            Some((key, self.threads.get(&key)?.clone()))
        });
        let pins = |room: &RoomId| (*room, self.pins.keys().filter(|key| key.0 == *room).count());
        Known {
            rooms: rooms.collect::<HashMap<_, _>>(),
            states: states.collect(),
            messages: messages.map(known).collect(),
            threads: threads.collect(),
            pins: keys.pins.iter().map(pins).collect(),
            schedules: (keys.schedules.iter())
                .filter_map(|key| Some((*key, self.kept.schedules.get(key)?.stage)))
                .collect(),
        }
    }

    /// No more than what is asked for.
    fn reactions_to(&self, message: &NewMessage, keys: &Keys) -> Reactions {
        let asked = keys.reactions.iter().filter(|key| (key.0, key.1) == (message.room, message.mid));
        let mut asked = asked.map(|(.., emoji, user)| (*user, emoji.clone())).peekable();
        if asked.peek().is_none() {
            return Reactions::default();
        }
        let (room, seq) = (message.room, message.posted.seq);
        let counts = self.reaction_counts.iter().filter(|(key, _)| (key.0, key.1) == (room, seq));
        let on =
            |(user, emoji): &(UserId, Emoji)| self.reactions.contains_key(&(room, seq, emoji.clone(), *user));
        Reactions::new(counts.map(|(key, count)| (key.2.clone(), *count)), asked.filter(on))
    }

    /// No more of a room than the keys ask for.
    fn state(&self, id: RoomId, keys: &Keys) -> Option<Room> {
        let facts = self.rooms.get(&id)?.0.clone();
        let all = keys.emptied.contains(&id).then(|| self.members.keys().copied());
        let asked = keys.people.iter().copied().chain(all.into_iter().flatten());
        let people = asked.filter(|(room, _)| *room == id).map(|(_, user)| {
            let until = |kind| self.sanctions.get(&(id, kind, user)).map(|sanction| sanction.until);
            let role = self.members.get(&(id, user)).map(|(_, role)| *role);
            let (muted, banned) = (until(SanctionKind::Mute), until(SanctionKind::Ban));
            (user, Standing { role, muted, banned })
        });
        Some(Room::partial(facts, people))
    }

    fn store(&mut self, changes: Changes) {
        for (id, new) in changes.created {
            assert!(self.rooms.insert(id, (new.facts, Counts::default())).is_none());
        }
        for (id, facts) in changes.facts {
            if facts.deleted {
                self.sanctions.retain(|(room, _, _), _| *room != id);
            }
            self.rooms.get_mut(&id).unwrap().0 = facts;
        }
        for (key, sanction) in changes.sanctions {
            match sanction {
                Some(sanction) => self.sanctions.insert(key, sanction),
                None => self.sanctions.remove(&key),
            };
        }
        for (id, counts) in changes.counts {
            self.rooms.get_mut(&id).unwrap().1 = counts;
        }
        for (key, membership) in changes.members {
            match membership {
                Some(Membership { joined: Some(seq), role }) => {
                    self.members.insert(key, (seq, role));
                }
                Some(Membership { joined: None, role }) => self.members.get_mut(&key).unwrap().1 = role,
                None => {
                    self.members.remove(&key);
                }
            }
        }
        for message in changes.posted {
            assert!(self.messages.insert((message.room, message.posted.seq), message).is_none());
        }
        for (key, change) in changes.edited {
            let message = self.messages.get_mut(&key).unwrap();
            if let (None, Some(says), Some(_)) =
                (&message.content.edited, &message.content.says, &change.says)
            {
                let first = Version { since_at: message.posted.at.clone(), says: says.clone() };
                self.versions.insert((key.0, key.1, key.1), first);
            }
            if change.gone.is_some() {
                (message.forwarded, message.attachments) = (None, None);
            }
            message.content.says = change.says;
            message.content.edited = change.edited.or(message.content.edited.take());
            message.content.gone = change.gone;
            self.named.remove(&key);
        }
        self.named.extend(changes.named.into_iter().filter(|(_, named)| !named.users.is_empty()));
        self.versions.extend(changes.versions);
        self.threads.extend(changes.threads);
        for (key, at) in changes.reactions {
            match at {
                Some(seq) => self.reactions.insert(key, seq),
                None => self.reactions.remove(&key),
            };
        }
        self.reaction_counts.extend(changes.reaction_counts);
        self.reaction_counts.retain(|_, count| *count > 0);
        for (key, pin) in changes.pins {
            match pin {
                Some(pin) => self.pins.insert(key, pin),
                None => self.pins.remove(&key),
            };
        }
        for cleared in changes.cleared {
            self.reactions.retain(|key, _| (key.0, key.1) != cleared);
            self.reaction_counts.retain(|key, _| (key.0, key.1) != cleared);
            self.versions.retain(|key, _| (key.0, key.1) != cleared);
            self.pins.remove(&cleared);
        }
        self.keep(changes.kept);
        for (id, person) in changes.people {
            self.people.entry(id).or_insert(person.username);
        }
        self.profiles.extend(changes.profiles);
        for (id, at) in changes.deactivated {
            self.deactivated.entry(id).or_insert(at);
        }
        self.parked.extend(changes.parked.into_iter().map(|p| (p.seq, p.subject, p.error)));
    }

    fn keep(&mut self, kept: Kept) {
        for (key, shift) in kept.marks {
            let mark = self.marks.entry(key).or_default();
            *mark = shift.of(*mark);
        }
        for (key, seq) in kept.delivered {
            let mark = self.kept.delivered.entry(key).or_default();
            *mark = (*mark).max(seq);
        }
        for (key, seq) in kept.thread_marks {
            let mark = self.kept.thread_marks.entry(key).or_default();
            *mark = (*mark).max(seq);
        }
        self.kept.thread_follows.extend(kept.thread_follows);
        self.kept.notify.extend(kept.notify);
        self.kept.quiet.extend(kept.quiet);
        self.kept.drafts.extend(kept.drafts);
        self.kept.drafts.retain(|_, draft| draft.is_some());
        self.kept.saved.extend(kept.saved);
        self.kept.saved.retain(|_, saved| saved.is_some());
        for (key, Scheduled { plan, stage }) in kept.schedules {
            let row = self.kept.schedules.entry(key).or_insert(Scheduled { plan: None, stage });
            (row.plan, row.stage) = (plan.or(row.plan.take()), stage);
            assert!(row.plan.is_some(), "a schedule without a plan");
        }
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
        assert_eq!(memory.message(room(0), mid(1)).body(), Some("a"));
        assert_eq!(
            memory.rooms[&room(0)].1,
            Counts { members: 1, last_ordinal: 2, all_mentions: 0, head: 4 }
        );
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
        let message = memory.message(room(0), mid(1));
        assert_eq!(message.body(), Some("second"));
        let edited = message.content.edited.as_ref();
        assert_eq!(edited.map(|mark| (mark.seq, mark.at.clone())), Some((5, script::ts(5))));
        assert_eq!(message.content.gone, None);
        let gone = &memory.message(room(0), mid(2)).content;
        assert_eq!((&gone.says, &gone.edited), (&None, &None));
        assert_eq!(gone.gone.as_ref().map(|gone| gone.mark.seq), Some(8));
        assert_eq!(memory.rooms[&room(0)].1.head, 10);
    }
}

#[test]
fn the_first_creation_and_registration_count_and_marks_follow_the_feed() {
    let read = |seq| Step::Read { user: 1, room: 0, seq };
    let unread = |seq| Step::Unread { user: 1, room: 0, seq };
    let steps = [
        Step::Joined { room: 0, user: 3 },
        posted(0, 3, 1, "to nobody"),
        created(0, 0, &[0, 1, 1]),
        created(0, 2, &[2]),
        registered(1, "ann"),
        registered(1, "bob"),
        read(7),
        read(3),
        unread(9),
        unread(4),
        read(2),
        read(5),
    ];
    for memory in [fold_at_once(&steps), fold_one_by_one(&steps)] {
        let members: Vec<_> = memory.members.iter().map(|(key, (seq, _))| (key.1, *seq)).collect();
        assert_eq!(members, [(user(0), 3), (user(1), 3)]);
        assert_eq!(
            memory.rooms[&room(0)].1,
            Counts { members: 2, last_ordinal: 0, all_mentions: 0, head: 4 }
        );
        assert_eq!(memory.messages.len(), 0);
        assert_eq!(memory.people[&user(1)], "ann");
        assert_eq!(memory.marks[&(user(1), room(0))], 5);
    }
}

#[test]
fn the_last_profile_and_the_first_closing_count_whether_one_has_registered_or_not() {
    let steps = [
        named(1, "early"),
        registered(1, "ann"),
        named(1, "Ann"),
        Step::Closed { user: 1 },
        named(1, "late"),
        Step::Closed { user: 1 },
    ];
    for memory in [fold_at_once(&steps), fold_one_by_one(&steps)] {
        let nickname = memory.profiles[&user(1)].nickname.as_ref().map(ToString::to_string);
        assert_eq!((nickname.as_deref(), &memory.deactivated[&user(1)]), (Some("late"), &script::ts(4)));
        assert_eq!(memory.people[&user(1)], "ann");
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

trait Body {
    fn body(&self) -> Option<&str>;
}

impl Body for NewMessage {
    fn body(&self) -> Option<&str> {
        self.content.says.as_ref().map(|says| says.body.as_str())
    }
}

/// At once and one by one, which have to come to the same.
fn folded(steps: &[Step]) -> Memory {
    let (at_once, one_by_one) = (fold_at_once(steps), fold_one_by_one(steps));
    assert_eq!(at_once, one_by_one);
    at_once
}

#[test]
fn replies_stand_in_their_thread_and_not_in_the_room() {
    let mut steps =
        vec![created(0, 0, &[0]), posted(0, 0, 1, "root"), reply(0, 1, 2, 1), posted(0, 0, 3, "next")];
    // To a reply, and to what is not there: they count for nothing.
    steps.extend([reply(0, 1, 4, 2), reply(0, 1, 5, 9), reply(1, 1, 6, 1)]);
    steps.extend((10..17).map(|n| reply(0, n, n, 1)));
    let memory = folded(&steps);
    let places: Vec<_> = memory.messages.values().map(|m| (m.ordinal, m.thread.map(|t| t.ordinal))).collect();
    assert_eq!(places[..3], [(1, None), (1, Some(1)), (2, None)]);
    assert_eq!((places.len(), places[9]), (10, (2, Some(8))));
    assert_eq!(memory.rooms[&room(0)].1.last_ordinal, 2);
    let thread = &memory.threads[&(room(0), 2)];
    assert_eq!((thread.replies, thread.last.seq), (8, 14));
    assert_eq!(thread.participants, [1, 10, 11, 12, 13].map(user));
}

#[test]
fn mentions_follow_what_a_message_says_now() {
    let said =
        |mid, thread, named: &[u8], all| Step::Said { room: 0, by: 0, mid, thread, named: named.into(), all };
    let reworded = |mid, named: &[u8]| Step::Reworded { room: 0, by: 0, mid, named: named.into() };
    let steps = [
        created(0, 0, &[0]),
        said(1, None, &[1, 2], true),
        said(2, Some(1), &[3], false),
        said(3, None, &[1], false),
        said(4, None, &[1], true),
        reworded(1, &[2, 4]),
        edited(0, 0, 3, "nobody"),
        Step::Recalled { room: 0, by: 0, mid: 4 },
    ];
    let memory = folded(&steps);
    let named: Vec<_> =
        memory.named.iter().map(|(key, named)| (key.1, named.thread, named.users.clone())).collect();
    assert_eq!(named, [(2, None, vec![user(2), user(4)]), (3, Some(mid(1)), vec![user(3)])]);
    // Messages for all stay counted, as messages do: what comes after them is counted from them.
    let all: Vec<_> = memory.messages.values().map(|m| m.all_mentions).collect();
    assert_eq!((all, memory.rooms[&room(0)].1.all_mentions), (vec![1, 1, 1, 2], 2));
    let Says { mentions, meta, .. } = memory.message(room(0), mid(1)).content.says.clone().unwrap();
    assert!(mentions.unwrap().contains("users") && meta.unwrap().contains("code"));
    assert!(memory.message(room(0), mid(1)).forwarded.is_some());
    let gone = memory.message(room(0), mid(4));
    assert_eq!((&gone.content.says, &gone.forwarded, &gone.attachments), (&None, &None, &None));
}

#[test]
fn reactions_are_sets_and_pins_are_few() {
    let mut steps = vec![created(0, 0, &[0]), posted(0, 0, 0, "x"), posted(0, 0, 1, "y")];
    let (on, off) = (true, false);
    steps.extend([reacted(0, 1, 1, 0, on), reacted(0, 2, 1, 0, on), reacted(0, 1, 1, 0, on)]);
    steps.extend([
        reacted(0, 3, 1, 0, off),
        reacted(0, 1, 1, 0, off),
        reacted(0, 1, 1, 1, on),
        reacted(0, 1, 1, 1, off),
    ]);
    let memory = folded(&steps);
    let counts: Vec<_> = memory.reaction_counts.iter().map(|(key, count)| (key.2.clone(), *count)).collect();
    assert_eq!(counts, [(emoji(0), 1)]);
    assert_eq!(memory.reactions.keys().map(|key| key.3).collect::<Vec<_>>(), [user(2)]);

    let many = u8::try_from(REACTIONS_MAX).unwrap();
    steps.extend((0..=many + 1).map(|n| reacted(0, 4, 0, n, on)));
    assert_eq!(folded(&steps).reactions.len(), 1 + REACTIONS_MAX);

    let pins = u8::try_from(PINS_MAX).unwrap();
    let pin = |mid, on| Step::Pinned { room: 0, by: 0, mid, on };
    steps.extend((2..=pins + 1).map(|n| posted(0, 0, n, "z")));
    steps.extend((0..=pins).map(|n| pin(n, on)));
    assert_eq!(folded(&steps).pins.len(), PINS_MAX);
    // One that is gone makes room for one.
    steps.extend([Step::Deleted { room: 0, by: 9, mid: 5 }, pin(pins, on), pin(6, off), pin(pins + 1, on)]);
    let memory = folded(&steps);
    assert_eq!(memory.pins.len(), PINS_MAX);
    let gone = memory.message(room(0), mid(5)).content.gone.clone();
    let Some(Gone { deleted_by, reason, .. }) = gone else { panic!("it is there") };
    assert_eq!((deleted_by, reason.as_deref()), (Some(user(9)), Some("spam")));
}

#[test]
fn former_words_are_kept_until_the_message_is_gone() {
    let mut steps = vec![
        created(0, 0, &[0]),
        posted(0, 0, 1, "one"),
        posted(0, 0, 2, "never edited"),
        edited(0, 0, 1, "two"),
        edited(0, 1, 1, "a stranger's"),
        edited(0, 0, 1, "three"),
    ];
    let said = |memory: &Memory| {
        let versions = memory.versions.iter().map(|(key, version)| (key.1, key.2, version.says.body.clone()));
        versions.collect::<Vec<_>>()
    };
    assert_eq!(said(&folded(&steps)), [(2, 2, "one".into()), (2, 4, "two".into()), (2, 6, "three".into())]);
    steps.push(Step::Deleted { room: 0, by: 3, mid: 1 });
    assert_eq!(said(&folded(&steps)), []);
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
    assert_eq!(
        changes.members[&(room(0), user(1))],
        Some(Membership { joined: Some(5), role: Role::Member })
    );
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
    fn rooms_and_who_is_in_them_are_those_of_the_domain(steps in script::steps(60)) {
        let entries = entries(&steps);
        let memory = Memory::of(entries.chunks(7));
        let mut rooms: BTreeMap<RoomId, Room> = BTreeMap::new();
        for entry in &entries {
            if let (Some(id), Ok(Fact::Room(event))) = (entry.room(), &entry.fact) {
                rooms.entry(id).or_default().apply(event);
            }
        }
        for (id, expected) in rooms {
            for n in 0..4 {
                let user = user(n);
                let role = memory.members.get(&(id, user)).map(|(_, role)| *role);
                let until = |kind| memory.sanctions.get(&(id, kind, user)).map(|sanction| sanction.until);
                let (muted, banned) = (until(SanctionKind::Mute), until(SanctionKind::Ban));
                prop_assert_eq!(Standing { role, muted, banned }, expected.standing(user));
            }
            let count = memory.rooms.get(&id).map_or(0, |(_, counts)| counts.members);
            prop_assert_eq!(count, expected.members().len() as u64);
            prop_assert_eq!(memory.rooms.get(&id).map(|(facts, _)| facts), expected.record());
        }
    }
}
