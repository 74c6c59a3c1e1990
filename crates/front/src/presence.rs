//! Who is there, on all fronts; docs/adr/0022 says how they agree on it.
//!
//! Each front owns the presence of its own connections and tells the others of changes. [`table`] holds what is known and
//! decides what is to be said; here it meets the network, the clock and the sockets. One task writes to all who watch, so
//! that what a client hears last is what holds.

use std::sync::Arc;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use natterjack_domain::{UserId, presence::Availability, profile::Status, room::Room};
use natterjack_identity::{Clock, Identity};
use natterjack_wire::{frame::Seen, rest::OnlineList};
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::{
    select,
    sync::Notify,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod others;
mod own;
mod table;
#[cfg(test)]
mod tests;
mod watchers;
mod words;

use self::{
    table::{Now, Table},
    words::{FrontId, TO_ALL, Word, to_one},
};
use crate::{config::PresenceConfig, hub::ConnId, outside::Log, ws::outbox::Outbox};

/// A front that is silent for so many heartbeats is taken for dead.
const SILENT_BEATS: u32 = 5;
/// What changes meanwhile is told in one word.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Words that are heard in one go.
const WORDS_AT_ONCE: usize = 1_024;
/// When people were last there is written down so often, and of so many at once.
const WRITE_EVERY: Duration = Duration::from_secs(2);
const WRITE_ROWS: usize = 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    me: FrontId,
    config: PresenceConfig,
    clock: Clock,
    table: Mutex<Table>,
    changed: Notify,
}

/// A connection whose person is there, until it is dropped.
pub struct Present {
    presence: Presence,
    user: UserId,
    conn: ConnId,
}

impl Presence {
    pub fn new(config: PresenceConfig, clock: Clock) -> Self {
        let me = Uuid::now_v7();
        let table = Mutex::new(Table::new(me, config.heartbeat * SILENT_BEATS, config.linger));
        Self(Arc::new(Inner { me, config, clock, table, changed: Notify::new() }))
    }

    /// Most people whom a connection may watch.
    pub fn watch_max(&self) -> usize {
        self.0.config.watch_max
    }

    fn now(&self) -> Now {
        let ms = self.0.clock.now().unix_timestamp_nanos() / 1_000_000;
        Now { at: Instant::now(), ms: u64::try_from(ms).unwrap_or_default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.0.table.lock());
        self.0.changed.notify_one();
        changed
    }

    pub fn enter(&self, user: UserId, conn: ConnId, state: Availability) -> Present {
        let now = self.now();
        self.change(|table| table.say(user, conn, state, now));
        Present { presence: self.clone(), user, conn }
    }

    /// The person's status is another one.
    pub fn tell_status(&self, user: UserId, status: Option<Status>) {
        self.change(|table| table.status(user, status));
    }

    /// How present others see a person.
    pub fn of(&self, user: UserId) -> Seen {
        self.0.table.lock().of(user)
    }

    /// Everybody who is there, after `after`.
    pub fn everybody(&self, after: Option<UserId>, limit: usize) -> OnlineList {
        let table = self.0.table.lock();
        page(table.after(after, limit + 1), table.count(), limit)
    }

    /// The members of a room who are there, after `after`.
    pub fn in_room(&self, room: &Room, after: Option<UserId>, limit: usize) -> OnlineList {
        let table = self.0.table.lock();
        let is_there = |seen: &Seen| seen.since.is_some();
        let mut members: Vec<Seen> = room.members().map(|user| table.of(user)).filter(is_there).collect();
        drop(table);
        let count = members.len();
        members.retain(|seen| after.is_none_or(|after| seen.user > after));
        members.sort_unstable_by_key(|seen| seen.user);
        members.truncate(limit + 1);
        page(members, count, limit)
    }

    /// Agrees with the other fronts, and tells those who watch, until `stop`.
    pub async fn run(self, log: Log, identity: Identity, stop: CancellationToken) {
        tokio::join!(self.agree(&log, &stop), stop.run_until_cancelled(self.write_down(&identity)));
        while self.write_some(&identity).await {}
    }

