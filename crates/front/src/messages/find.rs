//! Finding a message before it is changed.

use std::time::Duration;

use natterjack_domain::{
    MessageId, UserId,
    message::{Event, Message},
};
use natterjack_wire::ErrorCode;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{fault::Fault, hub::Handle, ws::Context};

/// A message as the log has it, and as one person is about to change it.
pub struct Found {
    pub message: Message,
    posted_at: String,
    /// Sequence of the last edit; 0 where there was none.
    pub edited_seq: u64,
}

impl Found {
    /// Since the log stored it; nothing where its time cannot be read.
    pub fn age(&self, now: OffsetDateTime) -> Duration {
        let posted = OffsetDateTime::parse(&self.posted_at, &Rfc3339).unwrap_or(now);
        (now - posted).try_into().unwrap_or_default()
    }

    fn apply(&mut self, seq: u64, event: &Event) {
        // How many are pinned in the room is not to be learnt from one message.
        if self.message.apply(event, &mut 0) && matches!(event, Event::Edited { .. }) {
            self.edited_seq = seq;
        }
    }
}

/// From the room's tail in memory, else from the read model and what the tail knows of later changes. The read model is
/// waited for where it has not come up to the tail yet.
pub async fn find(context: &Context, handle: &Handle, mid: MessageId, user: UserId) -> Result<Found, Fault> {
    let recent = handle.recent(mid).await.ok_or(ErrorCode::Busy)?;
    let (mut found, known_up_to) = if let Some((message, posted_at)) = recent.posted {
        (Found { message, posted_at, edited_seq: 0 }, 0)
    } else {
        context.projected.wait(handle.topic, &handle.epoch, recent.complete_after).await?;
        let known = context.store.message(handle.room_id, mid, user).await?;
        let as_of = known.as_of.seq;
        let known = known.value.ok_or(ErrorCode::MessageNotFound)?;
        let (message, posted_at) = (known.message, known.posted_at);
        (Found { message, posted_at, edited_seq: known.edited_seq }, as_of)
    };
    for (seq, change) in &recent.changes {
        if *seq > known_up_to {
            found.apply(*seq, change);
        }
    }
    Ok(found)
}
