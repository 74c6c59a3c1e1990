//! Files that a message bears.

use natterjack_domain::{
    AttachmentId, MessageId, RoomId, UserId,
    attachment::{ATTACHMENTS_MAX, Attachment},
};
use natterjack_wire::ErrorCode;

use crate::{fault::Fault, ws::Context};

/// What `user` has uploaded for `room` as `ids`, to be borne by `message`, in that order. From here on members of the room
/// may have it, though the message is not stored yet: they cannot know of it before. Repeating it is harmless.
pub async fn take(
    context: &Context,
    room: RoomId,
    user: UserId,
    message: MessageId,
    ids: &[AttachmentId],
) -> Result<Vec<Attachment>, Fault> {
    if ids.len() > ATTACHMENTS_MAX {
        let detail = format!("{} attachments; at most {ATTACHMENTS_MAX}", ids.len());
        return Err(Fault::from(ErrorCode::TooManyAttachments).because(detail));
    }
    if ids.is_empty() {
        return Ok(vec![]);
    }
    Ok(context.media.take(user, room, message, ids).await?)
}

/// Lets members of `room` have what a message of `from` bears, since `message` repeats it there.
pub async fn forward(
    context: &Context,
    from: RoomId,
    room: RoomId,
    message: MessageId,
    attachments: &[Attachment],
) -> Result<(), Fault> {
    if !attachments.is_empty() {
        let ids: Vec<AttachmentId> = attachments.iter().map(|attachment| attachment.id).collect();
        context.media.forward(from, room, message, &ids).await?;
    }
    Ok(())
}