    async fn agree(&self, log: &Log, stop: &CancellationToken) {
        let mut words = Words::default();
        let mut heartbeat = interval(self.0.config.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Instant::now();
        while !stop.is_cancelled() {
            let wake = self.wakes_at(told);
            select! {
                biased;
                () = stop.cancelled() => {}
                _ = heartbeat.tick() => {
                    words.listen(log, self.0.me).await;
                    // What has come while this front was held up counts before its silence does.
                    words.waiting().for_each(|word| self.hear(word));
                    self.change(|table| table.beat(self.now()));
                }
                word = words.next() => {
                    self.hear(word);
                    words.waiting().for_each(|word| self.hear(word));
                }
                () = self.0.changed.notified() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            self.0.table.lock().expire(self.now());
            self.tell_watchers();
            if told.elapsed() >= TELL_EVERY {
                self.0.table.lock().tell();
                told = Instant::now();
            }
            self.send(log).await;
        }
        self.0.table.lock().end(self.now());
        self.send(log).await;
    }

    /// When there is something to do though nothing happens.
    fn wakes_at(&self, told: Instant) -> Option<Instant> {
        let table = self.0.table.lock();
        let tell = (!table.is_told()).then_some(told + TELL_EVERY);
        table.next_gone().into_iter().chain(tell).min()
    }

    fn hear(&self, word: Word) {
        let now = self.now();
        self.0.table.lock().hear(word, now);
    }

    fn tell_watchers(&self) {
        let tellings = {
            let mut table = self.0.table.lock();
            let mut watchers = std::mem::take(&mut table.watchers);
            let tellings = watchers.take(|user| table.of(user));
            table.watchers = watchers;
            tellings
        };
        for telling in tellings {
            if !telling.outbox.push_ephemeral(&telling.frame) {
                self.0.table.lock().watchers.missed(telling.conn);
            }
        }
    }

    async fn send(&self, log: &Log) {
        let sent = self.0.table.lock().take_sent();
        for (to, word) in sent {
            let subject = to.map_or_else(|| TO_ALL.to_owned(), to_one);
            let body = serde_json::to_vec(&word).expect("a word is plain data");
            // Who misses it finds out by the next heartbeat.
            if let Err(error) = log.broadcast(subject, body.into()).await {
                tracing::debug!(%error, "other fronts are not told who is here");
            }
        }
    }

    async fn write_down(&self, identity: &Identity) {
        loop {
            sleep(WRITE_EVERY).await;
            while self.write_some(identity).await {}
        }
    }

    /// Whether there may be more.
    async fn write_some(&self, identity: &Identity) -> bool {
        let some = self.0.table.lock().take_last_seen(WRITE_ROWS);
        if some.is_empty() {
            return false;
        }
        let time = |ms: u64| OffsetDateTime::UNIX_EPOCH + Duration::from_millis(ms);
        let rows: Vec<_> = some.iter().map(|(user, ms)| (*user, time(*ms))).collect();
        match identity.note_last_seen(&rows).await {
            Ok(()) => some.len() == WRITE_ROWS,
            Err(error) => {
                tracing::debug!(%error, "when people were last there is kept for now");
                self.0.table.lock().put_back(some);
                false
            }
        }
    }
}

impl Present {
    pub fn say(&self, state: Availability) {
        let now = self.presence.now();
        self.presence.change(|table| table.say(self.user, self.conn, state, now));
    }

    /// Has the connection told of these people, and of no others.
    pub fn watch(&self, outbox: Arc<Outbox>, watched: Vec<UserId>) {
        self.presence.change(|table| table.watchers.watch(self.conn, outbox, watched));
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let now = self.presence.now();
        self.presence.change(|table| table.leave(self.user, self.conn, now));
    }
}

fn page(mut items: Vec<Seen>, count: usize, limit: usize) -> OnlineList {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.user.to_string());
    OnlineList { items, count: count as u64, next }
}

/// What the other fronts say.
#[derive(Default)]
struct Words(Option<Box<dyn Stream<Item = Word> + Send + Unpin>>);

impl Words {
    /// Listens, unless that is done already.
    async fn listen(&mut self, log: &Log, me: FrontId) {
        if self.0.is_some() {
            return;
        }
        match tokio::try_join!(log.listen(TO_ALL), async { log.listen(&to_one(me)).await }) {
            Ok((all, own)) => {
                let words = stream::select(all, own).filter_map(|(_, body)| {
                    std::future::ready(match serde_json::from_slice(&body) {
                        Ok(word) => Some(word),
                        Err(error) => {
                            tracing::debug!(%error, "an unreadable word of who is there");
                            None
                        }
                    })
                });
                self.0 = Some(Box::new(words));
            }
            Err(error) => tracing::debug!(%error, "other fronts cannot be heard"),
        }
    }

    /// Never completes while nobody listens. Cancel safe.
    async fn next(&mut self) -> Word {
        if let Some(words) = &mut self.0
            && let Some(word) = words.next().await
        {
            return word;
        }
        self.0 = None;
        std::future::pending().await
    }

    /// Those that are here.
    fn waiting(&mut self) -> impl Iterator<Item = Word> {
        std::iter::from_fn(|| self.0.as_mut()?.next().now_or_never().flatten()).take(WORDS_AT_ONCE)
    }
}
