//! Rooms and who is in them.

use deadpool_postgres::Transaction;
use natterjack_domain::RoomName;
use tokio_postgres::Error;
use uuid::Uuid;

use super::{marks_of, put};
use crate::{
    fold::Changes,
    number::{self, signed},
};

/// The counts follow with those of the rooms that were there.
pub(super) async fn created(work: &Transaction<'_>, stream: u16, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO rooms (stream, id, name, name_key, visibility, owner, created_seq,
                                          created_at, member_count, last_ordinal, all_mentions,
                                          head)
        SELECT $1::smallint, *, 0, 0, 0, 0 FROM UNNEST(
            $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::text[])";
    let rooms = &changes.created;
    if rooms.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rooms.keys().map(|id| *id.as_uuid()).collect();
    let names: Vec<&str> = rooms.values().map(|r| r.name.as_ref().map_or("", RoomName::as_str)).collect();
    let name_keys: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let visibilities: Vec<&str> = rooms.values().map(|r| r.visibility.as_str()).collect();
    let owners: Vec<Uuid> = rooms.values().map(|r| *r.owner.as_uuid()).collect();
    let (seqs, times) = marks_of(rooms.values().map(|r| &r.created));
    let stream = number::stream(stream);
    put(work, SQL, &[&stream, &ids, &names, &name_keys, &visibilities, &owners, &seqs, &times]).await
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
pub(super) async fn joined(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO members (room, user_id, joined_seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
        ON CONFLICT (room, user_id) DO UPDATE SET joined_seq = EXCLUDED.joined_seq";
    let joined = changes.members.iter().filter_map(|(key, seq)| seq.map(|seq| (key, signed(seq))));
    let (mut rooms, mut users, mut seqs) = (vec![], vec![], vec![]);
    for ((room, user), seq) in joined {
        rooms.push(*room.as_uuid());
        users.push(*user.as_uuid());
        seqs.push(seq);
    }
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users, &seqs]).await
}

pub(super) async fn left(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM members m USING UNNEST($1::uuid[], $2::uuid[]) k (room, user_id)
        WHERE m.room = k.room AND m.user_id = k.user_id";
    let left = changes.members.iter().filter(|(_, seq)| seq.is_none());
    let (rooms, users): (Vec<Uuid>, Vec<Uuid>) =
        left.map(|((room, user), _)| (*room.as_uuid(), *user.as_uuid())).unzip();
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &users]).await
}
