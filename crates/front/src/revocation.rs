//! Sessions that have ended while their access tokens are still good.
//!
//! The front that ends a session tells all others over NATS; what was missed is read from Postgres after a gap
//! and once in a while. An entry is kept for as long as an access token can live.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use natterjack_domain::SessionId;
use natterjack_eventlog::Log;
use natterjack_identity::Identity;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::{select, time::interval};
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;

const SUBJECT: &str = "live.revoked";
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// Gaps may come thick.
const AFTER_GAP: Duration = Duration::from_millis(100);
const TOKEN_LIFE_MARGIN: Duration = Duration::from_mins(5);

#[derive(Serialize, Deserialize)]
struct Ended {
    sessions: Vec<SessionId>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    ended: Arc<RwLock<HashMap<SessionId, Instant>>>,
    registry: Arc<Registry>,
    keep: Duration,
}

impl Revocations {
    /// `token_life`: how long an access token is good for.
    pub fn new(registry: Arc<Registry>, token_life: Duration) -> Self {
        Self { ended: Arc::default(), registry, keep: token_life + TOKEN_LIFE_MARGIN }
    }

    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended.read().contains_key(&session)
    }

    /// Ends sessions here and on every other front.
    pub async fn end(&self, log: &Log, sessions: Vec<SessionId>) {
        self.note(&sessions.iter().copied().collect());
        let body = serde_json::to_vec(&Ended { sessions }).expect("ids are plain data");
        if let Err(error) = log.broadcast(SUBJECT.into(), body.into()).await {
            tracing::warn!(%error, "other fronts learn of an ended session only from Postgres");
        }
    }

    fn note(&self, sessions: &HashSet<SessionId>) {
        {
            let now = Instant::now();
            let mut ended = self.ended.write();
            ended.retain(|_, since| now.duration_since(*since) < self.keep);
            for session in sessions {
                ended.entry(*session).or_insert(now);
            }
        }
        self.registry.end(sessions);
    }

    /// Listens to other fronts until `stop`.
    pub async fn listen(self, log: Log, identity: Identity, stop: CancellationToken) {
        let work = async {
            let mut reload = interval(RELOAD_EVERY);
            let mut link = log.link();
            loop {
                match log.listen(SUBJECT).await {
                    Ok(mut words) => loop {
                        select! {
                            word = words.next() => match word {
                                Some((_, body)) => match serde_json::from_slice::<Ended>(&body) {
                                    Ok(Ended { sessions }) => self.note(&sessions.into_iter().collect()),
                                    Err(error) => tracing::warn!(%error, "an unreadable word of ended sessions"),
                                },
                                None => break,
                            },
                            _ = reload.tick() => self.reload(&identity).await,
                            _ = link.changed() => reload.reset_after(AFTER_GAP),
                        }
                    },
                    Err(error) => {
                        tracing::warn!(%error, "other fronts cannot be heard");
                        reload.tick().await;
                    }
                }
            }
        };
        select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn reload(&self, identity: &Identity) {
        let since = time::OffsetDateTime::now_utc() - self.keep;
        match identity.revoked_since(since).await {
            Ok(ended) => self.note(&ended.into_iter().map(|(session, _)| session).collect()),
            Err(error) => tracing::debug!(%error, "ended sessions cannot be read"),
        }
    }
}
