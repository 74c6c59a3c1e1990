//! An upload of which all has come: it is looked into, and what may be kept is kept.

use std::{
    fs::File,
    io::{Read, Seek as _},
    time::Instant,
};

use futures_util::TryStreamExt as _;
use metrics::{counter, histogram};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use crate::{
    Error, Media, Preview, Refusal, Upload,
    inspect::{self, Looked},
    metrics::{INSPECT_SECONDS, UPLOADS_TOTAL},
    serve::Part,
    storage,
    uploads::kind_name,
};

/// What is kept of an upload.
pub struct Finished {
    pub looked: Looked,
    /// Of the file as it is kept.
    pub size: u64,
    pub hash: Vec<u8>,
    pub previews: Vec<Preview>,
}

impl Media {
    pub(crate) async fn finish(&self, upload: &Upload, writer: Uuid) -> Result<Upload, Error> {
        let pieces = self.pieces(upload.id).await?;
        let whole = self.gather(upload, &pieces).await?;
        let (finished, whole) = self.look(upload, whole).await?;
        let kept = match self.keep(upload, &finished, whole).await {
            Ok(()) => self.complete(upload.id, writer, &finished).await,
            Err(error) => Err(error),
        };
        let leftovers: Vec<_> = if kept.is_ok() {
            pieces.iter().map(|(start, writer)| storage::piece(upload.id, *start, *writer)).collect()
        } else {
            let previews = finished.previews.iter().map(|preview| Part::Preview(preview.side));
            previews.chain([Part::Original]).map(|part| storage::file(upload.id, part)).collect()
        };
        for path in leftovers {
            if let Err(error) = self.storage.remove(&path).await {
                tracing::debug!(%error, %path, "left until the upload is removed");
            }
        }
        if kept.is_ok() {
            counter!(UPLOADS_TOTAL, "kind" => kind_name(finished.looked.kind)).increment(1);
        }
        kept
    }

    /// Puts the pieces together in a file without a name, which goes with this process at the latest.
    async fn gather(&self, upload: &Upload, pieces: &[(u64, Uuid)]) -> Result<File, Error> {
        let dir = &self.config.scratch_dir;
        tokio::fs::create_dir_all(dir).await?;
        let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(dir)?);
        let mut size = 0;
        for (start, writer) in pieces {
            let mut bytes = self.storage.read(&storage::piece(upload.id, *start, *writer), None).await?;
            while let Some(bytes) = bytes.try_next().await? {
                size += bytes.len() as u64;
                file.write_all(&bytes).await?;
            }
        }
        file.flush().await?;
        if size != upload.length {
            return Err(Refusal::Damaged(format!("{size} of {} bytes were kept", upload.length)).into());
        }
        Ok(file.into_std().await)
    }

    /// On a thread of its own, of which there are few: what takes processor time or memory waits here, not in the others'
    /// way.
    async fn look(&self, upload: &Upload, mut file: File) -> Result<(Finished, File), Error> {
        let _turn = self.workers.acquire().await.map_err(std::io::Error::other)?;
        let (limits, declared, purpose) =
            (self.config.limits.clone(), upload.declared.clone(), upload.purpose);
        let looking = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let looked = inspect::look(&mut file, &declared, purpose, &limits)?;
            histogram!(INSPECT_SECONDS, "kind" => kind_name(looked.kind)).record(begun.elapsed());
            Ok::<_, Error>((finished(looked, &mut file)?, file))
        });
        // A panic in a decoder is the file's doing; the message says which.
        looking.await.unwrap_or_else(|panic| {
            tracing::warn!(error = &panic as &dyn std::error::Error, id = %upload.id, "a file could not be looked into");
            Err(Refusal::Damaged("it cannot be read".into()).into())
        })
    }

    /// Writes what is kept where links find it.
    async fn keep(&self, upload: &Upload, finished: &Finished, mut file: File) -> Result<(), Error> {
        let original = storage::file(upload.id, Part::Original);
        if let Some(bytes) = &finished.looked.content {
            self.storage.put(&original, bytes.clone()).await?;
        } else {
            file.rewind()?;
            self.storage.copy(&original, tokio::fs::File::from_std(file)).await?;
        }
        for (preview, bytes) in &finished.looked.previews {
            let path = storage::file(upload.id, Part::Preview(preview.side));
            self.storage.put(&path, bytes.clone()).await?;
        }
        Ok(())
    }
}

fn finished(looked: Looked, file: &mut File) -> Result<Finished, Error> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    if let Some(bytes) = &looked.content {
        hash.update(bytes);
        size = bytes.len() as u64;
    } else {
        file.rewind()?;
        let mut buffer = vec![0; 65_536];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
    }
    let previews = looked.previews.iter().map(|(preview, _)| preview.clone()).collect();
    Ok(Finished { looked, size, hash: hash.finalize().to_vec(), previews })
}
