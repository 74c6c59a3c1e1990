//! Taking a body in: from the connection into the store, with no more in memory than is on its way.
//!
//! Any number of requests bring an upload together, one at a time, over any front: each leaves a *piece*, an object of its
//! own, since an object store has nothing that could be added to. What a broken request has brought is a piece too. The
//! offsets and what a client may rely on are those of the tus protocol, version 1.0.0 (<https://tus.io/protocols/resumable-upload>).

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use metrics::counter;
use natterjack_domain::AttachmentId;
use object_store::path::Path;
use tokio::{
    select,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Error, Media, Refusal, Upload, metrics::BYTES_TOTAL, storage, uploads::WRITER_SECS};

/// What a client sends.
pub type Body = BoxStream<'static, Result<Bytes, Box<dyn StdError + Send + Sync>>>;

/// What becomes of an upload that a request does not bring to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Its client knows no name for it: it is removed.
    Once,
    /// What has come is kept, and the client goes on from there.
    Resumable,
}

impl Media {
    /// Takes in what `body` brings to the upload from `offset` on; the request that makes it whole waits until it was
    /// looked into. `cut` ends it early, as if the client had gone.
    ///
    /// Once begun, it goes on and tidies up after itself, also when the caller has gone.
    pub async fn receive(
        &self,
        upload: Upload,
        offset: u64,
        body: Body,
        course: Course,
        cut: CancellationToken,
    ) -> Result<Upload, Error> {
        let media = self.clone();
        let receiving =
            tokio::spawn(async move { media.receive_here(&upload, offset, body, course, cut).await });
        let received = receiving.await.map_err(|panic| Error::Scratch(std::io::Error::other(panic)))?;
        received.map_err(|error| self.count(error))
    }

    async fn receive_here(
        &self,
        upload: &Upload,
        offset: u64,
        body: Body,
        course: Course,
        cut: CancellationToken,
    ) -> Result<Upload, Error> {
        let (id, writer) = (upload.id, Uuid::new_v4());
        let outcome = match self.bodies.try_acquire() {
            Err(_) => Err(Refusal::Busy.into()),
            Ok(_slot) => {
                self.claim(upload, offset, writer).await?;
                let outcome = select! {
                    outcome = self.go_on(upload, offset, body, course, writer, cut) => outcome,
                    () = self.lost(id, writer) => Err(Refusal::Locked.into()),
                };
                // Who cannot be reached to be told finds out for himself, after a while.
                let _ = self.release(id, writer).await;
                outcome
            }
        };
        match &outcome {
            Err(error) if course == Course::Once || error.is_for_good() => self.drop_upload(id).await,
            Err(_) if matches!(self.upload(id).await, Ok(None)) => {
                // It was given up meanwhile: nothing may come after what was removed.
                let _ = self.storage.remove_all(id).await;
            }
            _ => {}
        }
        outcome
    }

    async fn go_on(
        &self,
        upload: &Upload,
        offset: u64,
        body: Body,
        course: Course,
        writer: Uuid,
        cut: CancellationToken,
    ) -> Result<Upload, Error> {
        let left = upload.length.saturating_sub(offset);
        let path = storage::piece(upload.id, offset, writer);
        let (size, ended) = self.write_piece(&path, body, left, course, &cut).await?;
        if size > 0
            && let Err(error) = self.add_piece(upload.id, writer, offset, size).await
        {
            let _ = self.storage.remove(&path).await;
            return Err(error);
        }
        ended?;
        if size == left {
            return self.finish(upload, writer).await;
        }
        if course == Course::Once {
            return Err(Refusal::Aborted(offset + size).into());
        }
        Ok(Upload { received: offset + size, ..upload.clone() })
    }

    /// Ends when `writer` is not the one writer any more.
    async fn lost(&self, id: AttachmentId, writer: Uuid) {
        loop {
            sleep(Duration::from_secs_f64(WRITER_SECS / 3.0)).await;
            match self.renew(id, writer).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::debug!(%error, "a writer could not say that it still writes"),
            }
        }
    }

    /// Writes up to `left` bytes into an object. Gives how many there are, none of which is lost any more, and why there
    /// are not more.
    async fn write_piece(
        &self,
        path: &Path,
        mut body: Body,
        left: u64,
        course: Course,
        cut: &CancellationToken,
    ) -> Result<(u64, Result<(), Refusal>), Error> {
        let end = Instant::now() + self.config.request_timeout;
        let mut writing = None;
        let mut size = 0;
        let ended = loop {
            let chunk = select! {
                chunk = timeout_at(end.min(Instant::now() + self.config.stall_timeout), body.next()) => chunk,
                () = cut.cancelled() => break Err(Refusal::Cut(size)),
            };
            let bytes = match chunk {
                Err(_) => break Err(Refusal::Slow(size)),
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "an upload broke off");
                    break Err(Refusal::Aborted(size));
                }
                Ok(Some(Ok(bytes))) => bytes,
            };
            let more = bytes.len() as u64;
            if more > left - size {
                let length = size + more;
                break Err(Refusal::TooLarge { what: "what was announced", length, max: left });
            }
            if bytes.is_empty() {
                continue;
            }
            let object = match &mut writing {
                Some(object) => object,
                none => none.insert(self.storage.write(path).await?),
            };
            object.push(bytes).await?;
            counter!(BYTES_TOTAL, "direction" => "in").increment(more);
            size += more;
        };
        let Some(writing) = writing else { return Ok((0, ended)) };
        let useless =
            matches!(ended, Err(Refusal::TooLarge { .. })) || (course == Course::Once && ended.is_err());
        if useless {
            writing.abort().await;
            return Ok((0, ended));
        }
        writing.finish().await?;
        Ok((size, ended))
    }
}

impl Error {
    /// Whether the upload can never become an attachment, whoever goes on with it.
    fn is_for_good(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        matches!(
            refusal,
            Refusal::Type(_) | Refusal::Mismatch { .. } | Refusal::Damaged(_) | Refusal::Pixels { .. }
        ) || matches!(refusal, Refusal::TooLarge { what, .. } if *what != "what was announced")
    }
}
