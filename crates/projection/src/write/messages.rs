//! What is said.

use deadpool_postgres::Transaction;
use tokio_postgres::{Error, types::Type};
use uuid::Uuid;

use super::{Columns, put};
use crate::{
    copy::Copy,
    fold::{Changes, Content},
    number::signed,
};

pub(super) async fn posted(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "COPY messages (room, mid, author, cid, ordinal, reply_to, seq, posted_at, body,
                                      edited_seq, edited_at, recalled_seq, recalled_at) FROM STDIN BINARY";
    const TYPES: &[Type] = &[
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::UUID,
        Type::INT8,
        Type::UUID,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
    ];
    if changes.posted.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(work, SQL, TYPES).await?;
    for message in &changes.posted {
        let content = &message.content;
        let (edited, recalled) = (content.edited.as_ref(), content.recalled.as_ref());
        copy.row(&[
            message.room.as_uuid(),
            message.mid.as_uuid(),
            message.author.as_uuid(),
            message.cid.as_uuid(),
            &signed(message.ordinal),
            &message.reply_to.map(Uuid::from),
            &signed(message.posted.seq),
            &message.posted.at,
            &content.body,
            &edited.map(|mark| signed(mark.seq)),
            &edited.map(|mark| &mark.at),
            &recalled.map(|mark| signed(mark.seq)),
            &recalled.map(|mark| &mark.at),
        ])
        .await?;
    }
    copy.finish().await
}

pub(super) async fn edited(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE messages m SET body = c.body,
            edited_seq = coalesce(c.edited_seq, m.edited_seq),
            edited_at = coalesce(c.edited_at, m.edited_at),
            recalled_seq = c.recalled_seq, recalled_at = c.recalled_at
        FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::text[])
             c (room, seq, body, edited_seq, edited_at, recalled_seq, recalled_at)
        WHERE m.room = c.room AND m.seq = c.seq";
    let edited = &changes.edited;
    if edited.is_empty() {
        return Ok(());
    }
    let (rooms, seqs): (Vec<Uuid>, Vec<i64>) =
        edited.keys().map(|(room, seq)| (*room.as_uuid(), signed(*seq))).unzip();
    let c = Contents::of(edited.values());
    let columns: &Columns<'_> =
        &[&rooms, &seqs, &c.bodies, &c.edited_seqs, &c.edited_times, &c.recalled_seqs, &c.recalled_times];
    put(work, SQL, columns).await
}

#[derive(Default)]
struct Contents<'a> {
    bodies: Vec<Option<&'a str>>,
    edited_seqs: Vec<Option<i64>>,
    edited_times: Vec<Option<&'a str>>,
    recalled_seqs: Vec<Option<i64>>,
    recalled_times: Vec<Option<&'a str>>,
}

impl<'a> Contents<'a> {
    fn of(contents: impl Iterator<Item = &'a Content>) -> Self {
        let mut columns = Self::default();
        for content in contents {
            let (edited, recalled) = (content.edited.as_ref(), content.recalled.as_ref());
            columns.bodies.push(content.body.as_deref());
            columns.edited_seqs.push(edited.map(|mark| signed(mark.seq)));
            columns.edited_times.push(edited.map(|mark| mark.at.as_str()));
            columns.recalled_seqs.push(recalled.map(|mark| signed(mark.seq)));
            columns.recalled_times.push(recalled.map(|mark| mark.at.as_str()));
        }
        columns
    }
}
