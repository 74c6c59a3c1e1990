//! Rooms, as far as the events of a batch depend on them.

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_domain::{
    AvatarId, Role, RoomDescription, RoomId, RoomName, RoomTopic, UserId, Visibility,
    room::{Facts, Kind, Room, Standing},
};
use tokio::try_join;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::{fold::Keys, number::unsigned};

type People = HashMap<RoomId, HashMap<UserId, Standing>>;

pub(super) async fn states(work: &Transaction<'_>, keys: &Keys) -> Result<HashMap<RoomId, Room>, Error> {
    const SQL: &str =
        "SELECT id, kind, name, visibility, owner, topic, description, avatar, slow_mode_s, read_only,
                              members_max, archived, deleted FROM rooms WHERE id = ANY($1::uuid[])";
    if keys.states.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = keys.states.iter().map(|id| *id.as_uuid()).collect();
    let statement = work.prepare_cached(SQL).await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&ids];
    let (rows, mut people) = try_join!(work.query(&statement, &parameters), people(work, keys))?;
    let rooms = rows.iter().map(|row| {
        let id = RoomId::from_uuid(row.try_get(0)?);
        Ok((id, Room::partial(facts(row)?, people.remove(&id).unwrap_or_default())))
    });
    rooms.collect()
}

fn facts(row: &Row) -> Result<Facts, Error> {
    fn text<T: TryFrom<String>>(row: &Row, column: &str) -> Result<Option<T>, Error> {
        let text: Option<String> = row.try_get(column)?;
        Ok(text.filter(|text| !text.is_empty()).and_then(|text| T::try_from(text).ok()))
    }
    let number = |column| row.try_get(column).map(|n| u32::try_from(unsigned(n)).unwrap_or(u32::MAX));
    let is_public = row.try_get::<_, &str>("visibility")? == Visibility::Public.as_str();
    Ok(Facts {
        kind: Kind::parse(row.try_get("kind")?).unwrap_or_default(),
        name: text::<RoomName>(row, "name")?,
        visibility: if is_public { Visibility::Public } else { Visibility::Private },
        owner: UserId::from_uuid(row.try_get("owner")?),
        topic: text::<RoomTopic>(row, "topic")?,
        description: text::<RoomDescription>(row, "description")?,
        avatar: text::<AvatarId>(row, "avatar")?,
        slow_mode_s: number("slow_mode_s")?,
        read_only: row.try_get("read_only")?,
        members_max: number("members_max")?,
        archived: row.try_get("archived")?,
        deleted: row.try_get("deleted")?,
    })
}

async fn people(work: &Transaction<'_>, keys: &Keys) -> Result<People, Error> {
    const SQL: &str = "SELECT k.room, k.user_id, m.role, s.kind, s.until
        FROM UNNEST($1::uuid[], $2::uuid[]) k (room, user_id)
        LEFT JOIN members m ON m.room = k.room AND m.user_id = k.user_id
        LEFT JOIN sanctions s ON s.room = k.room AND s.user_id = k.user_id AND s.kind IN ('mute', 'ban')";
    const ALL: &str = "SELECT m.room, m.user_id, m.role, s.kind, s.until
        FROM members m
        LEFT JOIN sanctions s ON s.room = m.room AND s.user_id = m.user_id AND s.kind IN ('mute', 'ban')
        WHERE m.room = ANY($1::uuid[])";
    let mut people = People::new();
    let (rooms, users): (Vec<Uuid>, Vec<Uuid>) =
        keys.people.iter().map(|(room, user)| (*room.as_uuid(), *user.as_uuid())).unzip();
    if !rooms.is_empty() {
        let statement = work.prepare_cached(SQL).await?;
        add(&mut people, &work.query(&statement, &[&rooms, &users]).await?)?;
    }
    if !keys.emptied.is_empty() {
        let rooms: Vec<Uuid> = keys.emptied.iter().map(|id| *id.as_uuid()).collect();
        let statement = work.prepare_cached(ALL).await?;
        add(&mut people, &work.query(&statement, &[&rooms]).await?)?;
    }
    Ok(people)
}

/// A person has a row for each sanction, or one without.
fn add(people: &mut People, rows: &[Row]) -> Result<(), Error> {
    for row in rows {
        let (room, user) = (RoomId::from_uuid(row.try_get(0)?), UserId::from_uuid(row.try_get(1)?));
        let standing = people.entry(room).or_default().entry(user).or_default();
        standing.role = row.try_get::<_, Option<&str>>(2)?.and_then(Role::parse);
        let until = row.try_get::<_, Option<i64>>(4)?.map(unsigned);
        match row.try_get::<_, Option<&str>>(3)? {
            Some("mute") => standing.muted = Some(until),
            Some("ban") => standing.banned = Some(until),
            _ => {}
        }
    }
    Ok(())
}
