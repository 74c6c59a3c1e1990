//! The connections that want to know who is there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use natterjack_domain::{UserId, profile::Status};
use natterjack_wire::{
    ServerFrame,
    frame::{Ephemeral, Seen},
};

use crate::{
    hub::ConnId,
    ws::{encode, outbox::Outbox},
};

#[derive(Default)]
pub struct Watchers {
    watching: HashMap<ConnId, Watcher>,
    of: HashMap<UserId, Vec<ConnId>>,
    /// Those whose watchers are to be told.
    changed: BTreeSet<UserId>,
    /// New statuses of those.
    statuses: HashMap<UserId, Option<Status>>,
    /// Connections that are to be told of all whom they watch.
    fresh: BTreeSet<ConnId>,
    /// The same, a while later: they did not read what was told them.
    missed: BTreeSet<ConnId>,
}

struct Watcher {
    outbox: Arc<Outbox>,
    watched: Vec<UserId>,
}

/// A frame for a connection.
pub struct Telling {
    pub conn: ConnId,
    pub outbox: Arc<Outbox>,
    pub frame: Bytes,
}

impl Watchers {
    /// Takes the place of what the connection watched before.
    pub fn watch(&mut self, conn: ConnId, outbox: Arc<Outbox>, mut watched: Vec<UserId>) {
        self.leave(conn);
        watched.sort_unstable();
        watched.dedup();
        if watched.is_empty() {
            return;
        }
        for user in &watched {
            self.of.entry(*user).or_default().push(conn);
        }
        self.watching.insert(conn, Watcher { outbox, watched });
        self.fresh.insert(conn);
    }

    pub fn leave(&mut self, conn: ConnId) {
        self.fresh.remove(&conn);
        self.missed.remove(&conn);
        let Some(watcher) = self.watching.remove(&conn) else { return };
        for user in watcher.watched {
            if let Some(conns) = self.of.get_mut(&user) {
                conns.retain(|of| *of != conn);
                if conns.is_empty() {
                    self.of.remove(&user);
                }
            }
        }
    }

    pub fn changed(&mut self, user: UserId) {
        if self.of.contains_key(&user) {
            self.changed.insert(user);
        }
    }

    pub fn status(&mut self, user: UserId, status: Option<Status>) {
        if self.of.contains_key(&user) {
            self.changed.insert(user);
            self.statuses.insert(user, status);
        }
    }

    /// What was told did not reach the connection, which has not read what waits for it: it is told all again, later.
    pub fn missed(&mut self, conn: ConnId) {
        if self.watching.contains_key(&conn) {
            self.missed.insert(conn);
        }
    }

    pub fn tell_again(&mut self) {
        self.fresh.append(&mut self.missed);
    }

    /// What is to be told now. `seen`: how present a person is.
    pub fn take(&mut self, seen: impl Fn(UserId) -> Seen) -> Vec<Telling> {
        let changed = std::mem::take(&mut self.changed);
        let mut statuses = std::mem::take(&mut self.statuses);
        let mut tellings = vec![];
        let fresh = std::mem::take(&mut self.fresh);
        for conn in &fresh {
            let watcher = &self.watching[conn];
            let frame = frame(watcher.watched.iter().map(|user| seen(*user)).collect());
            tellings.push(Telling { conn: *conn, outbox: watcher.outbox.clone(), frame });
        }
        let mut whom: BTreeMap<ConnId, Vec<UserId>> = BTreeMap::new();
        for user in &changed {
            let has_status = statuses.contains_key(user);
            for conn in self.of.get(user).into_iter().flatten() {
                if has_status || !fresh.contains(conn) {
                    whom.entry(*conn).or_default().push(*user);
                }
            }
        }
        // Many are told the same.
        let mut frames: HashMap<Vec<UserId>, Bytes> = HashMap::new();
        let news: HashMap<UserId, Seen> = changed
            .into_iter()
            .map(|user| (user, Seen { status: statuses.remove(&user), ..seen(user) }))
            .collect();
        for (conn, users) in whom {
            let make = || frame(users.iter().map(|user| news[user].clone()).collect());
            let frame = match frames.get(&users) {
                Some(frame) => frame.clone(),
                None => make(),
            };
            frames.entry(users).or_insert_with(|| frame.clone());
            tellings.push(Telling { conn, outbox: self.watching[&conn].outbox.clone(), frame });
        }
        tellings
    }
}

fn frame(presence: Vec<Seen>) -> Bytes {
    encode::frame(&ServerFrame::Eph(Ephemeral { presence, ..Ephemeral::default() }))
}
