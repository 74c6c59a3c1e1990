//! What is said.

use natterjack_domain::{
    ClientId, MessageId, RoomId, UserId,
    message::{self, Message},
};

use super::{Fold, KnownMessage, Mark};
use crate::entry::Entry;

#[derive(Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub room: RoomId,
    pub mid: MessageId,
    pub author: UserId,
    pub cid: ClientId,
    pub ordinal: u64,
    pub reply_to: Option<MessageId>,
    pub posted: Mark,
    pub content: Content,
}

/// What a message says now. For one that was stored before, what changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `None` once recalled.
    pub body: Option<String>,
    pub edited: Option<Mark>,
    pub recalled: Option<Mark>,
}

impl Fold {
    pub(super) fn message(&mut self, room: RoomId, event: message::Event, entry: &Entry) {
        self.touch(room, entry, |_| {});
        if !self.known.rooms.contains_key(&room) {
            return;
        }
        match event {
            message::Event::Posted { id, by, cid, body, reply_to } => {
                // The first of equal ids wins: a repeat within or beyond the log's dedupe window.
                if self.known.messages.contains_key(&(room, id)) {
                    return;
                }
                let rules = Message { id, author: by, recalled: false };
                self.known.messages.insert((room, id), KnownMessage { seq: entry.seq, rules });
                let mut ordinal = 0;
                self.touch(room, entry, |counts| {
                    counts.last_ordinal += 1;
                    ordinal = counts.last_ordinal;
                });
                self.posted.insert((room, id), self.changes.posted.len());
                let posted = Mark { seq: entry.seq, at: entry.ts.clone() };
                let content = Content { body: Some(body.into()), ..Content::default() };
                let message =
                    NewMessage { room, mid: id, author: by, cid, ordinal, reply_to, posted, content };
                self.changes.posted.push(message);
            }
            message::Event::Edited { id, .. } | message::Event::Recalled { id, .. } => {
                self.change(room, id, event, entry);
            }
        }
    }

    fn change(&mut self, room: RoomId, mid: MessageId, event: message::Event, entry: &Entry) {
        let Some(known) = self.known.messages.get_mut(&(room, mid)) else { return };
        if !known.rules.apply(&event) {
            return;
        }
        let content = match self.posted.get(&(room, mid)) {
            Some(index) => &mut self.changes.posted[*index].content,
            None => self.changes.edited.entry((room, known.seq)).or_default(),
        };
        let mark = Some(Mark { seq: entry.seq, at: entry.ts.clone() });
        if let message::Event::Edited { body, .. } = event {
            (content.body, content.edited) = (Some(body.into()), mark);
        } else {
            (content.body, content.recalled) = (None, mark);
        }
    }
}
