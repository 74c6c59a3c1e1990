use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use time::OffsetDateTime;

/// Where the present time comes from.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Own(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>),
    Common(Arc<Common>),
}

/// Runs by the computer's steady clock, from what others agreed it was when this began.
struct Common {
    began: Instant,
    /// Microseconds since 1970.
    began_at: AtomicI64,
}

impl Clock {
    /// The computer's clock.
    pub fn system() -> Self {
        Self::from_fn(OffsetDateTime::now_utc)
    }

    /// A clock that is set by what all processes share ([`crate::Identity::set_clock`]), so that what one of them says of a
    /// time holds for the others, whatever their computers' clocks say. Until it was set for the first time, it shows
    /// the computer's.
    pub fn common() -> Self {
        let began_at = AtomicI64::new(micros(OffsetDateTime::now_utc()));
        Self(Source::Common(Arc::new(Common { began: Instant::now(), began_at })))
    }

    /// A clock of one's own, for tests.
    pub fn from_fn(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Source::Own(Arc::new(now)))
    }

    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Source::Own(now) => now(),
            Source::Common(common) => common.at(Instant::now()),
        }
    }

    /// Somebody who was asked at `asked`, and has answered just now, said that it is `time`. A clock that could be right is
    /// left alone; so is one of one's own.
    pub(crate) fn set(&self, asked: Instant, time: OffsetDateTime) {
        let Source::Common(common) = &self.0 else { return };
        let answered = Instant::now();
        if time < common.at(asked) || time > common.at(answered) {
            let passed = i64::try_from((answered - common.began).as_micros()).unwrap_or(i64::MAX);
            common.began_at.store(micros(time).saturating_sub(passed), Ordering::Relaxed);
        }
    }
}

impl Common {
    fn at(&self, moment: Instant) -> OffsetDateTime {
        let began_at = i128::from(self.began_at.load(Ordering::Relaxed)) * 1_000;
        let began_at = OffsetDateTime::from_unix_timestamp_nanos(began_at);
        began_at.unwrap_or(OffsetDateTime::UNIX_EPOCH) + moment.saturating_duration_since(self.began)
    }
}

fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or_default()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_may_be_right_is_left_alone_and_one_that_is_not_is_set() {
        let (clock, asked) = (Clock::common(), Instant::now());
        let before = clock.now();
        clock.set(asked, before);
        assert!(clock.now() - before < Duration::from_secs(1));
        for hour in [before + Duration::from_hours(1), before - Duration::from_hours(1)] {
            clock.set(Instant::now(), hour);
            let now = clock.now();
            assert!(now >= hour - Duration::from_millis(1) && now - hour < Duration::from_secs(1), "{now}");
        }
    }

    #[test]
    fn a_clock_of_ones_own_is_nobody_elses() {
        let clock = Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH);
        clock.set(Instant::now(), OffsetDateTime::now_utc());
        assert_eq!(clock.now(), OffsetDateTime::UNIX_EPOCH);
    }
}
