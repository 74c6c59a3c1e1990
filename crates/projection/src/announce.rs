//! Tells the fronts what was applied. At most once: who misses it finds out by asking.

use std::time::Duration;

use natterjack_eventlog::Topic;
use natterjack_wire::{
    Position,
    frame::{Ephemeral, Membership},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::debug;

use crate::{apply::Applied, fold::Notice, outside::Log};

/// A change older than this is nobody's news: a projector that catches up keeps it to itself.
const NOTICE_AGE_MAX: Duration = Duration::from_mins(1);

/// Publishes `live.projected.<stream>`, and to each person concerned that a membership changed.
pub async fn applied(log: &Log, stream: u16, epoch: &str, applied: &Applied) {
    for notice in &applied.notices {
        if age(&notice.ts).is_some_and(|age| age <= NOTICE_AGE_MAX) {
            notify(log, notice).await;
        }
    }
    let position = Position { epoch: epoch.to_owned(), seq: applied.seq };
    let body = serde_json::to_vec(&position).expect("a position is plain data");
    if let Err(error) = log.broadcast(format!("live.projected.{stream}"), body.into()).await {
        debug!(stream, error = &error as &dyn std::error::Error, "a position was not announced");
    }
}

async fn notify(log: &Log, notice: &Notice) {
    let membership = Some(Membership { room: notice.room, seq: notice.seq });
    let signal = Ephemeral { membership, ..Ephemeral::default() };
    let body = serde_json::to_vec(&signal).expect("a signal is plain data");
    if let Err(error) = log.signal(Topic::User(notice.user), body.into()).await {
        debug!(error = &error as &dyn std::error::Error, "a change of membership was not announced");
    }
}

/// How long ago the log stored an event; `None` for what is no time.
pub fn age(ts: &str) -> Option<Duration> {
    let stored = OffsetDateTime::parse(ts, &Rfc3339).ok()?;
    // The clocks of two machines differ: what seems to come is new.
    Some((OffsetDateTime::now_utc() - stored).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_times_as_the_log_writes_them() {
        assert!(age("2026-11-20T19:00:00.123456789Z").is_some());
        assert!(age("2001-01-01T00:00:00Z").is_some_and(|age| age > NOTICE_AGE_MAX));
        assert_eq!(age("2999-01-01T00:00:00.1Z"), Some(Duration::ZERO));
        assert_eq!(age(""), None);
    }
}
