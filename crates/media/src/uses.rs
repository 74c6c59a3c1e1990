//! In which messages an upload stands, and so who may see it.

use natterjack_domain::{AttachmentId, MessageId, RoomId, UserId, attachment::Attachment};
use uuid::Uuid;

use crate::{
    Error, Media, Refusal, Upload,
    uploads::{self, Whole},
};

/// Touched, so that a collection that looks at the same moment finds it changed and leaves it; in one order, so that two do not
/// wait for each other.
const TOUCH: &str = "WITH locked AS (SELECT id FROM media.uploads WHERE id = ANY($1) AND removed_at IS NULL ORDER BY id FOR UPDATE)
     UPDATE media.uploads u SET touched_at = now() FROM locked WHERE u.id = locked.id RETURNING u.*";

impl Media {
    /// Puts uploads of `owner`, made for `room`, into a message of that room, in the given order. Repeating it is
    /// harmless. From here on members see them.
    pub async fn take(
        &self,
        owner: UserId,
        room: RoomId,
        message: MessageId,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attachment>, Error> {
        let own = |upload: &Upload| upload.owner == owner && upload.room == room;
        self.put(room, message, ids, own).await
    }

    /// Puts what stands in a message of `from` into one of `room` as well. Who asks may read both.
    pub async fn forward(
        &self,
        from: RoomId,
        room: RoomId,
        message: MessageId,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attachment>, Error> {
        let wanted = uuids(ids);
        let sql = "SELECT DISTINCT upload FROM media.uses WHERE upload = ANY($1) AND room = $2";
        let rows = self.query(async |c| Ok(c.query(sql, &[&wanted, from.as_uuid()]).await?)).await?;
        let there: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        self.put(room, message, ids, |upload| there.contains(upload.id.as_uuid())).await
    }

    async fn put(
        &self,
        room: RoomId,
        message: MessageId,
        ids: &[AttachmentId],
        may: impl Fn(&Upload) -> bool,
    ) -> Result<Vec<Attachment>, Error> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let wanted = uuids(ids);
        let work = async {
            let mut client = self.pool.get().await?;
            let work = client.transaction().await?;
            let found: Vec<Upload> =
                work.query(TOUCH, &[&wanted]).await?.iter().map(uploads::upload).collect();
            let mut taken: Vec<Attachment> = Vec::with_capacity(ids.len());
            for id in ids {
                let upload = found.iter().find(|upload| upload.id == *id && may(upload));
                let upload = upload.ok_or(Refusal::Foreign(*id))?;
                let whole = upload.whole.as_ref().ok_or(Refusal::Unfinished)?;
                if taken.iter().all(|attachment| attachment.id != *id) {
                    taken.push(whole.attachment.clone());
                }
            }
            let sql = "INSERT INTO media.uses (upload, room, message) SELECT DISTINCT id, $2::uuid, $3::uuid
                       FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING";
            work.execute(sql, &[&wanted, room.as_uuid(), message.as_uuid()]).await?;
            work.commit().await?;
            Ok(taken)
        };
        self.pool.bounded(work).await
    }

    /// What somebody who may read in `room` may have of it: it stands in a message there that was not taken back, or is
    /// their own and unsent.
    pub async fn readable(&self, room: RoomId, user: UserId, id: AttachmentId) -> Result<Whole, Error> {
        // Messages that the read model does not know yet are new.
        let sql = "SELECT * FROM media.uploads u WHERE id = $1 AND removed_at IS NULL AND completed_at IS NOT NULL AND (
                       EXISTS (SELECT FROM media.uses x LEFT JOIN read.messages m ON m.room = x.room AND m.mid = x.message
                               WHERE x.upload = u.id AND x.room = $2 AND m.recalled_seq IS NULL)
                       OR owner = $3 AND room = $2 AND NOT EXISTS (SELECT FROM media.uses WHERE upload = u.id))";
        let find = async |c: natterjack_database::Connection| {
            Ok(c.query_opt(sql, &[id.as_uuid(), room.as_uuid(), user.as_uuid()]).await?)
        };
        let found = self.query(find).await?.and_then(|row| uploads::upload(&row).whole);
        Ok(found.ok_or(Refusal::NotFound)?)
    }
}

fn uuids(ids: &[AttachmentId]) -> Vec<Uuid> {
    ids.iter().map(|id| *id.as_uuid()).collect()
}
