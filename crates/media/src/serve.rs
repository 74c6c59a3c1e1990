//! Giving files out.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use metrics::counter;
use natterjack_domain::AttachmentId;

use crate::{Error, Media, Refusal, metrics::BYTES_TOTAL, storage};

/// The file itself, or a smaller picture of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Original,
    /// By its longest side, in pixels.
    Preview(u16),
}

impl Part {
    pub(crate) const fn side(self) -> u16 {
        match self {
            Self::Original => 0,
            Self::Preview(side) => side,
        }
    }

    pub(crate) const fn of_side(side: u16) -> Self {
        if side == 0 { Self::Original } else { Self::Preview(side) }
    }
}

/// A file that can be given out.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: AttachmentId,
    pub part: Part,
    pub name: String,
    pub mime: String,
    pub size: u64,
    /// The same as long as its bytes are: to be put in quotes.
    pub tag: String,
}

impl Media {
    /// What a link names.
    pub async fn find(&self, id: AttachmentId, part: Part) -> Result<Found, Error> {
        let upload = self.upload(id).await?.ok_or(Refusal::NotFound)?;
        let whole = upload.whole.ok_or(Refusal::NotFound)?;
        let tag = match part {
            Part::Original => whole.tag.clone(),
            Part::Preview(side) => format!("{}-{side}", whole.tag),
        };
        let (mime, size) = match part {
            Part::Original => (whole.attachment.mime, whole.attachment.size),
            Part::Preview(side) => {
                let preview = whole.previews.into_iter().find(|preview| preview.side == side);
                let preview = preview.ok_or(Refusal::NotFound)?;
                (preview.mime, preview.size)
            }
        };
        Ok(Found { id, part, name: upload.name, mime, size, tag })
    }

    /// The bytes of a file, or some of them.
    pub async fn read(
        &self,
        found: &Found,
        range: Option<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let bytes = self.storage.read(&storage::file(found.id, found.part), range).await?;
        let counted = bytes.inspect_ok(|bytes| {
            counter!(BYTES_TOTAL, "direction" => "out").increment(bytes.len() as u64);
        });
        Ok(counted.map_err(Error::from).boxed())
    }
}
