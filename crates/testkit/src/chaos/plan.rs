//! Which faults a run makes, and when: all of it follows from the seed.

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What can be hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Nats,
    Postgres,
    /// A front or a projector.
    Program,
    /// What is between two of them, or between clients and a front.
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again later.
    Kill,
    /// `SIGSTOP`, and `SIGCONT` later.
    Suspend,
    /// Ends in good order, and is started again later.
    Restart,
    Cut,
    /// Nothing passes to the server, while what it says arrives.
    HoldThere,
    /// Nothing passes from the server, while what it hears arrives.
    HoldBack,
    Delay {
        ms: u64,
    },
    Slow {
        bytes_per_second: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning on; later when what it is to hit has not recovered from the one before.
    pub at: Duration,
    /// Which of the parts.
    pub target: usize,
    pub fault: Fault,
    pub lasts: Duration,
    /// Which of several connections it hits, beyond their number all of them.
    pub lane: usize,
}

/// Nothing that breaks one thing lasts as long as a sender's patience.
const LASTS_MS: std::ops::Range<u64> = 100..6_000;

/// What was hurt is left alone for so long, to show that it works again.
const RECOVERS_WITHIN: Duration = Duration::from_secs(3);

/// Faults for `time`, one each `every` on the average.
pub fn plan(seed: u64, parts: &[Part], time: Duration, every: Duration) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at = Duration::ZERO;
    let (mut planned, mut free_at) = (vec![], vec![Duration::ZERO; parts.len()]);
    loop {
        at += every.mul_f64(rng.random_range(0.2..1.8));
        if at >= time {
            return planned;
        }
        // Half of all hits processes: there are more links than those.
        let wants_link = rng.random_bool(0.5);
        let fits = |target: &usize| (parts[*target] == Part::Link) == wants_link && free_at[*target] <= at;
        let fitting: Vec<usize> = (0..parts.len()).filter(fits).collect();
        if fitting.is_empty() {
            continue;
        }
        let target = fitting[rng.random_range(0..fitting.len())];
        let lasts = Duration::from_millis(rng.random_range(LASTS_MS));
        free_at[target] = at + lasts + RECOVERS_WITHIN;
        let (fault, lane) = (fault(parts[target], &mut rng), rng.random_range(0..6));
        planned.push(Planned { at, target, fault, lasts, lane });
    }
}

fn fault(part: Part, rng: &mut StdRng) -> Fault {
    let pick = rng.random_range(0..6);
    match (part, pick) {
        (Part::Link, 0 | 1) => Fault::Cut,
        (Part::Link, 2) => Fault::HoldThere,
        (Part::Link, 3) => Fault::HoldBack,
        (Part::Link, 4) => Fault::Delay { ms: rng.random_range(5..400) },
        (Part::Link, _) => Fault::Slow { bytes_per_second: rng.random_range(2_000..40_000) },
        // Of its processes each is one of its own: there is no stopping them all at once.
        (Part::Postgres, 0..=3) => Fault::Kill,
        (Part::Postgres, _) => Fault::Restart,
        (_, 0..=2) => Fault::Kill,
        (_, 3 | 4) => Fault::Suspend,
        (_, _) => Fault::Restart,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill -9"),
            Self::Suspend => f.write_str("stop"),
            Self::Restart => f.write_str("restart"),
            Self::Cut => f.write_str("cut"),
            Self::HoldThere => f.write_str("cut one way, there,"),
            Self::HoldBack => f.write_str("cut one way, back,"),
            Self::Delay { ms } => write!(f, "delay by {ms} ms"),
            Self::Slow { bytes_per_second } => write!(f, "slow to {bytes_per_second} B/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed_and_hits_everything() {
        let parts = [Part::Nats, Part::Postgres, Part::Program, Part::Link, Part::Link];
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        let made = plan(7, &parts, minute, second);
        assert_eq!(made, plan(7, &parts, minute, second));
        assert_ne!(made, plan(8, &parts, minute, second));
        assert!((20..60).contains(&made.len()), "{}", made.len());
        assert!((0..parts.len()).all(|target| made.iter().any(|planned| planned.target == target)));
        assert!(
            made.is_sorted_by_key(|planned| planned.at) && made.iter().all(|planned| planned.at < minute)
        );
    }
}
