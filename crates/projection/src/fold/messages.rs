//! What is said.

use natterjack_domain::{
    ClientId, MessageBody, MessageId, Reason, RoomId, UserId,
    message::{self, Emoji, Mentions, Message, Meta, Posted},
};

use super::{Fold, KnownMessage, Mark};
use crate::entry::Entry;

/// People whom the summary of a thread names.
const PARTICIPANTS_MAX: usize = 5;

#[derive(Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub room: RoomId,
    pub mid: MessageId,
    pub author: UserId,
    pub cid: ClientId,
    pub ordinal: u64,
    pub all_mentions: u64,
    pub reply_to: Option<MessageId>,
    pub thread: Option<Place>,
    pub posted: Mark,
    pub content: Content,
    /// JSON; none once the message is gone.
    pub forwarded: Option<String>,
    pub attachments: Option<String>,
}

/// Where a reply stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The message that began the thread.
    pub root: MessageId,
    pub ordinal: u64,
}

/// What a message says now. For one that was stored before, what changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `None` once gone.
    pub says: Option<Says>,
    pub edited: Option<Mark>,
    pub gone: Option<Gone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Says {
    pub body: String,
    /// JSON.
    pub mentions: Option<String>,
    pub meta: Option<String>,
}

/// It was recalled, or deleted by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub mark: Mark,
    pub deleted_by: Option<UserId>,
    pub reason: Option<String>,
}

/// What a message said from `since` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub since_at: String,
    pub says: Says,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thread {
    pub replies: u64,
    pub last: Mark,
    pub participants: Vec<UserId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub by: UserId,
    pub mark: Mark,
}

/// The people whom a message names, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub thread: Option<MessageId>,
    pub users: Vec<UserId>,
}

impl Says {
    fn new(body: MessageBody, mentions: &Mentions, meta: Option<&Meta>) -> Self {
        let mentions = (!mentions.is_empty()).then(|| json(mentions));
        Self { body: body.into(), mentions, meta: meta.map(Meta::to_json) }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("it was JSON before")
}

impl Fold {
    pub(super) fn message(&mut self, room: RoomId, event: message::Event, entry: &Entry) {
        self.touch(room, entry, |_| {});
        if !self.known.rooms.contains_key(&room) {
            return;
        }
        match event {
            message::Event::Posted(posted) => self.posted(room, posted, entry),
            event => self.change(room, event, entry),
        }
    }

    fn posted(&mut self, room: RoomId, posted: Posted, entry: &Entry) {
        // The first of equal ids wins: a repeat within or beyond the log's dedupe window.
        if self.known.messages.contains_key(&(room, posted.id)) {
            return;
        }
        let mark = mark(entry);
        let thread = match posted.thread {
            None => None,
            Some(first) => match self.reply(room, first, posted.by, &mark) {
                Some(ordinal) => Some(Place { root: first, ordinal }),
                // To a message that is not there, or stands in a thread itself: no front lets it pass.
                None => return,
            },
        };
        let rules = Message::new(&posted);
        self.known.messages.insert((room, posted.id), KnownMessage { seq: entry.seq, rules });
        let (mut ordinal, mut all_mentions) = (0, 0);
        self.touch(room, entry, |counts| {
            if thread.is_none() {
                counts.last_ordinal += 1;
                counts.all_mentions += u64::from(posted.mentions.is_for_many());
            }
            (ordinal, all_mentions) = (counts.last_ordinal, counts.all_mentions);
        });
        self.posted.insert((room, posted.id), self.changes.posted.len());
        let Posted { id: mid, by: author, cid, reply_to, mentions, .. } = posted;
        let says = Says::new(posted.body, &mentions, posted.meta.as_ref());
        if !mentions.users.is_empty() {
            let named = Named { thread: posted.thread, users: mentions.users };
            self.changes.named.insert((room, entry.seq), named);
        }
        self.changes.posted.push(NewMessage {
            room,
            mid,
            author,
            cid,
            ordinal,
            all_mentions,
            reply_to,
            thread,
            posted: mark,
            content: Content { says: Some(says), ..Content::default() },
            forwarded: posted.forwarded.as_ref().map(json),
            attachments: (!posted.attachments.is_empty()).then(|| json(&posted.attachments)),
        });
    }

