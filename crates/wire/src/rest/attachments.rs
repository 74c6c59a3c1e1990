use natterjack_domain::{AttachmentId, RoomId, attachment::Attachment};
use serde::Serialize;
use utoipa::ToSchema;

/// How far an upload is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadState {
    pub id: AttachmentId,
    pub room: RoomId,
    pub name: String,
    /// Bytes had: where the next request goes on.
    pub offset: u64,
    /// Bytes of all of it.
    pub length: u64,
    /// When it is removed, unless more comes or a message has it; seconds since 1970.
    pub expires: i64,
    /// Once all has come and was looked at: what can be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

/// Where an attachment can be had for a few minutes, without an access token.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttachmentLinks {
    pub attachment: Attachment,
    /// A path on any front.
    pub url: String,
    /// Smaller pictures of an image, from small to large.
    pub previews: Vec<PreviewLink>,
    pub expires_in_secs: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewLink {
    pub width: u32,
    pub height: u32,
    pub mime: String,
    pub size: u64,
    pub url: String,
}
