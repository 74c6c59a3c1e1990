//! From events to changes of rows: pure, and the same however the events are cut into batches.
//!
//! A batch is folded in three steps: [`Keys`] says which rows its events depend on, the caller loads them as
//! [`Known`], and [`fold`] gives the [`Changes`].

mod kept;
mod messages;
mod people;
mod rooms;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use natterjack_domain::{
    MessageId, RoomId, ScheduleId, UserId,
    message::{self, Emoji, Message},
    profile::Profile,
    room::{Facts, Room},
    user::{self, schedule::Stage},
};
use natterjack_wire::Fact;

pub use self::{
    kept::{Draft, Kept, Saved, Scheduled},
    messages::{Content, Gone, Named, NewMessage, Pin, Place, Says, Thread, Version},
    people::Person,
    rooms::{Membership, NewRoom, Sanction, SanctionKind},
};
use crate::entry::Entry;

/// Whether a message that is posted may have been posted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Then Postgres refuses the batch (`messages_mid_key`), and the caller has to fold it again with the rows known. The
    /// log has dropped nearly all of them, and to look for each message costs a tenth of writing it.
    Refused,
    LookedFor,
}

/// The rows that a batch depends on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    pub rooms: BTreeSet<RoomId>,
    /// Rooms whose state changes.
    pub states: BTreeSet<RoomId>,
    /// What holds for these people in those rooms.
    pub people: BTreeSet<(RoomId, UserId)>,
    /// Rooms of which all members are concerned.
    pub emptied: BTreeSet<RoomId>,
    pub messages: BTreeSet<(RoomId, MessageId)>,
    /// By the messages that began them.
    pub threads: BTreeSet<(RoomId, MessageId)>,
    pub reactions: BTreeSet<(RoomId, MessageId, Emoji, UserId)>,
    /// Rooms whose pinned messages are to be counted.
    pub pins: BTreeSet<RoomId>,
    pub schedules: BTreeSet<(UserId, ScheduleId)>,
}

impl Keys {
    pub fn of(batch: &[Entry], repeats: Repeats) -> Self {
        let mut keys = Self::default();
        for entry in batch {
            if let Ok(Fact::User(user::Event::Schedule { id, sid, .. })) = &entry.fact {
                keys.schedules.insert((*id, *sid));
            }
            let Some(room) = entry.room() else { continue };
            keys.rooms.insert(room);
            match &entry.fact {
                Ok(Fact::Room(event)) => keys.state(room, event),
                Ok(Fact::Message(event)) => keys.message(room, event, repeats),
                Ok(Fact::User(_)) | Err(_) => {}
            }
        }
        keys
    }

    fn message(&mut self, room: RoomId, event: &message::Event, repeats: Repeats) {
        let (id, _) = event.about();
        match event {
            message::Event::Posted(posted) => {
                if let Some(root) = posted.thread {
                    self.messages.insert((room, root));
                    self.threads.insert((room, root));
                }
                if repeats == Repeats::Refused {
                    return;
                }
            }
            message::Event::Reacted { by, emoji, .. } => {
                self.reactions.insert((room, id, emoji.clone(), *by));
            }
            message::Event::Pinned { .. } => {
                self.pins.insert(room);
            }
            message::Event::Edited { .. }
            | message::Event::Recalled { .. }
            | message::Event::Deleted { .. }
            | message::Event::Unpinned { .. } => {}
        }
        self.messages.insert((room, id));
    }
}

/// The rows of [`Keys`] that there are.
#[derive(Debug, Default)]
pub struct Known {
    pub rooms: HashMap<RoomId, Counts>,
    /// As far as the batch's events depend on them.
    pub states: HashMap<RoomId, Room>,
    pub messages: HashMap<(RoomId, MessageId), KnownMessage>,
    /// By room and sequence of the messages that began them.
    pub threads: HashMap<(RoomId, u64), Thread>,
    /// How many pinned messages a room has.
    pub pins: HashMap<RoomId, usize>,
    pub schedules: HashMap<(UserId, ScheduleId), Stage>,
}

/// What changes in a room with every event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub members: u64,
    pub last_ordinal: u64,
    pub all_mentions: u64,
    pub head: u64,
}

#[derive(Debug, Clone)]
pub struct KnownMessage {
    pub seq: u64,
    pub rules: Message,
}

