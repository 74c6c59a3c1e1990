//! Whether what others say can be heard: a word to oneself, there and back over the connection that carries live events.
//!
//! A connection that stands proves nothing: of a link that swallows what is sent, TCP says nothing for minutes. Who acts on
//! what others have said (who is a member, whose session has ended) has to know that it would have heard.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::Statistics;
use futures_util::StreamExt;
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::Log;

const WORD_EVERY: Duration = Duration::from_millis(400);
/// Who has heard nothing of itself for so long has to take it that others say what it does not hear.
const DEAF_AFTER: Duration = Duration::from_millis(1_500);
/// A process or a server that was held up for a moment is heard again within this.
const SOON: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Hearing {
    begun: Instant,
    /// When the last word that came back was sent, in milliseconds from `begun`; 0 before the first.
    said_at: AtomicU64,
    /// Times that it was heard again after it had not been.
    lapses: AtomicU64,
    statistics: Arc<Statistics>,
}

impl Hearing {
    pub fn of(client: &async_nats::Client) -> Arc<Self> {
        let statistics = client.statistics();
        Arc::new(Self {
            begun: Instant::now(),
            said_at: AtomicU64::new(0),
            lapses: AtomicU64::new(0),
            statistics,
        })
    }

    fn heard(&self, said_at: u64) {
        let before = self.said_at.load(Ordering::Relaxed);
        if before > 0 && u128::from(self.now().saturating_sub(before)) >= DEAF_AFTER.as_millis() {
            // First: whoever finds that it hears finds this number too.
            self.lapses.fetch_add(1, Ordering::AcqRel);
        }
        self.said_at.fetch_max(said_at, Ordering::Release);
    }

    /// Never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

impl Log {
    /// Whether all that others had said until a moment ago has been heard, but for what was said before
    /// [`Self::connection`] was made. Costs a look at the clock.
    pub fn is_heard(&self) -> bool {
        let said_at = self.hearing.said_at.load(Ordering::Acquire);
        said_at > 0 && u128::from(self.hearing.now().saturating_sub(said_at)) < DEAF_AFTER.as_millis()
    }

    /// The same; waits a moment where it is not so.
    pub async fn is_heard_soon(&self) -> bool {
        let heard = async {
            while !self.is_heard() {
                sleep(LOOK_EVERY).await;
            }
        };
        self.is_heard() || timeout(SOON, heard).await.is_ok()
    }

    /// Numbers the connection that carries live events, and each time that something is heard over it again. What was said
    /// while there was none was missed, and what came late may still wait to be taken: who knew everything under another number
    /// has to look into the log.
    pub fn connection(&self) -> u64 {
        let Hearing { statistics, lapses, .. } = &*self.hearing;
        statistics.connects.load(Ordering::Relaxed) + lapses.load(Ordering::Acquire)
    }

    /// Says a word to itself now and then, for ever. Without it, nothing is heard.
    pub async fn hear(&self) {
        loop {
            // Fails only when the client is gone.
            let _ = self.talk().await;
            sleep(WORD_EVERY).await;
        }
    }

    async fn talk(&self) -> Result<(), async_nats::SubscribeError> {
        let client = &self.live.client;
        let inbox = client.new_inbox();
        let mut words = client.subscribe(inbox.clone()).await?;
        let mut every = interval(WORD_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                word = words.next() => {
                    let Some(word) = word else { return Ok(()) };
                    if let Ok(said_at) = word.payload.as_ref().try_into() {
                        self.hearing.heard(u64::from_be_bytes(said_at));
                    }
                }
                // Without a connection the client would keep the words.
                _ = every.tick() => if self.live.link.borrow().connected {
                    let now = self.hearing.now().to_be_bytes().to_vec();
                    let _ = timeout(WORD_EVERY, client.publish(inbox.clone(), now.into())).await;
                }
            }
        }
    }
}