    /// Counts a reply; gives which one it is.
    fn reply(&mut self, room: RoomId, first: MessageId, by: UserId, mark: &Mark) -> Option<u64> {
        let first = self.known.messages.get(&(room, first)).filter(|first| first.rules.thread.is_none())?;
        let thread = self.known.threads.entry((room, first.seq)).or_default();
        thread.replies += 1;
        thread.last = mark.clone();
        if thread.participants.len() < PARTICIPANTS_MAX && !thread.participants.contains(&by) {
            thread.participants.push(by);
        }
        self.changes.threads.insert((room, first.seq), thread.clone());
        Some(thread.replies)
    }

    fn change(&mut self, room: RoomId, event: message::Event, entry: &Entry) {
        let (mid, by) = event.about();
        let Some(known) = self.known.messages.get_mut(&(room, mid)) else { return };
        let pins = self.known.pins.entry(room).or_default();
        if !known.rules.apply(&event, pins) {
            return;
        }
        let (key, thread) = ((room, known.seq), known.rules.thread);
        match event {
            // Never of one that is known.
            message::Event::Posted(_) => {}
            message::Event::Edited { body, mentions, meta, .. } => {
                let says = Says::new(body, &mentions, meta.as_ref());
                self.changes.named.insert(key, Named { thread, users: mentions.users });
                self.edited(key, mid, says, entry);
            }
            message::Event::Recalled { .. } => self.gone(key, mid, None, None, entry),
            message::Event::Deleted { reason, .. } => self.gone(key, mid, Some(by), reason, entry),
            message::Event::Reacted { emoji, on, .. } => {
                let count = known.rules.reactions.count(&emoji);
                self.reacted(key, by, emoji, on.then_some(entry.seq), count);
            }
            message::Event::Pinned { .. } => {
                self.changes.pins.insert(key, Some(Pin { by, mark: mark(entry) }));
            }
            message::Event::Unpinned { .. } => {
                self.changes.pins.insert(key, None);
            }
        }
    }

    fn edited(&mut self, key: (RoomId, u64), mid: MessageId, says: Says, entry: &Entry) {
        let versions = &mut self.changes.versions;
        let content = match self.posted.get(&(key.0, mid)) {
            None => self.changes.edited.entry(key).or_default(),
            Some(index) => {
                let message = &mut self.changes.posted[*index];
                // Of a message that was stored before, the first version is made where it is written.
                if let (None, Some(says)) = (&message.content.edited, &message.content.says) {
                    let first = Version { since_at: message.posted.at.clone(), says: says.clone() };
                    versions.insert((key.0, key.1, key.1), first);
                }
                &mut message.content
            }
        };
        let version = Version { since_at: entry.ts.clone(), says: says.clone() };
        versions.insert((key.0, key.1, entry.seq), version);
        (content.says, content.edited) = (Some(says), Some(mark(entry)));
    }

    /// Nothing is left of what it said, and of what was done to it.
    fn gone(
        &mut self,
        key: (RoomId, u64),
        mid: MessageId,
        deleted_by: Option<UserId>,
        reason: Option<Reason>,
        entry: &Entry,
    ) {
        let changes = &mut self.changes;
        let content = if let Some(index) = self.posted.get(&(key.0, mid)) {
            let message = &mut changes.posted[*index];
            (message.forwarded, message.attachments) = (None, None);
            &mut message.content
        } else {
            changes.cleared.insert(key);
            changes.edited.entry(key).or_default()
        };
        content.says = None;
        content.gone = Some(Gone { mark: mark(entry), deleted_by, reason: reason.map(String::from) });
        changes.named.remove(&key);
        changes.pins.remove(&key);
        changes.reactions.retain(|(room, seq, ..), _| (*room, *seq) != key);
        changes.reaction_counts.retain(|(room, seq, _), _| (*room, *seq) != key);
        changes.versions.retain(|(room, seq, _), _| (*room, *seq) != key);
    }

    fn reacted(&mut self, (room, seq): (RoomId, u64), by: UserId, emoji: Emoji, on: Option<u64>, count: u64) {
        self.changes.reactions.insert((room, seq, emoji.clone(), by), on);
        self.changes.reaction_counts.insert((room, seq, emoji), count);
    }
}

fn mark(entry: &Entry) -> Mark {
    Mark { seq: entry.seq, at: entry.ts.clone() }
}
