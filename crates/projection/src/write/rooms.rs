//! Rooms, who is in them, and who was silenced or shut out.

use deadpool_postgres::Transaction;
use natterjack_domain::{
    AvatarId, Reason, RoomDescription, RoomId, RoomName, RoomTopic, UserId, room::Facts,
};
use tokio_postgres::Error;
use uuid::Uuid;

use super::{Columns, marks_of, put};
use crate::{
    fold::{Changes, Sanction, SanctionKind},
    number::{self, signed},
};

/// The counts follow with those of the rooms that were there.
pub(super) async fn created(work: &Transaction<'_>, stream: u16, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO rooms (stream, created_seq, created_at, member_count, last_ordinal, all_mentions, head,
            id, name, name_key, visibility, owner, kind, topic, description, avatar, slow_mode_s, read_only,
            members_max, archived, deleted)
        SELECT $1::smallint, seq, at, 0, 0, 0, 0, id, name, name_key, visibility, owner, kind, topic, description, avatar,
               slow_mode_s, read_only, members_max, archived, deleted
        FROM UNNEST($2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[],
                    $10::text[], $11::text[], $12::text[], $13::bigint[], $14::boolean[], $15::bigint[],
                    $16::boolean[], $17::boolean[])
             c (seq, at, id, name, name_key, visibility, owner, kind, topic, description, avatar, slow_mode_s,
                read_only, members_max, archived, deleted)";
    let rooms = &changes.created;
    if rooms.is_empty() {
        return Ok(());
    }
    let c = FactColumns::of(rooms.iter().map(|(id, new)| (id, &new.facts)));
    let (seqs, times) = marks_of(rooms.values().map(|new| &new.created));
    let stream = number::stream(stream);
    let columns =
        [&[&stream as &(dyn tokio_postgres::types::ToSql + Sync), &seqs, &times][..], &c.columns()].concat();
    put(work, SQL, &columns).await
}

/// What changes seldom; hardly any batch has something of it.
pub(super) async fn state(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    facts(work, changes).await?;
    joined(work, changes).await?;
    roles(work, changes).await?;
    left(work, changes).await?;
    sanctioned(work, changes).await?;
    lifted(work, changes).await
}

async fn facts(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE rooms r SET name = c.name, name_key = c.name_key, visibility = c.visibility,
            owner = c.owner, kind = c.kind, topic = c.topic, description = c.description, avatar = c.avatar,
            slow_mode_s = c.slow_mode_s, read_only = c.read_only, members_max = c.members_max,
            archived = c.archived, deleted = c.deleted
        FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                    $9::text[], $10::bigint[], $11::boolean[], $12::bigint[], $13::boolean[], $14::boolean[])
             c (id, name, name_key, visibility, owner, kind, topic, description, avatar, slow_mode_s, read_only,
                members_max, archived, deleted)
        WHERE r.id = c.id";
    if changes.facts.is_empty() {
        return Ok(());
    }
    let c = FactColumns::of(changes.facts.iter());
    put(work, SQL, &c.columns()).await
}

#[derive(Default)]
struct FactColumns<'a> {
    ids: Vec<Uuid>,
    names: Vec<&'a str>,
    name_keys: Vec<String>,
    visibilities: Vec<&'static str>,
    owners: Vec<Uuid>,
    kinds: Vec<&'static str>,
    topics: Vec<Option<&'a str>>,
    descriptions: Vec<Option<&'a str>>,
    avatars: Vec<Option<&'a str>>,
    slow_modes: Vec<i64>,
    read_only: Vec<bool>,
    members_max: Vec<i64>,
    archived: Vec<bool>,
    deleted: Vec<bool>,
}

impl<'a> FactColumns<'a> {
    fn of(rooms: impl Iterator<Item = (&'a RoomId, &'a Facts)>) -> Self {
        let mut c = Self::default();
        for (id, facts) in rooms {
            let name = facts.name.as_ref().map_or("", RoomName::as_str);
            c.ids.push(*id.as_uuid());
            c.names.push(name);
            c.name_keys.push(name.to_lowercase());
            c.visibilities.push(facts.visibility.as_str());
            c.owners.push(*facts.owner.as_uuid());
            c.kinds.push(facts.kind.as_str());
            c.topics.push(facts.topic.as_ref().map(RoomTopic::as_str));
            c.descriptions.push(facts.description.as_ref().map(RoomDescription::as_str));
            c.avatars.push(facts.avatar.as_ref().map(AvatarId::as_str));
            c.slow_modes.push(facts.slow_mode_s.into());
            c.read_only.push(facts.read_only);
            c.members_max.push(facts.members_max.into());
            c.archived.push(facts.archived);
            c.deleted.push(facts.deleted);
        }
        c
    }

    fn columns(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 14] {
        [
            &self.ids,
            &self.names,
            &self.name_keys,
            &self.visibilities,
            &self.owners,
            &self.kinds,
            &self.topics,
            &self.descriptions,
            &self.avatars,
            &self.slow_modes,
            &self.read_only,
            &self.members_max,
            &self.archived,
            &self.deleted,
        ]
    }
}

