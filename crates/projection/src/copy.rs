//! Rows for `COPY … FROM STDIN BINARY`, which costs Postgres a third less than an `INSERT` of arrays.

use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use deadpool_postgres::Transaction;
use futures_util::SinkExt as _;
use tokio_postgres::{
    CopyInSink, Error,
    types::{ToSql, Type},
};

/// Signature, flags, and the length of what may follow them.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Postgres gets to work on what there is while the rest is written.
const CHUNK_BYTES: usize = 64 << 10;

/// Rows on their way into a table.
pub struct Copy {
    types: &'static [Type],
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
}

impl Copy {
    /// For columns of these types.
    ///
    /// Not to be sent together with a statement that may fail: the client would get out of step with Postgres.
    pub async fn begin(work: &Transaction<'_>, sql: &str, types: &'static [Type]) -> Result<Self, Error> {
        let statement = work.prepare_cached(sql).await?;
        let sink = Box::pin(work.copy_in(&statement).await?);
        Ok(Self { types, sink, buffer: HEADER.into() })
    }

    pub async fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
        debug_assert_eq!(values.len(), self.types.len());
        let buffer = &mut self.buffer;
        buffer.put_i16(i16::try_from(values.len()).expect("a table has few columns"));
        for (value, kind) in values.iter().zip(self.types) {
            let start = buffer.len();
            buffer.put_i32(-1);
            let written = value.to_sql_checked(kind, buffer).expect("the types are those of the values");
            if let tokio_postgres::types::IsNull::No = written {
                let len = i32::try_from(buffer.len() - start - 4).expect("what the log holds is small");
                buffer[start..start + 4].copy_from_slice(&len.to_be_bytes());
            }
        }
        if buffer.len() >= CHUNK_BYTES {
            self.sink.feed(buffer.split().freeze()).await?;
        }
        Ok(())
    }

    /// Those were all rows: waits until Postgres is done.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.buffer.put_i16(-1);
        self.sink.feed(self.buffer.split().freeze()).await?;
        self.sink.as_mut().finish().await?;
        Ok(())
    }
}
