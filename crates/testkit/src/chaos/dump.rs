//! What the stores hold, for the checker.

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull},
};
use futures_util::StreamExt;
use natterjack_database::Client;
use tokio_postgres::Row;

use crate::checker::{Dump, EventRow, MessageRow, Stored};

/// Reads all streams from their beginning, by a plain client of NATS.
pub async fn log(url: &str, streams: u16) -> anyhow::Result<Vec<Stored>> {
    let servers: Vec<&str> = url.split(',').collect();
    let jetstream = jetstream::new(async_nats::connect(servers).await?);
    let mut stored = vec![];
    for stream in 0..streams {
        let mut from = jetstream.get_stream(natterjack_eventlog::stream_name(stream)).await?;
        let last = from.info().await?.state.last_sequence;
        let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..Default::default() };
        let mut messages = from.create_consumer(config).await?.messages().await?;
        let mut seq = 0;
        while seq < last {
            let Some(message) = messages.next().await else { break };
            let message = message?;
            seq = message.info().map_err(|error| anyhow::anyhow!(error))?.stream_sequence;
            stored.push(Stored {
                stream,
                seq,
                subject: message.subject.to_string(),
                body: message.payload.to_vec(),
            });
        }
    }
    Ok(stored)
}

/// Fills in what Postgres holds.
pub async fn postgres(client: &Client, dump: &mut Dump) -> anyhow::Result<()> {
    const MESSAGES: &str = "SELECT room::text, seq, mid::text, author::text, cid::text, ordinal, body
                            FROM read.messages ORDER BY room, seq";
    const EVENTS: &str = "SELECT stream, seq, body FROM log.events ORDER BY stream, seq";
    for row in client.query(MESSAGES, &[]).await? {
        dump.messages.push(MessageRow {
            room: row.get(0),
            seq: number(&row, 1),
            mid: row.get(2),
            author: row.get(3),
            cid: row.get(4),
            ordinal: number(&row, 5),
            body: row.get(6),
        });
    }
    for row in client.query(EVENTS, &[]).await? {
        dump.events.push(EventRow { stream: stream(&row), seq: number(&row, 1), body: row.get(2) });
    }
    for table in ["log.checkpoints", "read.checkpoints"] {
        for row in client.query(&format!("SELECT stream, seq FROM {table}"), &[]).await? {
            dump.checkpoints.push((table, stream(&row), number(&row, 1)));
        }
    }
    Ok(())
}

fn stream(row: &Row) -> u16 {
    u16::try_from(row.get::<_, i16>(0)).unwrap_or(u16::MAX)
}

fn number(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(u64::MAX)
}
