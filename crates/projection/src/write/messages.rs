//! What is said.

use deadpool_postgres::Transaction;
use tokio_postgres::{Error, types::Type};
use uuid::Uuid;

use super::{Columns, put};
use crate::{
    copy::Copy,
    fold::{Changes, Content, Gone},
    number::signed,
};

pub(super) async fn posted(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "COPY messages (room, mid, author, cid, ordinal, all_mentions, reply_to, thread, thread_ordinal,
                                      seq, posted_at, body, mentions, meta, forwarded, attachments,
                                      edited_seq, edited_at, recalled_seq, recalled_at, deleted_by, deleted_reason)
                       FROM STDIN BINARY";
    const TYPES: &[Type] = &[
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::INT8,
        Type::INT8,
        Type::UUID,
        Type::UUID,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
        Type::UUID,
        Type::TEXT,
    ];
    if changes.posted.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(work, SQL, TYPES).await?;
    for message in &changes.posted {
        let (content, thread) = (Row::of(&message.content), message.thread);
        copy.row(&[
            message.room.as_uuid(),
            message.mid.as_uuid(),
            message.author.as_uuid(),
            message.cid.as_uuid(),
            &signed(message.ordinal),
            &signed(message.all_mentions),
            &message.reply_to.map(Uuid::from),
            &thread.map(|thread| *thread.root.as_uuid()),
            &thread.map(|thread| signed(thread.ordinal)),
            &signed(message.posted.seq),
            &message.posted.at,
            &content.body,
            &content.mentions,
            &content.meta,
            &message.forwarded,
            &message.attachments,
            &content.edited_seq,
            &content.edited_at,
            &content.gone_seq,
            &content.gone_at,
            &content.deleted_by,
            &content.reason,
        ])
        .await?;
    }
    copy.finish().await
}

pub(super) async fn edited(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE messages m SET body = c.body, mentions = c.mentions, meta = c.meta,
            forwarded = CASE WHEN c.recalled_seq IS NULL THEN m.forwarded END,
            attachments = CASE WHEN c.recalled_seq IS NULL THEN m.attachments END,
            edited_seq = coalesce(c.edited_seq, m.edited_seq),
            edited_at = coalesce(c.edited_at, m.edited_at),
            recalled_seq = c.recalled_seq, recalled_at = c.recalled_at,
            deleted_by = c.deleted_by, deleted_reason = c.reason
        FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                    $8::bigint[], $9::text[], $10::uuid[], $11::text[])
             c (room, seq, body, mentions, meta, edited_seq, edited_at, recalled_seq, recalled_at, deleted_by, reason)
        WHERE m.room = c.room AND m.seq = c.seq";
    let edited = &changes.edited;
    if edited.is_empty() {
        return Ok(());
    }
    let (rooms, seqs): (Vec<Uuid>, Vec<i64>) =
        edited.keys().map(|(room, seq)| (*room.as_uuid(), signed(*seq))).unzip();
    let rows: Vec<Row<'_>> = edited.values().map(Row::of).collect();
    let columns: &Columns<'_> = &[
        &rooms,
        &seqs,
        &rows.iter().map(|row| row.body).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.mentions).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.meta).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.edited_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.edited_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.gone_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.gone_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.deleted_by).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.reason).collect::<Vec<_>>(),
    ];
    put(work, SQL, columns).await
}

/// The columns of a message that change.
#[derive(Default)]
struct Row<'a> {
    body: Option<&'a str>,
    mentions: Option<&'a str>,
    meta: Option<&'a str>,
    edited_seq: Option<i64>,
    edited_at: Option<&'a str>,
    gone_seq: Option<i64>,
    gone_at: Option<&'a str>,
    deleted_by: Option<Uuid>,
    reason: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(content: &'a Content) -> Self {
        let mut row = Self::default();
        if let Some(says) = &content.says {
            row.body = Some(&says.body);
            (row.mentions, row.meta) = (says.mentions.as_deref(), says.meta.as_deref());
        }
        if let Some(edited) = &content.edited {
            (row.edited_seq, row.edited_at) = (Some(signed(edited.seq)), Some(edited.at.as_str()));
        }
        if let Some(Gone { mark, deleted_by, reason }) = &content.gone {
            (row.gone_seq, row.gone_at) = (Some(signed(mark.seq)), Some(mark.at.as_str()));
            (row.deleted_by, row.reason) = (deleted_by.map(Uuid::from), reason.as_deref());
        }
        row
    }
}
