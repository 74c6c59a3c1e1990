//! Whether the log takes events, and whether a stream still holds what it held: after the loss of its end nats-server goes
//! on with sequences that it has given out before.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::jetstream::stream::Info;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{AppendError, Appended, Log, ReadError, StreamError, definition::stream_name, metrics};

/// What a stream was found to be.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Names its incarnation: a stream that is made again is made at another time.
    pub epoch: String,
    pub last: u64,
    /// When the last message was stored, in nanoseconds since 1970.
    pub last_at: i128,
    /// Messages that are not there between the first sequence and the last.
    pub missing: u64,
}

/// The stream is not the one that it was; only an operator can put that right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error(
        "the stream {name} ends at {last}, but was at {reached}: its end is lost, or it is an older copy of the log"
    )]
    CutBack { name: String, last: u64, reached: u64 },
    #[error("the stream {name} holds another event at {seq} than before: its end was lost and written anew")]
    Rewritten { name: String, seq: u64 },
}

/// What is known of the streams, by their numbers.
pub(crate) struct Soundness {
    /// How far each has been.
    marks: Mutex<Vec<Mark>>,
    damages: Mutex<Vec<Option<Damage>>>,
    /// What was looked through last. Held by who looks, so that one look serves all.
    looked: Vec<tokio::sync::Mutex<Option<Looked>>>,
    is_damaged: AtomicBool,
    trouble: Mutex<Option<(Trouble, Instant)>>,
    /// Whether there is some: what every append looks at.
    is_troubled: AtomicBool,
}

/// Why the log takes no events at this moment, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A full disk, for example.
    #[error("it refuses events: {0}")]
    Refused(String),
    #[error("it does not acknowledge events")]
    Unacknowledged,
    /// A cluster without a quorum, for example.
    #[error("the streams cannot be asked for: {0}")]
    Unchecked(String),
}

/// Where a stream has been.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    reached: u64,
    /// The last sequence that is known to be missing.
    hole: u64,
    /// A sequence, and when its message was stored.
    anchor: Option<(u64, i128)>,
}

/// A part of a stream without a hole.
struct Looked {
    after: u64,
    up_to: u64,
    since: Instant,
    /// Of the connection that it was read over: another one may lead to another replica.
    gaps: u64,
}

/// When nobody has tried to append for so long, and the streams can be asked for, an append that failed is past.
const TROUBLE_MEMORY: Duration = Duration::from_secs(30);
/// A disk may go at any time, but what nats-server has read a moment ago it still has in its memory.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl Found {
    pub fn of(info: &Info) -> Self {
        let state = &info.state;
        Self {
            epoch: format!("{:x}", info.created.unix_timestamp_nanos()),
            last: state.last_sequence,
            last_at: state.last_timestamp.unix_timestamp_nanos(),
            missing: state.last_sequence.saturating_sub(state.messages),
        }
    }
}

impl Soundness {
    pub fn new(streams: u16) -> Self {
        let streams = usize::from(streams);
        Self {
            marks: Mutex::new(vec![Mark::default(); streams]),
            damages: Mutex::new(vec![None; streams]),
            looked: (0..streams).map(|_| tokio::sync::Mutex::default()).collect(),
            is_damaged: AtomicBool::new(false),
            trouble: Mutex::new(None),
            is_troubled: AtomicBool::new(false),
        }
    }

    /// The stream is another one now.
    pub fn forget(&self, stream: usize) {
        self.marks.lock()[stream] = Mark::default();
    }

    /// Whether any stream is damaged.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Where the streams have been until now.
    pub fn marks(&self) -> Vec<Mark> {
        self.marks.lock().clone()
    }

    /// What became of an append.
    pub fn appended(&self, result: &Result<Appended, AppendError>) {
        match result {
            Ok(_) | Err(AppendError::Conflict) => {
                if self.is_troubled.load(Ordering::Relaxed) {
                    self.set_trouble(None);
                }
            }
            Err(AppendError::Refused(reason)) => self.set_trouble(Some(Trouble::Refused(reason.clone()))),
            Err(AppendError::Unavailable(_)) => self.set_trouble(Some(Trouble::Unacknowledged)),
            Err(AppendError::Damaged(_)) => {}
        }
    }

    /// What became of asking for the streams.
    pub fn asked<T>(&self, result: &Result<T, StreamError>) {
        match result {
            Ok(_) => {
                let known = self.trouble.lock().clone();
                let is_past = |(trouble, at): (Trouble, Instant)| {
                    matches!(trouble, Trouble::Unchecked(_)) || at.elapsed() > TROUBLE_MEMORY
                };
                if known.is_some_and(is_past) {
                    self.set_trouble(None);
                }
            }
            Err(error) => self.set_trouble(Some(Trouble::Unchecked(error.to_string()))),
        }
    }

    fn set_trouble(&self, trouble: Option<Trouble>) {
        metrics::writable(trouble.is_none());
        let mut known = self.trouble.lock();
        self.is_troubled.store(trouble.is_some(), Ordering::Relaxed);
        *known = trouble.map(|trouble| (trouble, Instant::now()));
    }

