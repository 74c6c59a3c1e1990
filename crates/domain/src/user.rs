//! What a person says of oneself and keeps: how far they have read, what they follow, drafts, saved messages, what is to be sent later.
//!
//! All of it stands on the person's own feed and is folded in the feed's order, whichever device said it.

pub mod quiet;
pub mod reading;
pub mod schedule;

use crate::{
    ids::{MessageId, RoomId, ScheduleId, UserId},
    profile::Profile,
    values::MessageBody,
};

pub use self::{
    quiet::{DoNotDisturb, NotifyLevel},
    reading::{Marks, Shift},
};

/// A fact of the person `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Registered {
        id: UserId,
        username: String,
    },
    /// All of the profile as it is from now on.
    ProfileChanged {
        id: UserId,
        profile: Profile,
    },
    /// The person has closed the account.
    Deactivated {
        id: UserId,
    },
    /// The person has read `room` up to and with the event `seq` of the room's stream.
    Read {
        id: UserId,
        room: RoomId,
        seq: u64,
    },
    /// What follows `seq` is unread again.
    MarkedUnread {
        id: UserId,
        room: RoomId,
        seq: u64,
    },
    /// The thread under the message `thread` is read up to `seq`.
    ThreadRead {
        id: UserId,
        room: RoomId,
        thread: MessageId,
        seq: u64,
    },
    ThreadFollowed {
        id: UserId,
        room: RoomId,
        thread: MessageId,
        on: bool,
    },
    /// What the room holds up to `seq` has reached one of the person's devices.
    Delivered {
        id: UserId,
        room: RoomId,
        seq: u64,
    },
    /// Without a body there is no draft any more.
    DraftSaved {
        id: UserId,
        room: RoomId,
        thread: Option<MessageId>,
        body: Option<MessageBody>,
    },
    MessageSaved {
        id: UserId,
        room: RoomId,
        mid: MessageId,
        on: bool,
    },
    NotifyChanged {
        id: UserId,
        room: RoomId,
        level: NotifyLevel,
    },
    DndChanged {
        id: UserId,
        dnd: DoNotDisturb,
    },
    Schedule {
        id: UserId,
        sid: ScheduleId,
        event: schedule::Event,
    },
}

impl Event {
    /// Whose fact it is.
    pub const fn user(&self) -> UserId {
        match self {
            Self::Registered { id, .. }
            | Self::ProfileChanged { id, .. }
            | Self::Deactivated { id }
            | Self::Read { id, .. }
            | Self::MarkedUnread { id, .. }
            | Self::ThreadRead { id, .. }
            | Self::ThreadFollowed { id, .. }
            | Self::Delivered { id, .. }
            | Self::DraftSaved { id, .. }
            | Self::MessageSaved { id, .. }
            | Self::NotifyChanged { id, .. }
            | Self::DndChanged { id, .. }
            | Self::Schedule { id, .. } => *id,
        }
    }
}
