//! Reads the rows that a batch depends on, in whichever schema the search path names.

mod messages;
mod rooms;

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_domain::{RoomId, ScheduleId, UserId, user::schedule::Stage};
use tokio::try_join;
use tokio_postgres::Error;
use uuid::Uuid;

use crate::{
    fold::{Counts, Keys, Known},
    number::unsigned,
};

pub async fn load(work: &Transaction<'_>, keys: &Keys) -> Result<Known, Error> {
    let (rooms, states, mut messages, threads, pins, schedules) = try_join!(
        rooms(work, keys),
        Box::pin(rooms::states(work, keys)),
        messages::messages(work, keys),
        Box::pin(messages::threads(work, keys)),
        Box::pin(messages::pins(work, keys)),
        Box::pin(schedules(work, keys)),
    )?;
    Box::pin(messages::reactions(work, keys, &mut messages)).await?;
    Ok(Known { rooms, states, messages, threads, pins, schedules })
}

async fn schedules(
    work: &Transaction<'_>,
    keys: &Keys,
) -> Result<HashMap<(UserId, ScheduleId), Stage>, Error> {
    const SQL: &str = "SELECT user_id, sid, s.stage, s.seq, s.code
                       FROM UNNEST($1::uuid[], $2::uuid[]) k (user_id, sid)
                       JOIN schedules s USING (user_id, sid)";
    if keys.schedules.is_empty() {
        return Ok(HashMap::new());
    }
    let (users, sids): (Vec<Uuid>, Vec<Uuid>) =
        keys.schedules.iter().map(|(user, sid)| (*user.as_uuid(), *sid.as_uuid())).unzip();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&users, &sids]).await?;
    let stages = rows.iter().map(|row| {
        let key = (UserId::from_uuid(row.try_get(0)?), ScheduleId::from_uuid(row.try_get(1)?));
        let (seq, code): (Option<i64>, Option<i32>) = (row.try_get(3)?, row.try_get(4)?);
        let stage = match row.try_get(2)? {
            "pending" => Stage::Pending,
            "begun" => Stage::Begun,
            "sent" => Stage::Sent { seq: unsigned(seq.unwrap_or_default()) },
            "failed" => Stage::Failed { code: code.unwrap_or_default().try_into().unwrap_or_default() },
            _ => Stage::Cancelled,
        };
        Ok((key, stage))
    });
    stages.collect()
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
