//! The connections of this front, so that they can be closed: when a session ends, and when the front drains.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use natterjack_domain::{SessionId, UserId};
use natterjack_wire::frame::CloseCode;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::sleep};

use crate::{hub::ConnId, metrics};

#[derive(Default)]
pub struct Registry(Mutex<State>);

#[derive(Default)]
struct State {
    next: ConnId,
    connections: HashMap<ConnId, Entry>,
    per_user: HashMap<UserId, usize>,
    draining: bool,
}

struct Entry {
    user: UserId,
    session: SessionId,
    /// Gone once the connection was told to close.
    close: Option<oneshot::Sender<CloseCode>>,
}

impl Entry {
    fn close(&mut self, code: CloseCode) {
        if let Some(close) = self.close.take() {
            let _ = close.send(code);
        }
    }
}

/// A registered connection; leaves the registry when dropped.
pub struct Registration {
    registry: Arc<Registry>,
    pub conn: ConnId,
    /// Resolves when the connection has to close.
    pub close: oneshot::Receiver<CloseCode>,
}

impl Registry {
    /// Fails when the person has `per_user_max` connections here already. Once the front drains, a connection is
    /// told to close as soon as it is registered.
    pub fn register(
        self: &Arc<Self>,
        user: UserId,
        session: SessionId,
        per_user_max: usize,
    ) -> Option<Registration> {
        let mut state = self.0.lock();
        let count = state.per_user.entry(user).or_default();
        if *count >= per_user_max {
            return None;
        }
        *count += 1;
        let conn = state.next;
        state.next += 1;
        let (sender, close) = oneshot::channel();
        let mut entry = Entry { user, session, close: Some(sender) };
        if state.draining {
            entry.close(CloseCode::Drain);
        }
        state.connections.insert(conn, entry);
        metrics::connected(1.0);
        Some(Registration { registry: self.clone(), conn, close })
    }

    /// Closes the connections of sessions that have ended.
    pub fn end(&self, ended: &HashSet<SessionId>) {
        for entry in self.0.lock().connections.values_mut().filter(|entry| ended.contains(&entry.session)) {
            entry.close(CloseCode::Authentication);
        }
    }

    /// Closes all connections that are there.
    pub fn send_away(&self) {
        for entry in self.0.lock().connections.values_mut() {
            entry.close(CloseCode::Unavailable);
        }
    }

    /// Closes all connections, spread evenly over `window`.
    pub async fn drain(&self, window: Duration) {
        let all: Vec<ConnId> = {
            let mut state = self.0.lock();
            state.draining = true;
            state.connections.keys().copied().collect()
        };
        let Ok(count @ 1..) = u32::try_from(all.len()) else { return };
        for conn in all {
            if let Some(entry) = self.0.lock().connections.get_mut(&conn) {
                entry.close(CloseCode::Drain);
            }
            sleep(window / count).await;
        }
    }

    fn leave(&self, conn: ConnId) {
        let mut state = self.0.lock();
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

impl Drop for Registration {
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
        let registry = Arc::new(Registry::default());
        let (user, phone, laptop) = (UserId::random(), SessionId::random(), SessionId::random());
        let mut first = registry.register(user, phone, 2).unwrap();
        let mut second = registry.register(user, laptop, 2).unwrap();
        assert!(registry.register(user, laptop, 2).is_none());
        registry.end(&HashSet::from([phone]));
        assert_eq!(first.close.try_recv(), Ok(CloseCode::Authentication));
        assert!(second.close.try_recv().is_err());
        drop(first);
        assert!(registry.register(user, laptop, 2).is_some());
    }

    #[tokio::test]
    async fn who_comes_while_the_front_drains_is_sent_away_at_once() {
        let registry = Arc::new(Registry::default());
        let (user, session) = (UserId::random(), SessionId::random());
        let mut early = registry.register(user, session, 2).unwrap();
        registry.drain(Duration::ZERO).await;
        let mut late = registry.register(user, session, 2).unwrap();
        assert_eq!(early.close.try_recv(), Ok(CloseCode::Drain));
        assert_eq!(late.close.try_recv(), Ok(CloseCode::Drain));
    }
}
