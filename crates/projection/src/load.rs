//! Reads the rows that a batch depends on, in whichever schema the search path names.

mod messages;
mod rooms;

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_domain::RoomId;
use tokio::try_join;
use tokio_postgres::Error;
use uuid::Uuid;

use crate::{
    fold::{Counts, Keys, Known},
    number::unsigned,
};

pub async fn load(work: &Transaction<'_>, keys: &Keys) -> Result<Known, Error> {
    let (rooms, states, mut messages, threads, pins) = try_join!(
        rooms(work, keys),
        Box::pin(rooms::states(work, keys)),
        messages::messages(work, keys),
        Box::pin(messages::threads(work, keys)),
        Box::pin(messages::pins(work, keys)),
    )?;
    Box::pin(messages::reactions(work, keys, &mut messages)).await?;
    Ok(Known { rooms, states, messages, threads, pins })
}

async fn rooms(work: &Transaction<'_>, keys: &Keys) -> Result<HashMap<RoomId, Counts>, Error> {
    const SQL: &str = "SELECT id, member_count, last_ordinal, all_mentions, head FROM rooms
                       WHERE id = ANY($1::uuid[])";
    if keys.rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = keys.rooms.iter().map(|id| *id.as_uuid()).collect();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&ids]).await?;
    let counts = rows.iter().map(|row| {
        let number = |column| row.try_get(column).map(unsigned);
        let counts = Counts {
            members: number(1)?,
            last_ordinal: number(2)?,
            all_mentions: number(3)?,
            head: number(4)?,
        };
        Ok((RoomId::from_uuid(row.try_get(0)?), counts))
    });
    counts.collect()
}
