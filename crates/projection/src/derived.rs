//! What is made from the log, each in a schema of its own and at a pace of its own.

use natterjack_database::Schema;
use tokio_postgres::Error;

use crate::{
    batch::Folded,
    entry::Entry,
    fold::{Keys, Repeats, fold},
    load,
    outside::Transaction,
    write,
};

/// Tables that follow from the log alone.
pub trait Derived: Send + Sync + 'static {
    const SCHEMA: Schema;
    /// All of them; a replay makes them again.
    const TABLES: &'static [&'static str];
    /// Held, shared, by whoever changes the live tables; alone by whoever swaps them.
    const LOCK: i64;

    /// Changes the tables that the search path names, by `entries`, which follow each other.
    fn fold(
        work: &Transaction<'_>,
        stream: u16,
        entries: &[Entry],
        repeats: Repeats,
    ) -> impl Future<Output = Result<Folded, Error>> + Send;
}

/// The read models.
pub struct Read;

/// The tables of the read schema.
pub const TABLES: [&str; 23] = [
    "checkpoints",
    "rooms",
    "members",
    "sanctions",
    "messages",
    "mentions",
    "threads",
    "reactions",
    "reaction_counts",
    "pins",
    "versions",
    "read_marks",
    "people",
    "profiles",
    "parked",
    "delivered_marks",
    "thread_marks",
    "thread_follows",
    "drafts",
    "saved_messages",
    "notify_levels",
    "do_not_disturb",
    "schedules",
];

impl Derived for Read {
    const SCHEMA: Schema = Schema::Read;
    const TABLES: &'static [&'static str] = &TABLES;
    /// "njprojct".
    const LOCK: i64 = 0x6e6a_7072_6f6a_6374;

    async fn fold(
        work: &Transaction<'_>,
        stream: u16,
        entries: &[Entry],
        repeats: Repeats,
    ) -> Result<Folded, Error> {
        let known = load::load(work, &Keys::of(entries, repeats)).await?;
        let changes = fold(entries, known);
        write::changes(work, stream, &changes).await?;
        Ok(changes.into())
    }
}
