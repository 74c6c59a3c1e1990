//! The table of uploads.

use natterjack_database::Connection;
use natterjack_domain::{
    AttachmentId, FileName, RoomId, UserId,
    attachment::{Attachment, AttachmentKind},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use crate::{Error, Media, Refusal, finish::Finished};

/// Who writes says so every third of this time; another may take over after all of it.
pub const WRITER_SECS: f64 = 30.0;

#[derive(Debug, Clone)]
pub struct NewUpload {
    pub owner: UserId,
    pub room: RoomId,
    pub name: FileName,
    /// The media type that the client gives; empty when it does not know.
    pub declared: String,
    pub purpose: Purpose,
    /// Bytes.
    pub length: u64,
}

/// What an upload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Message,
    /// Recorded sound, shown as a voice message.
    Voice,
}

#[derive(Debug, Clone)]
pub struct Upload {
    pub id: AttachmentId,
    pub owner: UserId,
    pub room: RoomId,
    pub name: String,
    pub declared: String,
    pub purpose: Purpose,
    pub length: u64,
    pub received: u64,
    /// The last time that bytes came.
    pub touched_at: OffsetDateTime,
    /// Once everything was had and looked at.
    pub whole: Option<Whole>,
}

#[derive(Debug, Clone)]
pub struct Whole {
    pub attachment: Attachment,
    pub previews: Vec<Preview>,
    /// The same as long as its bytes are.
    pub tag: String,
}

/// A smaller picture of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Its longest side may have so many pixels; its name.
    pub side: u16,
    pub width: u32,
    pub height: u32,
    pub mime: String,
    pub size: u64,
}

impl Purpose {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Voice => "voice",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Message, Self::Voice].into_iter().find(|purpose| purpose.name() == name)
    }
}

const COLUMNS: &str = "id, owner, room, name, declared, purpose, length, received, touched_at, completed_at, kind, \
     mime, size, hash, width, height, duration_ms, waveform, blur, previews";

impl Media {
    /// Makes room for an upload. Its bytes count for the quota from here on.
    pub async fn create(&self, new: NewUpload) -> Result<Upload, Error> {
        let limits = &self.config.limits;
        if new.length == 0 {
            return Err(self.refuse(Refusal::Empty));
        }
        let (what, max) = limits.of_declared(&new.declared);
        if new.length > max {
            return Err(self.refuse(Refusal::TooLarge { what, length: new.length, max }));
        }
        let inserted = self.pool.bounded(self.insert(&new)).await;
        inserted.map_err(|error| self.count(error))
    }

