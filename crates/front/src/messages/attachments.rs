//! Files that a message bears.

use natterjack_domain::{
    AttachmentId, RoomId, UserId,
    attachment::{ATTACHMENTS_MAX, Attachment},
};
use natterjack_wire::ErrorCode;

use crate::{fault::Fault, ws::Context};

/// What `user` has uploaded as `ids`, to be borne by a message in `room`, in that order.
#[expect(clippy::unused_async, reason = "whoever keeps files has to be asked")]
pub async fn take(
    _context: &Context,
    _room: RoomId,
    _user: UserId,
    ids: &[AttachmentId],
) -> Result<Vec<Attachment>, Fault> {
    if ids.len() > ATTACHMENTS_MAX {
        let detail = format!("{} attachments; at most {ATTACHMENTS_MAX}", ids.len());
        return Err(Fault::from(ErrorCode::TooManyAttachments).because(detail));
    }
    match ids.first() {
        None => Ok(vec![]),
        Some(id) => Err(Fault::from(ErrorCode::AttachmentNotFound).because(id.to_string())),
    }
}
