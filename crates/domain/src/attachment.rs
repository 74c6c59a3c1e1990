//! A file that a message bears, as the message tells of it.

use serde::{Deserialize, Serialize};

use crate::ids::AttachmentId;

/// Most attachments of a message.
pub const ATTACHMENTS_MAX: usize = 10;
/// Longest file name, in characters.
pub const NAME_MAX_CHARS: usize = 255;
/// Longest media type (RFC 6838), in bytes.
pub const MIME_MAX_BYTES: usize = 127;
/// Most steps of a waveform.
pub const WAVEFORM_MAX_STEPS: usize = 128;
/// Longest placeholder of an image, in bytes.
pub const BLUR_MAX_BYTES: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum AttachmentKind {
    Image,
    Audio,
    Video,
    /// A voice message.
    Voice,
    File,
}

/// Plain values, filled in by the server once, when the message is sent: they are the same for ever after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema), ts(optional_fields))]
pub struct Attachment {
    pub id: AttachmentId,
    pub kind: AttachmentKind,
    /// The file's name, without a path.
    pub name: String,
    /// Its media type, by its content.
    pub mime: String,
    /// In bytes.
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub size: u64,
    /// In pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub duration_ms: Option<u64>,
    /// How loud it is, in equal steps of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Vec<u8>>"))]
    pub waveform: Vec<u8>,
    /// What to show until the image is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blur: Option<String>,
}

impl Attachment {
    /// Whether it keeps the limits.
    pub fn is_valid(&self) -> bool {
        let is_name = !self.name.is_empty()
            && self.name.chars().count() <= NAME_MAX_CHARS
            && !self.name.contains(|c: char| c.is_control() || c == '/' || c == '\\');
        let is_mime = !self.mime.is_empty()
            && self.mime.len() <= MIME_MAX_BYTES
            && self.mime.bytes().all(|b| b.is_ascii_graphic());
        is_name
            && is_mime
            && self.waveform.len() <= WAVEFORM_MAX_STEPS
            && self.blur.as_ref().is_none_or(|blur| blur.len() <= BLUR_MAX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_limits() {
        let good = Attachment {
            id: AttachmentId::random(),
            kind: AttachmentKind::Voice,
            name: "的".repeat(NAME_MAX_CHARS),
            mime: "audio/ogg".into(),
            size: 1,
            width: None,
            height: None,
            duration_ms: Some(1_500),
            waveform: vec![7; WAVEFORM_MAX_STEPS],
            blur: Some("x".repeat(BLUR_MAX_BYTES)),
        };
        assert!(good.is_valid());
        for bad in [
            Attachment { name: String::new(), ..good.clone() },
            Attachment { name: "../x".into(), ..good.clone() },
            Attachment { name: "a\nb".into(), ..good.clone() },
            Attachment { name: "x".repeat(NAME_MAX_CHARS + 1), ..good.clone() },
            Attachment { mime: "audio ogg".into(), ..good.clone() },
            Attachment { mime: String::new(), ..good.clone() },
            Attachment { waveform: vec![0; WAVEFORM_MAX_STEPS + 1], ..good.clone() },
            Attachment { blur: Some("x".repeat(BLUR_MAX_BYTES + 1)), ..good.clone() },
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
