//! What people keep for themselves. Whoever is meant by a room or a message is looked at when it is read, not here: those
//! stand in other streams.

use std::collections::BTreeMap;

use natterjack_domain::{
    MessageId, RoomId, ScheduleId, UserId,
    user::{
        DoNotDisturb, Event, NotifyLevel, Shift,
        schedule::{self, Plan, Stage},
    },
};

use super::{Fold, Mark};
use crate::entry::Entry;

/// What a batch makes of what people keep. What has no part in a fold of its own is what was said last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub marks: BTreeMap<(UserId, RoomId), Shift>,
    pub delivered: BTreeMap<(UserId, RoomId), u64>,
    pub thread_marks: BTreeMap<(UserId, RoomId, MessageId), u64>,
    pub thread_follows: BTreeMap<(UserId, RoomId, MessageId), bool>,
    /// In a thread, or in the room under the nil id, which is no message's. `None` for a draft that is none any more.
    pub drafts: BTreeMap<(UserId, RoomId, MessageId), Option<Draft>>,
    /// `None` for a message that is no longer saved.
    pub saved: BTreeMap<(UserId, MessageId), Option<Saved>>,
    pub notify: BTreeMap<(UserId, RoomId), NotifyLevel>,
    pub quiet: BTreeMap<UserId, DoNotDisturb>,
    pub schedules: BTreeMap<(UserId, ScheduleId), Scheduled>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub body: String,
    pub saved: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub room: RoomId,
    pub saved: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// `None` where it stays as it was.
    pub plan: Option<Plan>,
    pub stage: Stage,
}

impl Fold {
    pub(super) fn kept(&mut self, event: Event, entry: &Entry) {
        let kept = &mut self.changes.kept;
        let mark = || Mark { seq: entry.seq, at: entry.ts.clone() };
        match event {
            Event::Registered { .. } | Event::ProfileChanged { .. } | Event::Deactivated { .. } => {}
            Event::Read { id, room, seq } => kept.marks.entry((id, room)).or_default().read(seq),
            Event::MarkedUnread { id, room, seq } => {
                kept.marks.entry((id, room)).or_default().mark_unread(seq);
            }
            Event::Delivered { id, room, seq } => {
                let delivered = kept.delivered.entry((id, room)).or_default();
                *delivered = (*delivered).max(seq);
            }
            Event::ThreadRead { id, room, thread, seq } => {
                let read = kept.thread_marks.entry((id, room, thread)).or_default();
                *read = (*read).max(seq);
            }
            Event::ThreadFollowed { id, room, thread, on } => {
                kept.thread_follows.insert((id, room, thread), on);
            }
            Event::DraftSaved { id, room, thread, body } => {
                let draft = body.map(|body| Draft { body: body.into(), saved: mark() });
                kept.drafts.insert((id, room, thread.unwrap_or(MessageId::NONE)), draft);
            }
            Event::MessageSaved { id, room, mid, on } => {
                kept.saved.insert((id, mid), on.then(|| Saved { room, saved: mark() }));
            }
            Event::NotifyChanged { id, room, level } => {
                kept.notify.insert((id, room), level);
            }
            Event::DndChanged { id, dnd } => {
                kept.quiet.insert(id, dnd);
            }
            Event::Schedule { id, sid, event } => self.scheduled((id, sid), event),
        }
    }

    fn scheduled(&mut self, key: (UserId, ScheduleId), event: schedule::Event) {
        let known = self.known.schedules.get(&key).copied();
        let Some(stage) = Stage::after(known, &event) else { return };
        self.known.schedules.insert(key, stage);
        let row = self.changes.kept.schedules.entry(key).or_insert(Scheduled { plan: None, stage });
        row.stage = stage;
        if let schedule::Event::Scheduled { plan } = event {
            row.plan = Some(plan);
        }
    }
}
