//! What was done to messages: whom they name, threads, reactions, pins, former words.

use deadpool_postgres::Transaction;
use natterjack_domain::RoomId;
use tokio::join;
use tokio_postgres::Error;
use uuid::Uuid;

use super::{cause, put};
use crate::{fold::Changes, number::signed};

/// Keeps the first words of messages that were stored before and are edited for the first time.
pub(super) async fn first_versions(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO versions (room, seq, since_seq, since_at, body, mentions, meta)
        SELECT room, seq, m.seq, m.posted_at, m.body, m.mentions, m.meta
        FROM UNNEST($1::uuid[], $2::bigint[]) k (room, seq) JOIN messages m USING (room, seq)
        WHERE m.edited_seq IS NULL AND m.body IS NOT NULL";
    let edited = changes.edited.keys().filter(|key| !changes.cleared.contains(key));
    let (rooms, seqs) = keys(edited.copied());
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &seqs]).await
}

pub(super) async fn all(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    let results = join!(
        named(work, changes),
        versions(work, changes),
        threads(work, changes),
        reactions(work, changes),
        reaction_counts(work, changes),
        pins(work, changes),
        cleared(work, changes),
    );
    cause(results.into())
}

/// In place of those whom the message named before.
async fn named(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const FORGET: &str = "DELETE FROM mentions m USING UNNEST($1::uuid[], $2::bigint[]) k (room, seq)
        WHERE m.room = k.room AND m.seq = k.seq";
    const SQL: &str = "INSERT INTO mentions (room, seq, user_id, thread)
        SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[])";
    let (rooms, seqs) = keys(changes.edited.keys().copied());
    if !rooms.is_empty() {
        put(work, FORGET, &[&rooms, &seqs]).await?;
    }
    let (mut rooms, mut seqs, mut users, mut threads) = (vec![], vec![], vec![], vec![]);
    for ((room, seq), named) in &changes.named {
        for user in &named.users {
            rooms.push(*room.as_uuid());
            seqs.push(signed(*seq));
            users.push(*user.as_uuid());
            threads.push(named.thread.map(Uuid::from));
        }
    }
    if rooms.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&rooms, &seqs, &users, &threads]).await
}

async fn versions(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO versions (room, seq, since_seq, since_at, body, mentions, meta)
        SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])";
    let versions = &changes.versions;
    if versions.is_empty() {
        return Ok(());
    }
    let (rooms, seqs) = keys(versions.keys().map(|(room, seq, _)| (*room, *seq)));
    let since: Vec<i64> = versions.keys().map(|(.., since)| signed(*since)).collect();
    let times: Vec<&str> = versions.values().map(|v| v.since_at.as_str()).collect();
    let bodies: Vec<&str> = versions.values().map(|v| v.says.body.as_str()).collect();
    let mentions: Vec<Option<&str>> = versions.values().map(|v| v.says.mentions.as_deref()).collect();
    let metas: Vec<Option<&str>> = versions.values().map(|v| v.says.meta.as_deref()).collect();
    put(work, SQL, &[&rooms, &seqs, &since, &times, &bodies, &mentions, &metas]).await
}

/// The participants stand in one text each: Postgres has no arrays of arrays of different lengths.
async fn threads(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO threads (room, seq, replies, last_seq, last_at, participants)
        SELECT room, seq, replies, last_seq, last_at, participants::uuid[]
        FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
             t (room, seq, replies, last_seq, last_at, participants)
        ON CONFLICT (room, seq) DO UPDATE SET replies = EXCLUDED.replies, last_seq = EXCLUDED.last_seq,
            last_at = EXCLUDED.last_at, participants = EXCLUDED.participants";
    let threads = &changes.threads;
    if threads.is_empty() {
        return Ok(());
    }
    let (rooms, seqs) = keys(threads.keys().copied());
    let replies: Vec<i64> = threads.values().map(|t| signed(t.replies)).collect();
    let last: Vec<i64> = threads.values().map(|t| signed(t.last.seq)).collect();
    let times: Vec<&str> = threads.values().map(|t| t.last.at.as_str()).collect();
    let participants: Vec<String> = threads
        .values()
        .map(|t| {
            let ids: Vec<_> = t.participants.iter().map(ToString::to_string).collect();
            format!("{{{}}}", ids.join(","))
        })
        .collect();
    put(work, SQL, &[&rooms, &seqs, &replies, &last, &times, &participants]).await
}

