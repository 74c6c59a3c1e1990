//! Removing what belongs to no message.

use metrics::counter;
use natterjack_domain::AttachmentId;
use tokio::{select, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{Error, Media, metrics::COLLECTED_TOTAL};

/// The advisory lock of the front that collects ("njmedia ").
const LOCK: i64 = 0x6e6a_6d65_6469_6120;
/// Uploads removed before it is looked for more.
const BATCH: i64 = 100;

impl Media {
    /// Collects now and then until `stop`; of all fronts, one at a time.
    pub async fn collect_until(self, stop: CancellationToken) {
        let mut every = interval(self.config.collect_period);
        loop {
            select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            match self.collect().await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed uploads that no message has"),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "uploads that no message has stay for now"
                    );
                }
            }
        }
    }

    /// Removes uploads that nobody has touched for [`crate::Config::orphan_age`] and no message has: never finished, never sent,
    /// or sent in messages that were all taken back. Gives how many there were; none while another front collects.
    pub async fn collect(&self) -> Result<u64, Error> {
        let client = self.pool.get().await?;
        if !client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.get::<_, bool>(0) {
            return Ok(0);
        }
        let collected = self.collect_alone().await;
        // The lock would stay with the pooled connection.
        client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
        collected
    }

    async fn collect_alone(&self) -> Result<u64, Error> {
        let age = self.config.orphan_age.as_secs_f64();
        // Taken back, as the read model knows: what it does not know is left alone.
        let sql = "DELETE FROM media.uses x USING read.messages m
                   WHERE m.room = x.room AND m.mid = x.message AND m.recalled_seq IS NOT NULL
                     AND x.used_at < now() - make_interval(secs => $1)";
        self.query(async |c| Ok(c.execute(sql, &[&age]).await?)).await?;
        let mark = "UPDATE media.uploads SET removed_at = now() WHERE id IN (
                        SELECT id FROM media.uploads u WHERE removed_at IS NULL
                          AND touched_at < now() - make_interval(secs => $1)
                          AND (writer_until IS NULL OR writer_until < now())
                          AND NOT EXISTS (SELECT FROM media.uses WHERE upload = u.id)
                        ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let marked = "SELECT id FROM media.uploads WHERE removed_at < now() - interval '1 minute' OR (removed_at IS NOT NULL
                      AND touched_at < now() - make_interval(secs => $1)) LIMIT $2";
        let mut collected = 0;
        loop {
            self.query(async |c| Ok(c.execute(mark, &[&age, &BATCH]).await?)).await?;
            let rows = self.query(async |c| Ok(c.query(marked, &[&age, &BATCH]).await?)).await?;
            if rows.is_empty() {
                return Ok(collected);
            }
            for row in rows {
                self.erase(AttachmentId::from_uuid(row.get(0))).await?;
                counter!(COLLECTED_TOTAL).increment(1);
                collected += 1;
            }
        }
    }
}