    fn note(&self, stream: u16, found: &Found, damage: Option<Damage>) {
        if damage.is_none() {
            let mark = &mut self.marks.lock()[usize::from(stream)];
            let anchor = Some((found.last, found.last_at)).filter(|_| found.last > 0);
            *mark = Mark { reached: mark.reached.max(found.last), anchor, ..*mark };
        }
        let mut damages = self.damages.lock();
        damages[usize::from(stream)] = damage;
        self.is_damaged.store(damages.iter().any(Option::is_some), Ordering::Relaxed);
    }
}

impl Log {
    /// Notes that stream `stream` has been at `seq`: from then on, where it ends before that, it is damaged.
    pub fn has_been_at(&self, stream: u16, epoch: &str, seq: u64) {
        if *self.epoch(stream) == *epoch {
            let mark = &mut self.soundness.marks.lock()[usize::from(stream)];
            mark.reached = mark.reached.max(seq);
        }
    }

    /// Notes that no replica of stream `stream` gives `seq`.
    pub fn note_hole(&self, stream: u16, seq: u64) {
        let mark = &mut self.soundness.marks.lock()[usize::from(stream)];
        mark.hole = mark.hole.max(seq);
    }

    /// Whether stream `stream` can be read by subject from `after` up to `up_to` without missing anything: nats-server
    /// passes over what it cannot read any more, and says so only to who reads everything. So everything is read, once
    /// for all who ask within a while. Where there is a hole, it is noted.
    pub async fn is_whole(&self, stream: u16, after: u64, up_to: u64) -> Result<bool, ReadError> {
        if after >= up_to || self.has_hole(stream, after, up_to) {
            return Ok(after >= up_to);
        }
        let gaps = self.replay.link.borrow().gaps;
        let mut looked = self.soundness.looked[usize::from(stream)].lock().await;
        let fresh = looked.take().filter(|l| l.gaps == gaps && l.since.elapsed() < LOOK_AGAIN_AFTER);
        let fits = fresh.filter(|l| l.after <= after && after <= l.up_to);
        let (after, at, since) = fits.map_or((after, after, Instant::now()), |l| (l.after, l.up_to, l.since));
        let hole = if at < up_to { self.first_hole(stream, at, up_to).await? } else { None };
        if let Some(seq) = hole {
            tracing::error!(stream, seq, "the log has a hole, or the replica that is read has one");
            metrics::hole(stream);
            if self.again(stream, seq).await?.is_none() {
                self.note_hole(stream, seq);
            }
            return Ok(false);
        }
        *looked = Some(Looked { after, up_to: up_to.max(at), since, gaps });
        Ok(true)
    }

    /// Whether something after `after` and up to `up_to` is known to be missing from stream `stream`.
    pub fn has_hole(&self, stream: u16, after: u64, up_to: u64) -> bool {
        let hole = self.soundness.marks.lock()[usize::from(stream)].hole;
        after < hole && hole <= up_to
    }

    /// What is wrong with a stream, as of the last [`Log::recheck`]. Nothing is appended to it.
    pub fn damage(&self, stream: u16) -> Option<Damage> {
        self.soundness.damages.lock()[usize::from(stream)].clone()
    }

    /// Why the log takes no events; nothing while it does, or nobody has tried.
    pub fn trouble(&self) -> Option<Trouble> {
        let damage = self.soundness.damages.lock().iter().flatten().next().cloned();
        damage.map(Trouble::from).or_else(|| Some(self.soundness.trouble.lock().clone()?.0))
    }

    /// Whether a stream ends before a place where it has been.
    pub(crate) fn is_cut_back(&self, known: &[Mark], found: &[Found]) -> bool {
        let same = |stream: u16, found: &Found| *self.epoch(stream) == *found.epoch;
        let back = |(stream, (known, found)): (u16, (&Mark, &Found))| {
            found.last < known.reached && same(stream, found)
        };
        (0..).zip(known.iter().zip(found)).any(back)
    }

    /// Compares the streams with where they had been before they were `found`.
    pub(crate) async fn examine(&self, known: &[Mark], found: &[Found]) {
        for (stream, (known, found)) in (0..).zip(known.iter().zip(found)) {
            if found.missing > 0 {
                tracing::error!(stream, missing = found.missing, "the stream has holes");
            }
            // What cannot be looked at now is looked at the next time, with what is known until then.
            let Ok(damage) = self.compare(stream, known, found).await else { continue };
            if let Some(damage) = &damage {
                tracing::error!(%damage, "nothing is appended any more: an operator is needed");
            }
            metrics::damaged(stream, damage.is_some(), found.missing);
            self.soundness.note(stream, found, damage);
        }
    }

    async fn compare(&self, stream: u16, known: &Mark, found: &Found) -> Result<Option<Damage>, ReadError> {
        let name = stream_name(stream);
        if found.last < known.reached {
            return Ok(Some(Damage::CutBack { name, last: found.last, reached: known.reached }));
        }
        let Some((seq, at)) = known.anchor else { return Ok(None) };
        let now = if found.last == seq { Some(found.last_at) } else { self.stored_at(stream, seq).await? };
        // Where it is not there any more there is a hole, which is another matter.
        Ok(now.filter(|now| *now != at).map(|_| Damage::Rewritten { name, seq }))
    }
}
