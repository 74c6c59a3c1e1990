//! What a topic's task is asked to do.

use std::sync::Arc;

use bytes::Bytes;
use natterjack_domain::{MessageId, RoomId, UserId, room::Rejection};
use natterjack_eventlog::{Heads, Topic};
use natterjack_wire::{
    ServerFrame,
    frame::{Reply, ResetReason, Welcome},
};
use tokio::sync::oneshot;

use super::tail::{Reach, Recent};
use crate::ws::{encode, outbox::Outbox};

/// Names a connection within this process.
pub type ConnId = u64;

/// A connection that gets a topic's events.
#[derive(Clone)]
pub struct Member {
    pub conn: ConnId,
    pub user: UserId,
    pub outbox: Arc<Outbox>,
}

pub enum Command {
    Attach(Box<Attach>),
    Detach {
        conn: ConnId,
    },
    /// These were the log's heads when it was asked over this connection: has anything been missed?
    Check {
        heads: Heads,
        connection: u64,
    },
    /// What does the tail know of this message?
    Find {
        mid: MessageId,
        found: oneshot::Sender<Recent>,
    },
    /// How far back does the tail go?
    Reach(oneshot::Sender<Reach>),
    /// Have the tail reach back to `after`, and say whether it does; see [`super::tail::Tail::extend_back`].
    ExtendBack {
        after: u64,
        older: Vec<(u64, Bytes)>,
        extended: oneshot::Sender<bool>,
    },
    /// Read from the log what may be missing, then say so.
    Refresh(oneshot::Sender<()>),
    /// Tell the members to start anew, and end.
    Abandon(ResetReason),
}

/// Asks for a topic's events after `after`, or from now on.
pub struct Attach {
    pub member: Member,
    pub after: Option<u64>,
    /// Frames that precede those after `after`, read from the store.
    pub replayed: Vec<Bytes>,
    /// Most events that are sent again.
    pub limit: usize,
    /// Whether everything that the client missed is sent; unset when it did not ask.
    pub recovered: Option<bool>,
    pub answer: Answer,
    pub done: oneshot::Sender<Attached>,
}

/// The frame that precedes the events.
pub enum Answer {
    Sub {
        id: u64,
    },
    Welcome(Box<Welcome>),
    /// None: the connection was attached before and fell behind.
    CatchUp,
    /// The connection was attached before, and starts anew.
    Reset(ResetReason),
}

pub enum Attached {
    Live,
    /// The tail does not reach back so far: read on in the store and ask again.
    Behind(Box<Attach>),
    /// Not allowed here.
    Refused(Rejection),
    /// Something was found late that a connection which fell behind has missed: it starts anew.
    Outdated,
}

/// The frame that an attached connection gets first.
pub(super) fn answer(attach: &Attach, topic: Topic, epoch: &str, head: u64) -> Option<Bytes> {
    let frame = match &attach.answer {
        Answer::CatchUp => return None,
        Answer::Sub { id } => ServerFrame::Ok(Reply {
            id: *id,
            room: room_of(topic),
            epoch: Some(epoch.to_owned()),
            head: Some(head),
            recovered: attach.recovered,
            ..Reply::default()
        }),
        Answer::Reset(reason) => {
            let room = room_of(topic);
            ServerFrame::Reset { room, epoch: epoch.to_owned(), reason: *reason }
        }
        Answer::Welcome(welcome) => {
            let mut welcome = (**welcome).clone();
            epoch.clone_into(&mut welcome.epoch);
            welcome.seq = head;
            welcome.recovered = attach.recovered == Some(true);
            ServerFrame::Welcome(welcome)
        }
    };
    Some(encode::frame(&frame))
}

fn room_of(topic: Topic) -> Option<RoomId> {
    match topic {
        Topic::Room(room) => Some(room),
        Topic::User(_) => None,
    }
}
