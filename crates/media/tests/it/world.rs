//! One test's database and store.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use natterjack_database::{Client, Role, pool};
use natterjack_domain::{FileName, RoomId, UserId};
use natterjack_media::{Body, Config, Course, Error, Links, Media, NewUpload, Purpose, Storage, Upload};
use natterjack_runtime::config::Reader;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio_util::sync::CancellationToken;

use crate::postgres::Server;

pub struct World {
    server: Arc<Server>,
    database: String,
    pub store: Arc<Store>,
    pub media: Media,
    pub owner: UserId,
    pub room: RoomId,
}

impl World {
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        let server = Server::shared().await;
        let database = server.migrated_database().await;
        let store = Arc::new(Store::default());
        let config = Config::read(&mut Reader::from_pairs(settings.iter().copied()));
        // Many tests share a machine.
        let patience = Duration::from_secs(10);
        let role = server.role(Role::Front, &database);
        let pool = pool(&natterjack_database::Config {
            acquire_timeout: patience,
            connect_timeout: patience,
            ..role
        });
        let media = Media::new(config, pool, Storage::over(store.clone()), Links::new([[1; 32]]));
        Self { server, database, store, media, owner: UserId::random(), room: RoomId::random() }
    }

    pub async fn admin(&self) -> Client {
        let config = self.server.config(&self.database);
        let patient = natterjack_database::Config { connect_timeout: Duration::from_secs(10), ..config };
        natterjack_database::connect(&patient).await.unwrap()
    }

    pub async fn create(&self, length: u64) -> std::result::Result<Upload, Error> {
        let (owner, room) = (self.owner, self.room);
        let name = FileName::parse("a.txt").unwrap();
        self.media
            .create(NewUpload {
                owner,
                room,
                name,
                declared: String::new(),
                purpose: Purpose::Message,
                length,
            })
            .await
    }

    pub async fn send(
        &self,
        upload: &Upload,
        offset: u64,
        text: &str,
        course: Course,
    ) -> std::result::Result<Upload, Error> {
        self.media.receive(upload.clone(), offset, body(text), course, CancellationToken::new()).await
    }

    /// A whole upload.
    pub async fn whole(&self) -> Upload {
        let upload = self.create(5).await.unwrap();
        self.send(&upload, 0, "words", Course::Once).await.unwrap()
    }

    pub async fn rows(&self) -> i64 {
        self.admin().await.query_one("SELECT count(*) FROM media.uploads", &[]).await.unwrap().get(0)
    }

    pub async fn objects(&self) -> usize {
        self.store.memory.list(None).try_collect::<Vec<_>>().await.unwrap().len()
    }

    pub async fn assert_nothing_left(&self) {
        assert_eq!((self.rows().await, self.objects().await), (0, 0));
    }
}

pub fn body(text: &str) -> Body {
    stream::iter([Ok(Bytes::from(text.to_owned()))]).boxed()
}

/// In memory, and full when told so.
#[derive(Debug, Default)]
pub struct Store {
    pub memory: InMemory,
    pub full: AtomicBool,
}

impl Store {
    fn room(&self) -> Result<()> {
        if self.full.load(Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
            return Err(object_store::Error::Generic { store: "test", source });
        }
        Ok(())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.room()?;
        self.memory.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.room()?;
        self.memory.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.memory.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}
