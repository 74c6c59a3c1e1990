//! What is searched, in Postgres.

use std::collections::BTreeSet;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_database::Schema;
use natterjack_domain::{MessageId, RoomId, UserId, search::Tag};
use tokio_postgres::Error;
use uuid::Uuid;

use super::{Changes, Key, Known, Row, fold, keys};
use crate::{batch::Folded, derived::Derived, entry::Entry, fold::Repeats, write};

/// What is searched.
pub struct Search;

impl Derived for Search {
    const SCHEMA: Schema = Schema::Search;
    const TABLES: &'static [&'static str] = &["checkpoints", "messages", "parked"];
    /// "njsearch".
    const LOCK: i64 = 0x6e6a_7365_6172_6368;

    async fn fold(
        work: &Transaction<'_>,
        stream: u16,
        entries: &[Entry],
        _: Repeats,
    ) -> Result<Folded, Error> {
        let known = load(work, &keys(entries)).await?;
        let Changes { rows, parked } = fold(entries, known);
        put(work, rows.iter().collect()).await?;
        write::parked(work, stream, &parked).await?;
        Ok(Folded { parked, notices: vec![] })
    }
}

async fn load(work: &Transaction<'_>, keys: &BTreeSet<Key>) -> Result<Known, Error> {
    const SQL: &str = "SELECT room, mid, m.author, m.posted_us, m.gone,
               m.terms @@ '''!attachment''' AS attachment, m.terms @@ '''!reply''' AS reply
        FROM UNNEST($1::uuid[], $2::uuid[]) k (room, mid) JOIN messages m USING (room, mid)";
    if keys.is_empty() {
        return Ok(Known::new());
    }
    let (rooms, mids): (Vec<Uuid>, Vec<Uuid>) =
        keys.iter().map(|(room, mid)| (*room.as_uuid(), *mid.as_uuid())).unzip();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms, &mids]).await?;
    let known = rows.iter().map(|row| {
        let key = (RoomId::from_uuid(row.try_get(0)?), MessageId::from_uuid(row.try_get(1)?));
        let tags = [(row.try_get("attachment")?, Tag::Attachment), (row.try_get("reply")?, Tag::Reply)];
        let row = Row {
            author: UserId::from_uuid(row.try_get(2)?),
            gone: row.try_get(4)?,
            posted_us: row.try_get(3)?,
            tags: tags.into_iter().filter_map(|(has, tag): (bool, Tag)| has.then_some(tag)).collect(),
            text: String::new(),
            terms: BTreeSet::new(),
        };
        Ok((key, row))
    });
    known.collect()
}

async fn put(work: &Transaction<'_>, rows: Vec<(&Key, &Row)>) -> Result<(), Error> {
    // No term has a space.
    const SQL: &str = "INSERT INTO messages (room, mid, author, posted_us, gone, text, terms)
        SELECT room, mid, author, posted_us, gone, text, array_to_tsvector(string_to_array(terms, ' '))
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::boolean[], $6::text[], $7::text[])
             r (room, mid, author, posted_us, gone, text, terms)
        ON CONFLICT (room, mid) DO UPDATE SET gone = EXCLUDED.gone, text = EXCLUDED.text, terms = EXCLUDED.terms";
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Key, &Row) -> Uuid| rows.iter().map(|(key, row)| of(key, row)).collect::<Vec<_>>();
    let rooms = column(|key, _| *key.0.as_uuid());
    let mids = column(|key, _| *key.1.as_uuid());
    let authors = column(|_, row| *row.author.as_uuid());
    let times: Vec<i64> = rows.iter().map(|(_, row)| row.posted_us).collect();
    let gone: Vec<bool> = rows.iter().map(|(_, row)| row.gone).collect();
    let texts: Vec<&str> = rows.iter().map(|(_, row)| row.text.as_str()).collect();
    let joined = |row: &Row| row.terms.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let terms: Vec<String> = rows.iter().map(|(_, row)| joined(row)).collect();
    let statement = work.prepare_cached(SQL).await?;
    work.execute(&statement, &[&rooms, &mids, &authors, &times, &gone, &texts, &terms]).await?;
    Ok(())
}