    async fn insert(&self, new: &NewUpload) -> Result<Upload, Error> {
        let limits = &self.config.limits;
        let (id, owner) = (AttachmentId::random(), *new.owner.as_uuid());
        let mut client = self.pool.get().await?;
        let work = client.transaction().await?;
        // One after the other for each person, so that together they keep to the quota.
        work.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('media ' || $1::uuid::text, 0))",
            &[&owner],
        )
        .await?;
        let sql = "SELECT coalesce(sum(coalesce(size, length)), 0)::bigint, count(*) FILTER (WHERE completed_at IS NULL)
                   FROM media.uploads WHERE owner = $1";
        let row = work.query_one(sql, &[&owner]).await?;
        let (used, open) = (row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs());
        if used.saturating_add(new.length) > limits.quota_bytes {
            return Err(Refusal::Quota { used, quota: limits.quota_bytes }.into());
        }
        if open >= u64::from(limits.open_max) {
            return Err(Refusal::Open(limits.open_max).into());
        }
        let sql = format!(
            "INSERT INTO media.uploads (id, owner, room, purpose, name, declared, length)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"
        );
        let (room, length) = (*new.room.as_uuid(), signed(new.length));
        let row = work
            .query_one(
                &sql,
                &[
                    id.as_uuid(),
                    &owner,
                    &room,
                    &new.purpose.name(),
                    &new.name.as_str(),
                    &new.declared,
                    &length,
                ],
            )
            .await?;
        work.commit().await?;
        Ok(upload(&row))
    }

    /// An upload that is not being removed.
    pub async fn upload(&self, id: AttachmentId) -> Result<Option<Upload>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM media.uploads WHERE id = $1 AND removed_at IS NULL");
        let row = self.query(async |c| Ok(c.query_opt(&sql, &[id.as_uuid()]).await?)).await?;
        Ok(row.as_ref().map(upload))
    }

    /// An upload of `owner`'s.
    pub async fn upload_of(&self, owner: UserId, id: AttachmentId) -> Result<Upload, Error> {
        let found = self.upload(id).await?.filter(|upload| upload.owner == owner);
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// Takes the place of the one writer, at `offset`.
    pub(crate) async fn claim(&self, upload: &Upload, offset: u64, writer: Uuid) -> Result<(), Error> {
        let sql = "UPDATE media.uploads SET writer = $3, writer_until = now() + make_interval(secs => $4)
                   WHERE id = $1 AND received = $2 AND completed_at IS NULL AND removed_at IS NULL
                     AND (writer IS NULL OR writer_until < now())";
        let id = upload.id.as_uuid();
        let claim =
            async |c: Connection| Ok(c.execute(sql, &[id, &signed(offset), &writer, &WRITER_SECS]).await?);
        if self.query(claim).await? == 1 {
            return Ok(());
        }
        let now = self.upload(upload.id).await?.ok_or(Refusal::NotFound)?;
        if now.received != offset || now.whole.is_some() {
            return Err(Refusal::Offset(now.received).into());
        }
        Err(Refusal::Locked.into())
    }

    /// Whether `writer` is the one writer still, for as long again.
    pub(crate) async fn renew(&self, id: AttachmentId, writer: Uuid) -> Result<bool, Error> {
        let sql =
            "UPDATE media.uploads SET writer_until = now() + make_interval(secs => $3), touched_at = now()
                   WHERE id = $1 AND writer = $2 AND removed_at IS NULL";
        let renew = async |c: Connection| Ok(c.execute(sql, &[id.as_uuid(), &writer, &WRITER_SECS]).await?);
        Ok(self.query(renew).await? == 1)
    }

    pub(crate) async fn release(&self, id: AttachmentId, writer: Uuid) -> Result<(), Error> {
        let sql = "UPDATE media.uploads SET writer = NULL, writer_until = NULL WHERE id = $1 AND writer = $2";
        self.query(async |c| Ok(c.execute(sql, &[id.as_uuid(), &writer]).await?)).await.map(|_| ())
    }

    /// Notes a piece that lies in the store. It goes on where the piece ends.
    pub(crate) async fn add_piece(
        &self,
        id: AttachmentId,
        writer: Uuid,
        start: u64,
        size: u64,
    ) -> Result<(), Error> {
        let sql = "WITH moved AS (UPDATE media.uploads SET received = received + $4, touched_at = now()
                       WHERE id = $1 AND writer = $2 AND received = $3 AND removed_at IS NULL RETURNING id)
                   INSERT INTO media.pieces (upload, start, size, writer) SELECT id, $3, $4, $2 FROM moved";
        let add = async |c: Connection| {
            Ok(c.execute(sql, &[id.as_uuid(), &writer, &signed(start), &signed(size)]).await?)
        };
        if self.query(add).await? == 1 { Ok(()) } else { Err(Refusal::Locked.into()) }
    }

    /// The pieces in their order: where they begin and who wrote them.
    pub(crate) async fn pieces(&self, id: AttachmentId) -> Result<Vec<(u64, Uuid)>, Error> {
        let sql = "SELECT start, writer FROM media.pieces WHERE upload = $1 ORDER BY start";
        let rows = self.query(async |c| Ok(c.query(sql, &[id.as_uuid()]).await?)).await?;
        Ok(rows.iter().map(|row| (unsigned(row, 0), row.get(1))).collect())
    }

    /// From here on it can be sent. Its pieces are forgotten.
    pub(crate) async fn complete(
        &self,
        id: AttachmentId,
        writer: Uuid,
        done: &Finished,
    ) -> Result<Upload, Error> {
        let sql = format!(
            "WITH gone AS (DELETE FROM media.pieces WHERE upload = $1)
             UPDATE media.uploads SET completed_at = now(), touched_at = now(), writer = NULL, writer_until = NULL,
                 kind = $3, mime = $4, size = $5, hash = $6, width = $7, height = $8, duration_ms = $9, waveform = $10,
                 blur = $11, previews = $12
             WHERE id = $1 AND writer = $2 AND removed_at IS NULL RETURNING {COLUMNS}"
        );
        let pixels = |number: Option<u32>| number.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let looked = &done.looked;
        let row = self
            .query(async |c| {
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
                    id.as_uuid(),
                    &writer,
                    &kind_name(looked.kind),
                    &looked.mime,
                    &signed(done.size),
                    &done.hash,
                    &pixels(looked.width),
                    &pixels(looked.height),
                    &looked.duration_ms.map(signed),
                    &looked.waveform,
                    &looked.blur,
                    &Json(&done.previews),
                ];
                Ok(c.query_opt(&sql, &values).await?)
            })
            .await?;
        Ok(row.as_ref().map(upload).ok_or(Refusal::NotFound)?)
    }

    pub(crate) async fn query<T>(
        &self,
        query: impl AsyncFnOnce(Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.pool.bounded(async { query(self.pool.get().await?).await }).await
    }
}

