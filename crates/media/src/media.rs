use std::sync::Arc;

use metrics::counter;
use natterjack_database::Pool;
use natterjack_domain::{AttachmentId, UserId};
use tokio::sync::Semaphore;

use crate::{Config, Error, Links, Refusal, Storage, metrics::REFUSED_TOTAL};

/// Attachments of an installation, as one front sees them. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    pub(crate) config: Arc<Config>,
    pub(crate) pool: Pool,
    pub(crate) storage: Storage,
    pub links: Links,
    /// Threads that look into files.
    pub(crate) workers: Arc<Semaphore>,
    /// Bodies that come in.
    pub(crate) bodies: Arc<Semaphore>,
}

impl Media {
    pub fn new(config: Config, pool: Pool, storage: Storage, links: Links) -> Self {
        let (workers, bodies) = (Semaphore::new(config.workers), Semaphore::new(config.bodies));
        Self {
            config: Arc::new(config),
            pool,
            storage,
            links,
            workers: Arc::new(workers),
            bodies: Arc::new(bodies),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives up an upload of one's own that stands in no message. Giving up what is gone is no error.
    pub async fn discard(&self, owner: UserId, id: AttachmentId) -> Result<(), Error> {
        let sql = "UPDATE media.uploads u SET removed_at = coalesce(removed_at, now())
                   WHERE id = $1 AND owner = $2 AND NOT EXISTS (SELECT FROM media.uses WHERE upload = u.id)";
        let marked =
            self.query(async |c| Ok(c.execute(sql, &[id.as_uuid(), owner.as_uuid()]).await?)).await?;
        if marked == 0 {
            // Sent, or somebody else's, or never there: there is nothing to be given up.
            return Err(Refusal::NotFound.into());
        }
        self.erase(id).await
    }

    /// Removes an upload that came to nothing. What cannot be removed now is left to the collection.
    pub(crate) async fn drop_upload(&self, id: AttachmentId) {
        let sql = "UPDATE media.uploads SET removed_at = now() WHERE id = $1";
        let marked = self.query(async |c| Ok(c.execute(sql, &[id.as_uuid()]).await?)).await;
        let erased = match marked {
            Ok(_) => self.erase(id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = erased {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, %id, "a failed upload is left to the collection");
        }
    }

    /// Removes the files of an upload that is marked as removed, then its row.
    pub(crate) async fn erase(&self, id: AttachmentId) -> Result<(), Error> {
        self.storage.remove_all(id).await?;
        let sql = "DELETE FROM media.uploads WHERE id = $1 AND removed_at IS NOT NULL";
        self.query(async |c| Ok(c.execute(sql, &[id.as_uuid()]).await?)).await.map(|_| ())
    }

    pub(crate) fn refuse(&self, refusal: Refusal) -> Error {
        self.count(refusal.into())
    }

    /// Counts a refusal on its way out.
    #[expect(clippy::unused_self, reason = "reads well where it is called")]
    pub(crate) fn count(&self, error: Error) -> Error {
        if let Error::Refused(refusal) = &error {
            counter!(REFUSED_TOTAL, "reason" => refusal.name()).increment(1);
        }
        error
    }
}
