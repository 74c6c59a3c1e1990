//! The connections of this front, so that they can be closed: when a session ends, and when the front drains.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use natterjack_domain::{SessionId, UserId};
use natterjack_wire::frame::CloseCode;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::sleep};

use crate::{hub::ConnId, metrics};

#[derive(Default)]
pub struct Registry {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: HashMap<ConnId, Entry>,
    per_user: HashMap<UserId, usize>,
}

struct Entry {
    user: UserId,
    session: SessionId,
    close: oneshot::Sender<CloseCode>,
}

/// A registered connection; leaves the registry when dropped.
pub struct Registration<'a> {
    registry: &'a Registry,
    pub conn: ConnId,
    /// Resolves when the connection has to close.
    pub close: oneshot::Receiver<CloseCode>,
}

impl Registry {
    /// Fails when the person has `per_user_max` connections here already.
    pub fn register(
        &self,
        user: UserId,
        session: SessionId,
        per_user_max: usize,
    ) -> Option<Registration<'_>> {
        let mut state = self.state.lock();
        let count = state.per_user.entry(user).or_default();
        if *count >= per_user_max {
            return None;
        }
        *count += 1;
        let conn = self.next.fetch_add(1, Ordering::Relaxed);
        let (close, closed) = oneshot::channel();
        state.connections.insert(conn, Entry { user, session, close });
        metrics::connected(1.0);
        Some(Registration { registry: self, conn, close: closed })
    }

    /// Closes the connections of sessions that have ended.
    pub fn end(&self, ended: impl Fn(SessionId) -> bool) {
        for entry in self.take(|entry| ended(entry.session)) {
            let _ = entry.close.send(CloseCode::Authentication);
        }
    }

    /// Closes all connections, spread evenly over `window`.
    pub async fn drain(&self, window: Duration) {
        let all = self.take(|_| true);
        let Ok(count @ 1..) = u32::try_from(all.len()) else { return };
        for entry in all {
            let _ = entry.close.send(CloseCode::Drain);
            sleep(window / count).await;
        }
    }

    /// Takes the right to close them; they stay counted until they are gone.
    fn take(&self, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut state = self.state.lock();
        let ids: Vec<_> = state.connections.iter().filter(|(_, e)| which(e)).map(|(id, _)| *id).collect();
        ids.iter()
            .filter_map(|id| {
                let entry = state.connections.get_mut(id)?;
                let close = std::mem::replace(&mut entry.close, oneshot::channel().0);
                Some(Entry { user: entry.user, session: entry.session, close })
            })
            .collect()
    }

    fn leave(&self, conn: ConnId) {
        let mut state = self.state.lock();
        if let Some(entry) = state.connections.remove(&conn)
            && let Some(count) = state.per_user.get_mut(&entry.user)
        {
            *count -= 1;
            if *count == 0 {
                state.per_user.remove(&entry.user);
            }
        }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.registry.leave(self.conn);
        metrics::connected(-1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_so_many_connections_and_an_ended_session_none() {
        let registry = Registry::default();
        let (user, phone, laptop) = (UserId::random(), SessionId::random(), SessionId::random());
        let mut first = registry.register(user, phone, 2).unwrap();
        let mut second = registry.register(user, laptop, 2).unwrap();
        assert!(registry.register(user, laptop, 2).is_none());
        registry.end(|session| session == phone);
        assert_eq!(first.close.try_recv(), Ok(CloseCode::Authentication));
        assert!(second.close.try_recv().is_err());
        drop(first);
        assert!(registry.register(user, laptop, 2).is_some());
    }
}
