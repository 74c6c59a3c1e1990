//! A message that is to be sent later.
//!
//! The feed's order decides between who cancels it and who sends it: once it has *begun*, it is sent or fails, and
//! nothing else counts.

use crate::{
    ids::{ClientId, MessageId, RoomId, ScheduleId, UserId},
    message::Mentions,
    values::MessageBody,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Made, or changed before it has begun.
    Scheduled {
        plan: Plan,
    },
    /// Its time has come: somebody is sending it.
    Begun,
    Cancelled,
    /// The message stands at `seq` of the room's stream.
    Sent {
        seq: u64,
    },
    /// The person might not send it when its time came; `code` is the error's.
    Failed {
        code: u16,
    },
}

/// What is to be sent, where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub room: RoomId,
    /// Milliseconds since 1970.
    pub at: u64,
    pub body: MessageBody,
    pub reply_to: Option<MessageId>,
    pub thread: Option<MessageId>,
    pub mentions: Mentions,
}

/// How far a schedule has come. The order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Pending,
    Begun,
    Cancelled,
    Sent { seq: u64 },
    Failed { code: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Change { plan: Plan },
    Cancel,
    Begin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such message to be sent later")]
    NotFound,
    #[error("the message is being sent, or was")]
    Begun,
}

impl ScheduleId {
    /// What the message is called by who sends it, so that sending it twice is one message.
    pub fn cid(self) -> ClientId {
        ClientId::from_uuid(self.into())
    }
}

impl Stage {
    /// What `command` changes. Cancelling twice changes nothing and is no error; what has failed is cancelled to have
    /// done with it.
    pub fn decide(stage: Option<Self>, command: Command) -> Result<Option<Event>, Rejection> {
        let stage = stage.ok_or(Rejection::NotFound)?;
        match (stage, command) {
            (Self::Pending, Command::Change { plan }) => Ok(Some(Event::Scheduled { plan })),
            (Self::Pending | Self::Failed { .. }, Command::Cancel) => Ok(Some(Event::Cancelled)),
            (Self::Pending, Command::Begin) => Ok(Some(Event::Begun)),
            (Self::Cancelled, Command::Cancel) => Ok(None),
            (Self::Cancelled, _) => Err(Rejection::NotFound),
            (Self::Begun | Self::Sent { .. } | Self::Failed { .. }, _) => Err(Rejection::Begun),
        }
    }

    /// The stage after `event`; none where it does not count.
    pub fn after(stage: Option<Self>, event: &Event) -> Option<Self> {
        match (stage, event) {
            (None | Some(Self::Pending), Event::Scheduled { .. }) => Some(Self::Pending),
            (Some(Self::Pending), Event::Begun) => Some(Self::Begun),
            (Some(Self::Pending | Self::Failed { .. }), Event::Cancelled) => Some(Self::Cancelled),
            (Some(Self::Pending | Self::Begun), Event::Sent { seq }) => Some(Self::Sent { seq: *seq }),
            (Some(Self::Pending | Self::Begun), Event::Failed { code }) => Some(Self::Failed { code: *code }),
            (
                _,
                Event::Scheduled { .. }
                | Event::Begun
                | Event::Cancelled
                | Event::Sent { .. }
                | Event::Failed { .. },
            ) => None,
        }
    }
}

/// The message that `author` sends by the schedule.
pub fn message_id(room: RoomId, author: UserId, sid: ScheduleId) -> MessageId {
    MessageId::derive(room, author, sid.cid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduled() -> Event {
        let body = MessageBody::parse("later", 10).unwrap();
        Event::Scheduled {
            plan: Plan {
                room: RoomId::random(),
                at: 7,
                body,
                reply_to: None,
                thread: None,
                mentions: Mentions::default(),
            },
        }
    }

    #[test]
    fn what_has_begun_is_sent_or_fails_and_nothing_follows_an_end() {
        let stage =
            |events: &[Event]| events.iter().fold(None, |stage, event| Stage::after(stage, event).or(stage));
        let (made, begun, cancelled) = (scheduled(), Event::Begun, Event::Cancelled);
        let (sent, failed) = (Event::Sent { seq: 5 }, Event::Failed { code: 3002 });
        let cases: &[(&[Event], Option<Stage>)] = &[
            (&[], None),
            (&[cancelled.clone(), cancelled.clone()], None),
            (&[begun.clone(), made.clone()], Some(Stage::Pending)),
            (&[made.clone(), made.clone()], Some(Stage::Pending)),
            (&[made.clone(), begun.clone(), cancelled.clone()], Some(Stage::Begun)),
            (&[made.clone(), begun.clone(), made.clone()], Some(Stage::Begun)),
            (&[made.clone(), cancelled.clone(), begun.clone(), sent.clone()], Some(Stage::Cancelled)),
            (&[made.clone(), cancelled.clone(), made.clone()], Some(Stage::Cancelled)),
            (&[made.clone(), begun.clone(), sent.clone(), failed.clone()], Some(Stage::Sent { seq: 5 })),
            (&[made.clone(), begun.clone(), failed.clone(), sent], Some(Stage::Failed { code: 3002 })),
            (&[made, begun, failed, cancelled], Some(Stage::Cancelled)),
        ];
        for (events, expected) in cases {
            assert_eq!(stage(events), *expected, "{events:?}");
        }
    }

    #[test]
    fn only_what_is_pending_is_changed_cancelled_or_begun() {
        let Event::Scheduled { plan } = scheduled() else { unreachable!() };
        let commands = [Command::Change { plan: plan.clone() }, Command::Cancel, Command::Begin];
        let pending = commands.clone().map(|command| Stage::decide(Some(Stage::Pending), command));
        assert_eq!(
            pending,
            [Ok(Some(Event::Scheduled { plan })), Ok(Some(Event::Cancelled)), Ok(Some(Event::Begun))]
        );
        for command in commands {
            let decide = |stage| Stage::decide(stage, command.clone());
            let gone = if command == Command::Cancel { Ok(None) } else { Err(Rejection::NotFound) };
            assert_eq!(decide(None), Err(Rejection::NotFound));
            assert_eq!(decide(Some(Stage::Cancelled)), gone);
            for stage in [Stage::Begun, Stage::Sent { seq: 1 }] {
                assert_eq!(decide(Some(stage)), Err(Rejection::Begun));
            }
            let done =
                if command == Command::Cancel { Ok(Some(Event::Cancelled)) } else { Err(Rejection::Begun) };
            assert_eq!(decide(Some(Stage::Failed { code: 1 })), done);
        }
    }
}