pub(crate) fn upload(row: &Row) -> Upload {
    let name: String = row.get("name");
    let id = AttachmentId::from_uuid(row.get("id"));
    let whole = row.get::<_, Option<OffsetDateTime>>("completed_at").map(|_| {
        let number = |column| row.get::<_, Option<i32>>(column).map(i32::unsigned_abs);
        let kind = kind_of_name(row.get("kind"));
        let attachment = Attachment {
            id,
            kind,
            name: name.clone(),
            mime: row.get("mime"),
            size: unsigned(row, "size"),
            width: number("width"),
            height: number("height"),
            duration_ms: row.get::<_, Option<i64>>("duration_ms").map(i64::unsigned_abs),
            waveform: row.get::<_, Option<Vec<u8>>>("waveform").unwrap_or_default(),
            blur: row.get("blur"),
        };
        let hash: Vec<u8> = row.get("hash");
        let tag = hash.iter().take(16).fold(String::new(), |tag, byte| tag + &format!("{byte:02x}"));
        Whole { attachment, previews: row.get::<_, Json<Vec<Preview>>>("previews").0, tag }
    });
    Upload {
        id,
        owner: UserId::from_uuid(row.get("owner")),
        room: RoomId::from_uuid(row.get("room")),
        name,
        declared: row.get("declared"),
        purpose: Purpose::from_name(row.get("purpose")).unwrap_or(Purpose::Message),
        length: unsigned(row, "length"),
        received: unsigned(row, "received"),
        touched_at: row.get("touched_at"),
        whole,
    }
}

fn unsigned<I: tokio_postgres::row::RowIndex + std::fmt::Display>(row: &Row, column: I) -> u64 {
    row.get::<_, i64>(column).unsigned_abs()
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Kinds as they are written in the table and in metrics.
const KINDS: [(AttachmentKind, &str); 5] = [
    (AttachmentKind::Image, "image"),
    (AttachmentKind::Audio, "audio"),
    (AttachmentKind::Video, "video"),
    (AttachmentKind::Voice, "voice"),
    (AttachmentKind::File, "file"),
];

pub(crate) fn kind_name(kind: AttachmentKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("file", |(_, name)| name)
}

fn kind_of_name(name: &str) -> AttachmentKind {
    KINDS.iter().find(|(_, known)| *known == name).map_or(AttachmentKind::File, |(kind, _)| *kind)
}
