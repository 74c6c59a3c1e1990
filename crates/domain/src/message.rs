//! A message: its author may edit it and recall it.

use crate::{
    ids::{ClientId, MessageId, UserId},
    values::MessageBody,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Posted { id: MessageId, by: UserId, cid: ClientId, body: MessageBody, reply_to: Option<MessageId> },
    Edited { id: MessageId, by: UserId, body: MessageBody },
    Recalled { id: MessageId, by: UserId },
}

/// What the rules need to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub author: UserId,
    pub recalled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Edit { by: UserId, body: MessageBody },
    Recall { by: UserId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("only its author may change a message")]
    NotAuthor,
    #[error("the message was recalled")]
    Recalled,
}

impl Message {
    /// What `command` changes. Recalling twice changes nothing and is no error.
    pub fn decide(&self, command: Command) -> Result<Option<Event>, Rejection> {
        let by = match &command {
            Command::Edit { by, .. } | Command::Recall { by } => *by,
        };
        if by != self.author {
            return Err(Rejection::NotAuthor);
        }
        match command {
            Command::Edit { .. } if self.recalled => Err(Rejection::Recalled),
            Command::Edit { body, .. } => Ok(Some(Event::Edited { id: self.id, by, body })),
            Command::Recall { .. } if self.recalled => Ok(None),
            Command::Recall { .. } => Ok(Some(Event::Recalled { id: self.id, by })),
        }
    }

    /// Folds an edit or a recall that the log holds; `false` when it does not count: two requests may have
    /// been decided at once, and the log's order says which came too late.
    pub fn apply(&mut self, event: &Event) -> bool {
        let (by, recalls) = match event {
            Event::Posted { .. } => return false,
            Event::Edited { by, .. } => (by, false),
            Event::Recalled { by, .. } => (by, true),
        };
        let counts = *by == self.author && !self.recalled;
        self.recalled |= counts && recalls;
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_author_changes_a_message_and_nobody_a_recalled_one() {
        let (author, other, id) = (UserId::random(), UserId::random(), MessageId::random());
        let body = MessageBody::parse("new", 10).unwrap();
        let edit = |by| Command::Edit { by, body: body.clone() };
        let live = Message { id, author, recalled: false };
        let gone = Message { recalled: true, ..live };
        let edited = Event::Edited { id, by: author, body: body.clone() };
        let recalled = Event::Recalled { id, by: author };
        assert_eq!(live.decide(edit(author)), Ok(Some(edited.clone())));
        assert_eq!(live.decide(edit(other)), Err(Rejection::NotAuthor));
        assert_eq!(live.decide(Command::Recall { by: other }), Err(Rejection::NotAuthor));
        assert_eq!(live.decide(Command::Recall { by: author }), Ok(Some(recalled.clone())));
        assert_eq!(gone.decide(edit(author)), Err(Rejection::Recalled));
        assert_eq!(gone.decide(Command::Recall { by: author }), Ok(None));

        let mut folded = live;
        assert!(!folded.apply(&Event::Recalled { id, by: other }));
        assert!(folded.apply(&edited));
        assert!(folded.apply(&recalled));
        assert!(!folded.apply(&edited));
        assert_eq!(folded, gone);
    }
}