async fn reactions(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const ON: &str = "INSERT INTO reactions (room, seq, emoji, user_id, reacted_seq)
        SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::bigint[])
        ON CONFLICT (room, seq, emoji, user_id) DO UPDATE SET reacted_seq = EXCLUDED.reacted_seq";
    const OFF: &str = "DELETE FROM reactions r
        USING UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::uuid[]) k (room, seq, emoji, user_id)
        WHERE r.room = k.room AND r.seq = k.seq AND r.emoji = k.emoji AND r.user_id = k.user_id";
    let (mut on, mut off) = (Reacted::default(), Reacted::default());
    let mut reacted = vec![];
    for ((room, seq, emoji, user), at) in &changes.reactions {
        let to = if at.is_some() { &mut on } else { &mut off };
        to.rooms.push(*room.as_uuid());
        to.seqs.push(signed(*seq));
        to.emojis.push(emoji.as_str());
        to.users.push(*user.as_uuid());
        reacted.extend(at.map(signed));
    }
    if !on.rooms.is_empty() {
        put(work, ON, &[&on.rooms, &on.seqs, &on.emojis, &on.users, &reacted]).await?;
    }
    if !off.rooms.is_empty() {
        put(work, OFF, &[&off.rooms, &off.seqs, &off.emojis, &off.users]).await?;
    }
    Ok(())
}

#[derive(Default)]
struct Reacted<'a> {
    rooms: Vec<Uuid>,
    seqs: Vec<i64>,
    emojis: Vec<&'a str>,
    users: Vec<Uuid>,
}

async fn reaction_counts(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SOME: &str = "INSERT INTO reaction_counts (room, seq, emoji, count)
        SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::bigint[]) c (room, seq, emoji, count)
        WHERE count > 0
        ON CONFLICT (room, seq, emoji) DO UPDATE SET count = EXCLUDED.count";
    const NONE: &str = "DELETE FROM reaction_counts r
        USING UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::bigint[]) c (room, seq, emoji, count)
        WHERE r.room = c.room AND r.seq = c.seq AND r.emoji = c.emoji AND c.count = 0";
    let counts = &changes.reaction_counts;
    if counts.is_empty() {
        return Ok(());
    }
    let (rooms, seqs) = keys(counts.keys().map(|(room, seq, _)| (*room, *seq)));
    let emojis: Vec<&str> = counts.keys().map(|(.., emoji)| emoji.as_str()).collect();
    let numbers: Vec<i64> = counts.values().map(|count| signed(*count)).collect();
    put(work, SOME, &[&rooms, &seqs, &emojis, &numbers]).await?;
    put(work, NONE, &[&rooms, &seqs, &emojis, &numbers]).await
}

async fn pins(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const PIN: &str = "INSERT INTO pins (room, seq, pinned_by, pinned_seq, pinned_at)
        SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::text[])
        ON CONFLICT (room, seq) DO UPDATE SET pinned_by = EXCLUDED.pinned_by,
            pinned_seq = EXCLUDED.pinned_seq, pinned_at = EXCLUDED.pinned_at";
    const UNPIN: &str = "DELETE FROM pins p USING UNNEST($1::uuid[], $2::bigint[]) k (room, seq)
        WHERE p.room = k.room AND p.seq = k.seq";
    let pinned = || changes.pins.iter().filter_map(|(key, pin)| Some((*key, pin.as_ref()?)));
    let (rooms, seqs) = keys(pinned().map(|(key, _)| key));
    if !rooms.is_empty() {
        let by: Vec<Uuid> = pinned().map(|(_, pin)| *pin.by.as_uuid()).collect();
        let at: Vec<i64> = pinned().map(|(_, pin)| signed(pin.mark.seq)).collect();
        let times: Vec<&str> = pinned().map(|(_, pin)| pin.mark.at.as_str()).collect();
        put(work, PIN, &[&rooms, &seqs, &by, &at, &times]).await?;
    }
    let unpinned = changes.pins.iter().filter(|(_, pin)| pin.is_none());
    let (rooms, seqs) = keys(unpinned.map(|(key, _)| *key));
    if rooms.is_empty() { Ok(()) } else { put(work, UNPIN, &[&rooms, &seqs]).await }
}

/// What was done before to messages of which nothing is left.
async fn cleared(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    let (rooms, seqs) = keys(changes.cleared.iter().copied());
    if rooms.is_empty() {
        return Ok(());
    }
    for table in ["reactions", "reaction_counts", "pins", "versions"] {
        let sql = format!(
            "DELETE FROM {table} t USING UNNEST($1::uuid[], $2::bigint[]) k (room, seq)
             WHERE t.room = k.room AND t.seq = k.seq"
        );
        put(work, &sql, &[&rooms, &seqs]).await?;
    }
    Ok(())
}

fn keys(keys: impl Iterator<Item = (RoomId, u64)>) -> (Vec<Uuid>, Vec<i64>) {
    keys.map(|(room, seq)| (*room.as_uuid(), signed(seq))).unzip()
}
