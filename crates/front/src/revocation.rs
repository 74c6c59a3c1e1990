//! Sessions that have ended while their access tokens are still good.
//!
//! The front that ends a session tells all others over NATS; what they did not hear they see in Postgres, a second later.
//! An entry is kept for as long as an access token can live.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use natterjack_domain::SessionId;
use natterjack_identity::Identity;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::{
    select,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{outside::Log, registry::Registry};

const SUBJECT: &str = "live.revoked";
/// Words can be lost, also while every connection stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An ending bears the time at which it was begun, and shows once it is committed: what a statement may take, and more.
const UNSEEN_FOR: Duration = Duration::from_secs(30);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(2);
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
        self.note(sessions.iter().copied());
        let body = serde_json::to_vec(&Ended { sessions }).expect("ids are plain data");
        if let Err(error) = log.broadcast(SUBJECT.into(), body.into()).await {
            tracing::warn!(%error, "other fronts learn of an ended session only from Postgres");
        }
    }

    fn note(&self, sessions: impl IntoIterator<Item = SessionId>) {
        let now = Instant::now();
        let news: HashSet<SessionId> = {
            let mut ended = self.ended.write();
            ended.retain(|_, since| now.duration_since(*since) < self.keep);
            sessions.into_iter().filter(|session| ended.insert(*session, now).is_none()).collect()
        };
        if !news.is_empty() {
            self.registry.end(&news);
        }
    }

    /// Learns from Postgres, before the front serves anybody, what has ended and what time it is. Without Postgres it has to
    /// do without.
    pub async fn catch_up(&self, identity: &Identity) {
        if !matches!(timeout(CATCH_UP_LIMIT, self.look(identity, self.keep)).await, Ok(true)) {
            tracing::warn!("sessions that ended before this front began are not known to it yet");
        }
    }

    /// Hears other fronts, and looks into Postgres for what was not heard, until `stop`.
    pub async fn listen(self, log: Log, identity: Identity, stop: CancellationToken) {
        select! {
            () = stop.cancelled() => {}
            () = self.hear(&log) => {}
            () = self.keep_looking(&identity) => {}
        }
    }

    async fn hear(&self, log: &Log) {
        loop {
            match log.listen(SUBJECT).await {
                Ok(mut words) => {
                    while let Some((_, body)) = words.next().await {
                        match serde_json::from_slice::<Ended>(&body) {
                            Ok(Ended { sessions }) => self.note(sessions),
                            Err(error) => tracing::warn!(%error, "an unreadable word of ended sessions"),
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "other fronts cannot be heard"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn keep_looking(&self, identity: &Identity) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None;
        loop {
            every.tick().await;
            let now = Instant::now();
            let back = looked.map_or(self.keep, |at| (now.duration_since(at) + UNSEEN_FOR).min(self.keep));
            if self.look(identity, back).await {
                looked = Some(now);
            }
        }
    }

    /// Whether Postgres told what has ended since `back` ago.
    async fn look(&self, identity: &Identity, back: Duration) -> bool {
        let looked = async {
            let now = identity.set_clock().await?;
            identity.revoked_since(now - back).await
        };
        match looked.await {
            Ok(ended) => self.note(ended.into_iter().map(|(session, _)| session)),
            Err(error) => {
                tracing::debug!(%error, "ended sessions cannot be read");
                return false;
            }
        }
        true
    }
}
