//! The second copy of the log, as a front's [`Store`] asks for it.

use std::time::Duration;

use natterjack_database::{Error::Unavailable, Outage};
use natterjack_domain::RoomId;
use natterjack_eventlog::{Kind, Topic};
use natterjack_readmodel::{
    AsOf, Error,
    events::{self, LogEvent},
};
use natterjack_wire::Position;
use tokio::time::sleep;

use super::world::{Copied, State, Stored, World};
use crate::store::Store;

/// As long as a statement may take.
const SILENCE: Duration = Duration::from_secs(1);
const COPIED_EVERY: Duration = Duration::from_millis(20);

impl Store {
    pub(crate) async fn probe(&self, _: u16) -> Result<Position, Error> {
        let nowhere = Topic::Room(RoomId::random());
        Ok(ask(self.world(), |state| copied(state, nowhere, 0, 1, |_| true)).await?.as_of)
    }

    pub(crate) async fn state_events(&self, _: u16, room: RoomId) -> Result<AsOf<Vec<LogEvent>>, Error> {
        ask(self.world(), |state| copied(state, Topic::Room(room), 0, usize::MAX, |kind| kind == Kind::State))
            .await
    }

    pub(crate) async fn topic_events(
        &self,
        _: u16,
        topic: Topic,
        after: u64,
        limit: u32,
    ) -> Result<AsOf<Vec<LogEvent>>, Error> {
        let limit = limit.min(events::EVENTS_MAX) as usize;
        ask(self.world(), |state| copied(state, topic, after, limit, |_| true)).await
    }

    fn world(&self) -> &World {
        self.model.as_ref().expect("a model's front has a model's Postgres")
    }
}

async fn ask<T>(world: &World, answer: impl FnOnce(&State) -> T) -> Result<T, Error> {
    let (takes, fails) = {
        let mut state = world.lock();
        let odds = state.odds;
        (state.rng.micros(odds.read_ms * 1_000), state.rng.permille(odds.postgres_fails))
    };
    sleep(takes).await;
    if world.lock().copy.away {
        sleep(SILENCE).await;
    }
    let state = world.lock();
    if state.copy.away || fails {
        return Err(Unavailable(Outage::Silent).into());
    }
    Ok(answer(&state))
}

fn copied(
    state: &State,
    topic: Topic,
    after: u64,
    limit: usize,
    wanted: impl Fn(Kind) -> bool,
) -> AsOf<Vec<LogEvent>> {
    let Copied { incarnation, seq, .. } = state.copy;
    let log = &state.incarnations[incarnation];
    let events = log.after(topic, after, seq).filter(|stored| wanted(stored.event.subject.kind));
    let as_of = Position { epoch: log.epoch.to_string(), seq };
    AsOf { as_of, value: events.take(limit).map(log_event).collect() }
}

fn log_event(stored: &Stored) -> LogEvent {
    let event = stored.event.clone();
    let kind = match event.subject.kind {
        Kind::State => events::Kind::State,
        Kind::Timeline => events::Kind::Timeline,
        Kind::Feed => events::Kind::Feed,
    };
    LogEvent { seq: event.seq, kind, ts: event.ts, known: event.known, body: event.body }
}

/// Follows the log, so far behind as the weather has it; a log that was replaced only once somebody has rebuilt the copy.
pub async fn copy(world: World) {
    loop {
        sleep(COPIED_EVERY).await;
        let mut state = world.lock();
        let behind = state.odds.copy_behind;
        let behind = state.rng.below(behind + 1);
        if state.copy.incarnation + 1 < state.incarnations.len() && state.rng.permille(10) {
            state.copy = Copied { incarnation: state.incarnations.len() - 1, seq: 0, ..state.copy };
        }
        let Copied { incarnation, seq, away } = state.copy;
        if !away {
            let head = state.incarnations[incarnation].head();
            state.copy.seq = seq.max(head.saturating_sub(behind));
        }
    }
}
