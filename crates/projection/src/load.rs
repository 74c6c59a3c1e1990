//! Reads the rows that a batch depends on, in whichever schema the search path names.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_domain::{MessageId, RoomId, UserId, message::Message};
use tokio::try_join;
use tokio_postgres::Error;
use uuid::Uuid;

use crate::{
    fold::{Counts, Keys, Known, KnownMessage},
    number::unsigned,
};

pub async fn load(work: &Transaction<'_>, keys: &Keys) -> Result<Known, Error> {
    let (rooms, members, messages) = try_join!(rooms(work, keys), members(work, keys), messages(work, keys))?;
    Ok(Known { rooms, members, messages })
}

async fn rooms(work: &Transaction<'_>, keys: &Keys) -> Result<HashMap<RoomId, Counts>, Error> {
    const SQL: &str = "SELECT id, member_count, last_ordinal, head FROM rooms WHERE id = ANY($1::uuid[])";
    if keys.rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = keys.rooms.iter().map(|id| *id.as_uuid()).collect();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&ids]).await?;
    let counts = rows.iter().map(|row| {
        let number = |column| row.try_get(column).map(unsigned);
        let counts = Counts { members: number(1)?, last_ordinal: number(2)?, head: number(3)? };
        Ok((RoomId::from_uuid(row.try_get(0)?), counts))
    });
    counts.collect()
}

async fn members(work: &Transaction<'_>, keys: &Keys) -> Result<HashSet<(RoomId, UserId)>, Error> {
    const SQL: &str = "SELECT room, user_id FROM UNNEST($1::uuid[], $2::uuid[]) k (room, user_id)
                       JOIN members USING (room, user_id)";
    if keys.members.is_empty() {
        return Ok(HashSet::new());
    }
    let (rooms, users): (Vec<Uuid>, Vec<Uuid>) =
        keys.members.iter().map(|(room, user)| (*room.as_uuid(), *user.as_uuid())).unzip();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms, &users]).await?;
    let pairs =
        rows.iter().map(|row| Ok((RoomId::from_uuid(row.try_get(0)?), UserId::from_uuid(row.try_get(1)?))));
    pairs.collect()
}

async fn messages(
    work: &Transaction<'_>,
    keys: &Keys,
) -> Result<HashMap<(RoomId, MessageId), KnownMessage>, Error> {
    const SQL: &str = "SELECT room, mid, m.seq, m.author, m.recalled_seq IS NOT NULL
                       FROM UNNEST($1::uuid[], $2::uuid[]) k (room, mid)
                       JOIN messages m USING (room, mid)";
    if keys.messages.is_empty() {
        return Ok(HashMap::new());
    }
    let (rooms, mids): (Vec<Uuid>, Vec<Uuid>) =
        keys.messages.iter().map(|(room, mid)| (*room.as_uuid(), *mid.as_uuid())).unzip();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms, &mids]).await?;
    let messages = rows.iter().map(|row| {
        let (room, id) = (RoomId::from_uuid(row.try_get(0)?), MessageId::from_uuid(row.try_get(1)?));
        let rules = Message { id, author: UserId::from_uuid(row.try_get(3)?), recalled: row.try_get(4)? };
        Ok(((room, id), KnownMessage { seq: unsigned(row.try_get(2)?), rules }))
    });
    messages.collect()
}
