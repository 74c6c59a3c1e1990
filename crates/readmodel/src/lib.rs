//! Queries on the read models and on the second copy of the log: rooms, people, history, events.
//!
//! Every answer is one statement, so that what it says and the position that it reflects (`as_of`) come from
//! the same snapshot. Nothing here writes, and nothing here authorises but where a function says so: the
//! caller decides on the room's folded state. The functions take any connection or transaction and use
//! prepared statements, which survive the swap of the `read` schema by a rebuild.
//!
//! Start with [`rooms`]; [`events`] is what resuming lives on.

// First: its macros are used by those below.
#[macro_use]
mod rows;
mod cursor;
pub mod events;
pub mod follows;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod kept;
pub mod members;
pub mod messages;
pub mod metrics;
pub mod notices;
pub mod people;
pub mod rooms;
pub mod search;
pub mod seen;

use deadpool_postgres::GenericClient;
use natterjack_wire::Position;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

pub use cursor::{Cursor, CursorInvalid};

/// Items on a page when the asker names no number.
pub const PAGE_DEFAULT: u32 = 50;
/// Most items on a page.
pub const PAGE_MAX: u32 = 200;

/// Why a query gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] natterjack_database::Error),
    #[error(transparent)]
    Cursor(#[from] CursorInvalid),
    /// A search has a limit of its own.
    #[error("the search took too long")]
    TooLong,
}

impl Error {
    /// Whether Postgres cannot be used just now: the same query may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_unavailable())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// An answer and the position that it reflects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf<T> {
    pub as_of: Position,
    pub value: T,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    /// `next` of the page before; none for the first page.
    pub cursor: Option<&'a str>,
    /// Most items wanted; brought within 1 to [`PAGE_MAX`], [`PAGE_DEFAULT`] if missing.
    pub limit: Option<u32>,
}

impl Page<'_> {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as usize
    }

    /// One row more than wanted, to see whether there is a next page.
    fn limit_and_one(&self) -> i64 {
        i64::from(self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)) + 1
    }
}

/// Up to where the read models reflect stream `stream`. Before the projector has ever seen it the epoch is
/// empty, which is no stream's.
pub async fn checkpoint(client: &impl GenericClient, stream: u16) -> Result<Position, Error> {
    checkpoint_counted_as(client, "checkpoint", stream).await
}

/// The same, to find out whether the read models can be read and how far they are. Counted apart from what anybody asks
/// for.
pub async fn probe(client: &impl GenericClient, stream: u16) -> Result<Position, Error> {
    checkpoint_counted_as(client, "probe", stream).await
}

async fn checkpoint_counted_as(
    client: &impl GenericClient,
    name: &'static str,
    stream: u16,
) -> Result<Position, Error> {
    let sql = "SELECT epoch, seq AS as_of FROM (SELECT) one
               LEFT JOIN read.checkpoints ON stream = $1";
    let rows = query(client, name, sql, &[(&rows::small(stream), Type::INT2)]).await?;
    rows.first().map_or_else(|| Ok(rows::nowhere()), rows::position)
}

/// The only place that sends statements. Types are given, so that none depends on what Postgres makes of the statement around it.
async fn query(
    client: &impl GenericClient,
    name: &'static str,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Error> {
    metrics::queried(name);
    let (values, types): (Vec<_>, Vec<_>) = parameters.iter().map(|(v, t)| (*v, t.clone())).unzip();
    let statement = client.prepare_typed_cached(sql, &types).await?;
    Ok(client.query(&statement, &values).await?)
}
