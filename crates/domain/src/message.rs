//! A message: its author may edit it and recall it, moderators delete it, members react to it and pin it.

mod content;
mod emoji;
mod reactions;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    content::{
        Forwarded, InvalidMeta, MENTIONS_MAX, META_MAX_BYTES, META_MAX_DEPTH, Mentions, Meta, TooManyMentions,
    },
    emoji::{EMOJI_MAX_BYTES, Emoji, InvalidEmoji},
    reactions::{REACTIONS_MAX, Reactions},
};
use crate::{
    attachment::Attachment,
    ids::{ClientId, MessageId, UserId},
    values::{MessageBody, Reason},
};

/// Most pinned messages of a room.
pub const PINS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Posted(Posted),
    /// Says all anew: mentions and meta that it does not repeat are gone.
    Edited {
        id: MessageId,
        by: UserId,
        body: MessageBody,
        mentions: Mentions,
        meta: Option<Meta>,
    },
    /// By its author.
    Recalled {
        id: MessageId,
        by: UserId,
    },
    /// By a moderator.
    Deleted {
        id: MessageId,
        by: UserId,
        reason: Option<Reason>,
    },
    Reacted {
        id: MessageId,
        by: UserId,
        emoji: Emoji,
        on: bool,
    },
    Pinned {
        id: MessageId,
        by: UserId,
    },
    Unpinned {
        id: MessageId,
        by: UserId,
    },
}

/// A message as it is sent. Without words only where it bears something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub id: MessageId,
    pub by: UserId,
    pub cid: ClientId,
    pub body: MessageBody,
    pub reply_to: Option<MessageId>,
    /// The message that began the thread in which this is a reply.
    pub thread: Option<MessageId>,
    pub mentions: Mentions,
    pub meta: Option<Meta>,
    pub forwarded: Option<Forwarded>,
    pub attachments: Vec<Attachment>,
}

impl Posted {
    /// A message of nothing but words.
    pub fn plain(id: MessageId, by: UserId, cid: ClientId, body: MessageBody) -> Self {
        Self {
            id,
            by,
            cid,
            body,
            reply_to: None,
            thread: None,
            mentions: Mentions::default(),
            meta: None,
            forwarded: None,
            attachments: vec![],
        }
    }
}

impl Event {
    /// The message that it is about, and who did it.
    pub fn about(&self) -> (MessageId, UserId) {
        match self {
            Self::Posted(posted) => (posted.id, posted.by),
            Self::Edited { id, by, .. }
            | Self::Recalled { id, by }
            | Self::Deleted { id, by, .. }
            | Self::Reacted { id, by, .. }
            | Self::Pinned { id, by }
            | Self::Unpinned { id, by } => (*id, *by),
        }
    }
}

/// What the rules need to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub author: UserId,
    pub thread: Option<MessageId>,
    /// Recalled or deleted.
    pub gone: bool,
    pub pinned: bool,
    pub reactions: Reactions,
}

/// What counts besides the message itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around {
    /// Since the log stored the message.
    pub age: Duration,
    /// For how long a message can be recalled; `None`: for ever.
    pub recall_window: Option<Duration>,
    /// Pinned messages of the room.
    pub pins: usize,
}

/// Who may do it at all is the room's business: [`crate::permission`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Edit { by: UserId, body: MessageBody, mentions: Mentions, meta: Option<Meta> },
    Recall { by: UserId },
    Delete { by: UserId, reason: Option<Reason> },
    React { by: UserId, emoji: Emoji, on: bool },
    Pin { by: UserId, on: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("only its author may change a message")]
    NotAuthor,
    #[error("the message was recalled or deleted")]
    Gone,
    #[error("a message can be recalled for {} s", .window.as_secs())]
    TooLate { window: Duration },
    #[error("the message has its {REACTIONS_MAX} different reactions already")]
    TooManyReactions,
    #[error("the room has its {PINS_MAX} pinned messages already")]
    TooManyPins,
}

impl Message {
    pub fn new(posted: &Posted) -> Self {
        Self {
            id: posted.id,
            author: posted.by,
            thread: posted.thread,
            gone: false,
            pinned: false,
            reactions: Reactions::default(),
        }
    }

    /// What `command` changes. Doing again what was done changes nothing and is no error.
    pub fn decide(&self, command: Command, around: &Around) -> Result<Option<Event>, Rejection> {
        let id = self.id;
        let event = match command {
            Command::Edit { by, .. } | Command::Recall { by } if by != self.author => {
                return Err(Rejection::NotAuthor);
            }
            Command::Recall { .. }
            | Command::Delete { .. }
            | Command::Pin { on: false, .. }
            | Command::React { on: false, .. }
                if self.gone =>
            {
                return Ok(None);
            }
            _ if self.gone => return Err(Rejection::Gone),
            Command::Recall { by } => match around.recall_window {
                Some(window) if around.age > window => return Err(Rejection::TooLate { window }),
                _ => Event::Recalled { id, by },
            },
            Command::Edit { by, body, mentions, meta } => Event::Edited { id, by, body, mentions, meta },
            Command::Delete { by, reason } => Event::Deleted { id, by, reason },
            Command::React { by, emoji, on } => {
                if !self.reactions.check(by, &emoji, on)? {
                    return Ok(None);
                }
                Event::Reacted { id, by, emoji, on }
            }
            Command::Pin { on, .. } if on == self.pinned => return Ok(None),
            Command::Pin { on: true, .. } if around.pins >= PINS_MAX => return Err(Rejection::TooManyPins),
            Command::Pin { by, on: true } => Event::Pinned { id, by },
            Command::Pin { by, on: false } => Event::Unpinned { id, by },
        };
        Ok(Some(event))
    }

    /// Folds what the log holds of a message; `false` when it does not count: two requests may have been decided at
    /// once, and the log's order says which came too late. `pins` are those of the room.
    pub fn apply(&mut self, event: &Event, pins: &mut usize) -> bool {
        if self.gone {
            return false;
        }
        match event {
            Event::Posted(_) => false,
            Event::Edited { by, .. } => *by == self.author,
            Event::Recalled { by, .. } if *by != self.author => false,
            Event::Recalled { .. } | Event::Deleted { .. } => {
                self.gone = true;
                self.reactions = Reactions::default();
                self.pin(false, pins);
                true
            }
            Event::Reacted { by, emoji, on, .. } => self.reactions.apply(*by, emoji, *on),
            Event::Pinned { .. } => *pins < PINS_MAX && self.pin(true, pins),
            Event::Unpinned { .. } => self.pin(false, pins),
        }
    }

    fn pin(&mut self, on: bool, pins: &mut usize) -> bool {
        let changes = self.pinned != on;
        if changes {
            self.pinned = on;
            *pins = if on { *pins + 1 } else { pins.saturating_sub(1) };
        }
        changes
    }
}
