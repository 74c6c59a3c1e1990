//! Telling those who have a room open how far others have read it: not stored, joined for a moment, and only in rooms
//! where it is little.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::Topic;
use natterjack_wire::frame::{Ephemeral, Reached};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::outside::{HashMap, Log};

/// What is told within this time is told together.
const TOGETHER: Duration = Duration::from_millis(200);

/// Cheap to clone.
#[derive(Clone)]
pub struct Receipts(Arc<Inner>);

struct Inner {
    log: Log,
    members_max: usize,
    waiting: Mutex<HashMap<RoomId, Signs>>,
}

/// How far people have come; no more of them than the room has members.
#[derive(Default)]
struct Signs {
    reads: BTreeMap<UserId, u64>,
    delivered: BTreeMap<UserId, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Read,
    Delivered,
}

impl Receipts {
    pub fn new(log: Log, members_max: usize) -> Self {
        Self(Arc::new(Inner { log, members_max, waiting: Mutex::default() }))
    }

    pub fn members_max(&self) -> usize {
        self.0.members_max
    }

    /// Has those who have the room open be told, unless it has too many members.
    pub fn tell(&self, room: RoomId, members: usize, sign: Sign, user: UserId, seq: u64) {
        if members > self.0.members_max {
            return;
        }
        let mut waiting = self.0.waiting.lock();
        let is_first = !waiting.contains_key(&room);
        let signs = waiting.entry(room).or_default();
        let of_kind = match sign {
            Sign::Read => &mut signs.reads,
            Sign::Delivered => &mut signs.delivered,
        };
        let known = of_kind.entry(user).or_default();
        *known = seq.max(*known);
        drop(waiting);
        if is_first {
            let receipts = self.0.clone();
            tokio::spawn(async move {
                sleep(TOGETHER).await;
                receipts.send(room).await;
            });
        }
    }
}

impl Inner {
    async fn send(&self, room: RoomId) {
        let Some(Signs { reads, delivered }) = self.waiting.lock().remove(&room) else { return };
        let list = |signs: BTreeMap<UserId, u64>| {
            signs.into_iter().map(|(user, seq)| Reached { user, seq }).collect::<Vec<_>>()
        };
        let signal = Ephemeral {
            room: Some(room),
            reads: list(reads),
            delivered: list(delivered),
            ..Ephemeral::default()
        };
        let body = serde_json::to_vec(&signal).expect("a signal is plain data").into();
        // Whoever does not hear it sees it when they read the room again.
        let _ = self.log.signal(Topic::Room(room), body).await;
    }
}