pub(super) async fn counts(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE rooms SET member_count = c.members, last_ordinal = c.ordinal,
                                              all_mentions = c.all_mentions, head = c.head
        FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
             c (id, members, ordinal, all_mentions, head)
        WHERE rooms.id = c.id";
    let counts = &changes.counts;
    if counts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = counts.keys().map(|id| *id.as_uuid()).collect();
    let members: Vec<i64> = counts.values().map(|c| signed(c.members)).collect();
    let ordinals: Vec<i64> = counts.values().map(|c| signed(c.last_ordinal)).collect();
    let all_mentions: Vec<i64> = counts.values().map(|c| signed(c.all_mentions)).collect();
    let heads: Vec<i64> = counts.values().map(|c| signed(c.head)).collect();
    put(work, SQL, &[&ids, &members, &ordinals, &all_mentions, &heads]).await
}

/// One who left and came back within the batch has a row already.
async fn joined(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO members (room, user_id, joined_seq, role)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])
        ON CONFLICT (room, user_id) DO UPDATE SET joined_seq = EXCLUDED.joined_seq, role = EXCLUDED.role";
    let (mut rooms, mut users, mut seqs, mut roles) = (vec![], vec![], vec![], vec![]);
    for ((room, user), membership) in &changes.members {
        let Some((seq, role)) = membership.and_then(|m| Some((m.joined?, m.role))) else { continue };
        rooms.push(*room.as_uuid());
        users.push(*user.as_uuid());
        seqs.push(signed(seq));
        roles.push(role.as_str());
    }
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users, &seqs, &roles]).await
}

async fn roles(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "UPDATE members m SET role = c.role
        FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) c (room, user_id, role)
        WHERE m.room = c.room AND m.user_id = c.user_id";
    let (mut rooms, mut users, mut roles) = (vec![], vec![], vec![]);
    for ((room, user), membership) in &changes.members {
        let Some(membership) = membership.filter(|m| m.joined.is_none()) else { continue };
        rooms.push(*room.as_uuid());
        users.push(*user.as_uuid());
        roles.push(membership.role.as_str());
    }
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users, &roles]).await
}

async fn left(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM members m USING UNNEST($1::uuid[], $2::uuid[]) k (room, user_id)
        WHERE m.room = k.room AND m.user_id = k.user_id";
    let left = changes.members.iter().filter(|(_, membership)| membership.is_none());
    let (rooms, users): (Vec<Uuid>, Vec<Uuid>) =
        left.map(|((room, user), _)| (*room.as_uuid(), *user.as_uuid())).unzip();
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users]).await
}

type Sanctions<'a> = Vec<(&'a (RoomId, SanctionKind, UserId), &'a Sanction)>;

async fn sanctioned(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO sanctions (room, kind, user_id, until, by_user, reason, seq, at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[], $7::bigint[],
                             $8::text[])
        ON CONFLICT (room, kind, user_id) DO UPDATE SET until = EXCLUDED.until, by_user = EXCLUDED.by_user,
            reason = EXCLUDED.reason, seq = EXCLUDED.seq, at = EXCLUDED.at";
    let made: Sanctions<'_> =
        changes.sanctions.iter().filter_map(|(key, sanction)| Some((key, sanction.as_ref()?))).collect();
    if made.is_empty() {
        return Ok(());
    }
    let rooms: Vec<Uuid> = made.iter().map(|((room, _, _), _)| *room.as_uuid()).collect();
    let kinds: Vec<&str> = made.iter().map(|((_, kind, _), _)| kind.as_str()).collect();
    let users: Vec<Uuid> = made.iter().map(|((_, _, user), _)| *user.as_uuid()).collect();
    let untils: Vec<Option<i64>> = made.iter().map(|(_, s)| s.until.map(signed)).collect();
    let by: Vec<Uuid> = made.iter().map(|(_, s)| *s.by.as_uuid()).collect();
    let reasons: Vec<Option<&str>> =
        made.iter().map(|(_, s)| s.reason.as_ref().map(Reason::as_str)).collect();
    let (seqs, times) = marks_of(made.iter().map(|(_, s)| &s.made));
    let columns: &Columns<'_> = &[&rooms, &kinds, &users, &untils, &by, &reasons, &seqs, &times];
    put(work, SQL, columns).await
}

/// What was lifted, and what there was in rooms that are deleted.
async fn lifted(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str =
        "DELETE FROM sanctions s USING UNNEST($1::uuid[], $2::text[], $3::uuid[]) k (room, kind, user_id)
        WHERE s.room = k.room AND s.kind = k.kind AND s.user_id = k.user_id";
    const DELETED: &str = "DELETE FROM sanctions WHERE room = ANY($1::uuid[])";
    let lifted: Vec<_> = changes.sanctions.iter().filter(|(_, s)| s.is_none()).map(|(key, _)| key).collect();
    if !lifted.is_empty() {
        let rooms: Vec<Uuid> = lifted.iter().map(|(room, _, _)| *room.as_uuid()).collect();
        let kinds: Vec<&str> = lifted.iter().map(|(_, kind, _)| kind.as_str()).collect();
        let users: Vec<Uuid> = lifted.iter().map(|(_, _, user)| *user.as_uuid()).collect();
        put(work, SQL, &[&rooms, &kinds, &users]).await?;
    }
    let deleted = changes.facts.iter().filter(|(_, facts)| facts.deleted);
    let deleted: Vec<Uuid> = deleted.map(|(id, _)| *id.as_uuid()).collect();
    if deleted.is_empty() {
        return Ok(());
    }
    put(work, DELETED, &[&deleted]).await
}
