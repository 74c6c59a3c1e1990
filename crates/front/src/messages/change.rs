//! Changing what was said.

use natterjack_domain::{
    ClientId, EventId, MessageId, Reason, UserId,
    message::{Around, Command, Emoji},
    permission::Action,
};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_wire::{
    ErrorCode, Fact,
    draft::{JsonObject, Mentioned},
};

use super::{Found, body, find, mentions, meta};
use crate::{fault::Fault, hub::Handle, ws::Context};

/// What is to be done to a message, before anybody has looked at it.
pub enum Change {
    Edit {
        body: String,
        mentions: Option<Mentioned>,
        meta: Option<JsonObject>,
        /// Only if the message is this version still: the sequence of its last edit, 0 for its first words.
        version: Option<u64>,
    },
    Recall,
    Delete {
        reason: Option<String>,
    },
    /// Recalls one's own message, deletes another's or what is too old to be recalled.
    Remove {
        reason: Option<String>,
    },
    React {
        emoji: String,
        on: bool,
    },
    Pin {
        on: bool,
    },
}

/// The event that the change comes to; none where nothing has to be changed. A repeat with the same `cid` is the same event
/// within the log's dedupe window.
pub async fn change(
    context: &Context,
    handle: &Handle,
    user: UserId,
    mid: MessageId,
    cid: ClientId,
    change: Change,
) -> Result<Option<NewEvent>, Fault> {
    handle.admit(user).await?;
    let mut pins = 0;
    if matches!(change, Change::Pin { on: true }) {
        // How many there are already, only the read model knows; the one that was just acknowledged counts.
        handle.refresh().await;
        context.projected.wait(handle.topic, &handle.epoch, handle.head()).await?;
        pins = context.store.pins(handle.room_id).await?;
    }
    let found = find(context, handle, mid, user).await?;
    let age = found.age(context.clock.now());
    let around = Around { age, recall_window: context.config.recall_window, pins };
    let (action, kind, command) = command(context, handle, user, &found, &around, change).await?;
    handle.permit(user, action).await?;
    let Some(event) = found.message.decide(command, &around)? else { return Ok(None) };
    let id = EventId::of_change(mid, user, cid, kind);
    Ok(Some(NewEvent::new(Subject::timeline(handle.room_id), id, &Fact::Message(event))))
}

/// What it takes, what the request is called, and what the rules are asked.
async fn command(
    context: &Context,
    handle: &Handle,
    user: UserId,
    found: &Found,
    around: &Around,
    change: Change,
) -> Result<(Action, &'static str, Command), Fault> {
    let by = user;
    Ok(match change {
        Change::Edit { body: text, mentions: mentioned, meta: object, version } => {
            if version.is_some_and(|version| version != found.edited_seq) {
                let detail = format!("its version is {}", found.edited_seq);
                return Err(Fault::from(ErrorCode::MessageChanged).because(detail));
            }
            let meta = meta(object)?;
            let body = body(context, &text, meta.is_some())?;
            let mentions = mentions(handle, user, mentioned, found.message.thread.is_some()).await?;
            (Action::Edit, "edit", Command::Edit { by, body, mentions, meta })
        }
        Change::Recall => (Action::Recall, "recall", Command::Recall { by }),
        Change::Remove { .. } if user == found.message.author && may_recall(handle, user, around) => {
            (Action::Recall, "recall", Command::Recall { by })
        }
        Change::Delete { reason } | Change::Remove { reason } => {
            (Action::DeleteMessage, "delete", Command::Delete { by, reason: reason_of(reason)? })
        }
        Change::React { emoji, on } => {
            let emoji = Emoji::parse(&emoji)
                .map_err(|error| Fault::from(ErrorCode::EmojiInvalid).because(error.to_string()))?;
            (Action::React, if on { "react" } else { "unreact" }, Command::React { by, emoji, on })
        }
        Change::Pin { on } => (Action::Pin, if on { "pin" } else { "unpin" }, Command::Pin { by, on }),
    })
}

/// Whether one's own message can be recalled still, or else not be deleted either.
fn may_recall(handle: &Handle, user: UserId, around: &Around) -> bool {
    around.recall_window.is_none_or(|window| around.age <= window)
        || handle.permits(user, Action::DeleteMessage).is_err()
}

fn reason_of(text: Option<String>) -> Result<Option<Reason>, Fault> {
    let text = text.filter(|text| !text.is_empty());
    let reason = text.map(|text| Reason::parse(&text)).transpose();
    reason.map_err(|error| Fault::from(ErrorCode::RoomTextInvalid).because(error.to_string()))
}