/// When and where something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    pub seq: u64,
    pub at: String,
}

/// An event that counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub seq: u64,
    /// Empty for what is no event of the log's.
    pub subject: String,
    pub error: String,
}

/// This person's membership of the room changed with the event `seq`, stored at `ts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub user: UserId,
    pub room: RoomId,
    pub seq: u64,
    pub ts: String,
}

/// What a batch makes of the rows.
#[derive(Debug, Default)]
pub struct Changes {
    pub created: BTreeMap<RoomId, NewRoom>,
    /// Of rooms that were there.
    pub facts: BTreeMap<RoomId, Facts>,
    /// Of created rooms and of those that were there.
    pub counts: BTreeMap<RoomId, Counts>,
    /// `None` for one who is no member any more.
    pub members: BTreeMap<(RoomId, UserId), Option<Membership>>,
    /// `None` for what was lifted.
    pub sanctions: BTreeMap<(RoomId, SanctionKind, UserId), Option<Sanction>>,
    pub posted: Vec<NewMessage>,
    /// Of messages stored before, by room and sequence.
    pub edited: BTreeMap<(RoomId, u64), Content>,
    /// Those of them of which nothing is left but that they were there.
    pub cleared: BTreeSet<(RoomId, u64)>,
    /// In place of whom the message named before.
    pub named: BTreeMap<(RoomId, u64), Named>,
    /// By room, sequence of the message, and sequence of the edit (of the message, for its first words).
    pub versions: BTreeMap<(RoomId, u64, u64), Version>,
    pub threads: BTreeMap<(RoomId, u64), Thread>,
    /// The sequence of the reaction; `None` where it was taken back.
    pub reactions: BTreeMap<(RoomId, u64, Emoji, UserId), Option<u64>>,
    /// How many there are now.
    pub reaction_counts: BTreeMap<(RoomId, u64, Emoji), u64>,
    /// `None` for what is no longer pinned.
    pub pins: BTreeMap<(RoomId, u64), Option<Pin>>,
    pub kept: Kept,
    pub people: BTreeMap<UserId, Person>,
    pub profiles: BTreeMap<UserId, Profile>,
    /// When they closed their accounts.
    pub deactivated: BTreeMap<UserId, String>,
    pub parked: Vec<Parked>,
    pub notices: Vec<Notice>,
}

/// Folds a batch, in the order of its stream. `known` holds the rows of the batch's [`Keys`].
pub fn fold(batch: &[Entry], known: Known) -> Changes {
    let mut fold = Fold::new(known);
    for entry in batch {
        fold.push(entry);
    }
    fold.changes
}

/// A batch that is being folded.
pub struct Fold {
    known: Known,
    /// Where in `changes.posted` a message of this batch stands.
    posted: HashMap<(RoomId, MessageId), usize>,
    pub changes: Changes,
}

impl Fold {
    /// `known` holds the rows of the batch's [`Keys`].
    pub fn new(known: Known) -> Self {
        Self { known, posted: HashMap::new(), changes: Changes::default() }
    }

    /// Takes the batch's next event.
    pub fn push(&mut self, entry: &Entry) {
        match (entry.room(), entry.fact.clone()) {
            (Some(room), Ok(Fact::Room(event))) => self.room(room, &event, entry),
            (Some(room), Ok(Fact::Message(event))) => self.message(room, event, entry),
            (_, Ok(Fact::User(event))) => self.user(event, entry),
            (room, Err(error)) => {
                self.park(entry, error);
                if let Some(room) = room {
                    self.touch(room, entry, |_| {});
                }
            }
            (None, Ok(Fact::Room(_) | Fact::Message(_))) => {
                self.park(entry, "an event of a room without a room".into());
            }
        }
    }

    fn park(&mut self, entry: &Entry, error: String) {
        let subject = entry.subject.map(|s| s.to_string()).unwrap_or_default();
        self.changes.parked.push(Parked { seq: entry.seq, subject, error });
    }

    /// Every event of a room moves its head; a room that was never created has none.
    fn touch(&mut self, room: RoomId, entry: &Entry, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.known.rooms.get_mut(&room) {
            counts.head = entry.seq;
            change(counts);
            self.changes.counts.insert(room, *counts);
        }
    }
}
