//! Finding a message before it is changed.

use natterjack_domain::{MessageId, RoomId, message::Message};
use natterjack_wire::ErrorCode;

use crate::{fault::Fault, hub::Handle, ws::Context};

/// The message as the log has it: from the room's tail in memory, else from the read model and what the tail knows
/// of later changes. The read model is waited for where it has not come up to the tail yet.
pub async fn find(
    context: &Context,
    handle: &Handle,
    room: RoomId,
    mid: MessageId,
) -> Result<Message, Fault> {
    let recent = handle.recent(mid).await.ok_or(ErrorCode::Busy)?;
    let mut message = if let Some(message) = recent.posted {
        message
    } else {
        context.projected.wait(handle.topic, &handle.epoch, recent.complete_after).await?;
        context.store.message(room, mid).await?.ok_or(ErrorCode::MessageNotFound)?
    };
    for change in &recent.changes {
        message.apply(change);
    }
    Ok(message)
}
