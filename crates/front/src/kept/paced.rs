//! What changes with every key stroke or every message: at most one event in a while, and always the last.

use std::sync::Arc;

use natterjack_domain::{MessageId, RoomId, UserId, user::Event};
use parking_lot::Mutex;
use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::PACE;
use crate::{
    fault::Fault,
    outside::HashMap,
    ws::{encode, outbox::Outbox},
};

/// What is paced: of whom, where, and which of the two.
type Key = (UserId, RoomId, Option<MessageId>, bool);

/// For each key that had an event within the last while, what is to follow it.
#[derive(Default)]
pub struct Paced(Mutex<HashMap<Key, Option<Waiting>>>);

/// An event that waits, and who is to hear if nothing comes of it.
struct Waiting {
    event: Event,
    outbox: Arc<Outbox>,
}

/// Where the work is done.
pub struct Pacing<'a> {
    /// A draining front finishes what is in it.
    pub appends: &'a TaskTracker,
    /// What waits is not held back any more.
    pub draining: &'a CancellationToken,
}

impl Paced {
    /// Has `keep` append `event`: at once, or a while after the one before it unless another one takes its place.
    pub fn push<F>(
        self: &Arc<Self>,
        event: Event,
        outbox: Arc<Outbox>,
        pacing: &Pacing<'_>,
        keep: impl Fn(Event) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<(), Fault>> + Send,
    {
        let Some(key) = key(&event) else { return };
        let waiting = Waiting { event, outbox };
        let mut begun = self.0.lock();
        if let Some(next) = begun.get_mut(&key) {
            if next.as_ref().is_none_or(|next| supersedes(&waiting.event, &next.event)) {
                *next = Some(waiting);
            }
            return;
        }
        begun.insert(key, None);
        drop(begun);
        let (paced, draining) = (self.clone(), pacing.draining.clone());
        pacing.appends.spawn(async move {
            let mut waiting = waiting;
            loop {
                let again = Instant::now() + PACE;
                if let Err(fault) = keep(waiting.event).await {
                    fault.log();
                    waiting.outbox.push(&encode::frame(&fault.frame(None)));
                }
                select! {
                    () = sleep_until(again) => {}
                    () = draining.cancelled() => {}
                }
                let mut begun = paced.0.lock();
                let Some(next) = begun.get_mut(&key).and_then(Option::take) else {
                    begun.remove(&key);
                    return;
                };
                waiting = next;
            }
        });
    }
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::DraftSaved { id, room, thread, .. } => Some((*id, *room, *thread, true)),
        Event::Delivered { id, room, .. } => Some((*id, *room, None, false)),
        _ => None,
    }
}

/// Of two devices the one that has got more counts; of two drafts the later one.
fn supersedes(new: &Event, old: &Event) -> bool {
    match (new, old) {
        (Event::Delivered { seq: new, .. }, Event::Delivered { seq: old, .. }) => new > old,
        _ => true,
    }
}
