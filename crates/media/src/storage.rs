//! Files by name: one place for all, in a directory or behind S3.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use natterjack_domain::AttachmentId;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, WriteMultipart, local::LocalFileSystem,
    memory::InMemory, path::Path,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use uuid::Uuid;

use crate::{Config, StoreConfig, s3, serve::Part};

/// What a writer holds before it hands it on. S3 takes no smaller parts.
const S3_CHUNK_BYTES: usize = 5 * 1_048_576;
const FILE_CHUNK_BYTES: usize = 512 * 1_024;
/// Chunks handed on and not written yet: with the one that is being filled, what a body may hold in memory.
const CHUNKS_WAITING: usize = 2;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    chunk_bytes: usize,
    /// Where there are directories to be tidied as well.
    dir: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the directory {} cannot be made", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    #[error("the object store cannot be used")]
    Store(#[from] object_store::Error),
}

/// An object that is being written. Dropped unfinished, it never was; behind S3, the store's own rule for unfinished
/// uploads removes what it holds.
pub struct Writing {
    inner: WriteMultipart,
}

impl Storage {
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        match &config.store {
            StoreConfig::S3(s3) => Ok(Self::new(Arc::new(s3::open(s3)?), S3_CHUNK_BYTES, None)),
            StoreConfig::Directory(dir) => {
                let made = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
                let dir = made.map_err(|error| OpenError::Directory(dir.clone(), error))?;
                let store = LocalFileSystem::new_with_prefix(&dir)?.with_fsync(true);
                Ok(Self::new(Arc::new(store), FILE_CHUNK_BYTES, Some(dir)))
            }
        }
    }

    /// Nothing outlives the process; for tests.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// Over any store; for tests.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self::new(store, FILE_CHUNK_BYTES, None)
    }

    fn new(store: Arc<dyn ObjectStore>, chunk_bytes: usize, dir: Option<PathBuf>) -> Self {
        Self { store, chunk_bytes, dir }
    }

    pub async fn write(&self, path: &Path) -> object_store::Result<Writing> {
        let upload = self.store.put_multipart(path).await?;
        Ok(Writing { inner: WriteMultipart::new_with_chunk_size(upload, self.chunk_bytes) })
    }

    pub async fn put(&self, path: &Path, bytes: Vec<u8>) -> object_store::Result<()> {
        self.store.put(path, bytes.into()).await.map(|_| ())
    }

    /// Copies everything that `from` gives.
    pub async fn copy(&self, path: &Path, mut from: impl AsyncRead + Unpin) -> Result<(), crate::Error> {
        let mut writing = self.write(path).await?;
        let mut buffer = vec![0; 65_536];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(writing.finish().await?);
            }
            writing.push(Bytes::copy_from_slice(&buffer[..read])).await?;
        }
    }

    /// The bytes of an object, or of a range of it (`end` left out).
    pub async fn read(
        &self,
        path: &Path,
        range: Option<std::ops::Range<u64>>,
    ) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        Ok(self.store.get_opts(path, options).await?.into_stream())
    }

    pub async fn remove(&self, path: &Path) -> object_store::Result<()> {
        match self.store.delete(path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }

    /// Removes everything of an upload. Repeating it is harmless.
    pub async fn remove_all(&self, id: AttachmentId) -> Result<(), crate::Error> {
        let root = root(id);
        let found: Vec<_> =
            self.store.list(Some(&root)).map_ok(|object| object.location).try_collect().await?;
        let mut removed =
            futures_util::stream::iter(found).map(|path| async move { self.remove(&path).await }).buffered(4);
        while let Some(removed) = removed.next().await {
            removed?;
        }
        if let Some(dir) = &self.dir {
            // Also what a process that was killed had begun to write.
            match tokio::fs::remove_dir_all(dir.join(root.as_ref())).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Writing {
    /// Waits while too much is on its way to the store.
    pub async fn push(&mut self, bytes: Bytes) -> object_store::Result<()> {
        self.inner.wait_for_capacity(CHUNKS_WAITING).await?;
        self.inner.put(bytes);
        Ok(())
    }

    /// From here on it is there, whole.
    pub async fn finish(self) -> object_store::Result<()> {
        self.inner.finish().await.map(|_| ())
    }

    pub async fn abort(self) {
        if let Err(error) = self.inner.abort().await {
            tracing::debug!(%error, "an unfinished object is left to the store");
        }
    }
}

/// In 256 directories, by the bits of the id that are random.
fn root(id: AttachmentId) -> Path {
    Path::from(format!("{:02x}/{id}", id.as_uuid().as_bytes()[15]))
}

/// Each writer has a name of its own: two of them never write to one object, whatever else goes wrong.
pub fn piece(id: AttachmentId, start: u64, writer: Uuid) -> Path {
    root(id).join(format!("piece-{start}-{writer}"))
}

pub fn file(id: AttachmentId, part: Part) -> Path {
    match part {
        Part::Original => root(id).join("original"),
        Part::Preview(side) => root(id).join(format!("preview-{side}")),
    }
}
