//! What people are.

use deadpool_postgres::Transaction;
use natterjack_domain::profile::{Avatar, Bio, Nickname, StatusEmoji, search_key};
use tokio_postgres::Error;
use uuid::Uuid;

use super::put;
use crate::{fold::Changes, number::signed};

/// A person registers once; what comes after is a repeat.
pub(super) async fn people(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO people (id, username, registered_at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";
    let people = &changes.people;
    if people.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = people.keys().map(|id| *id.as_uuid()).collect();
    let names: Vec<&str> = people.values().map(|p| p.username.as_str()).collect();
    let times: Vec<&str> = people.values().map(|p| p.registered_at.as_str()).collect();
    put(work, SQL, &[&ids, &names, &times]).await
}

/// The last one of a person counts.
pub(super) async fn profiles(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO profiles (user_id, nickname, nickname_key, avatar, bio, status_text,
                                             status_emoji, status_until)
        SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                             $7::text[], $8::bigint[])
        ON CONFLICT (user_id) DO UPDATE SET nickname = EXCLUDED.nickname, nickname_key = EXCLUDED.nickname_key,
            avatar = EXCLUDED.avatar, bio = EXCLUDED.bio, status_text = EXCLUDED.status_text,
            status_emoji = EXCLUDED.status_emoji, status_until = EXCLUDED.status_until";
    if changes.profiles.is_empty() {
        return Ok(());
    }
    let users: Vec<Uuid> = changes.profiles.keys().map(|id| *id.as_uuid()).collect();
    let profiles = || changes.profiles.values();
    let nicknames: Vec<_> = profiles().map(|p| p.nickname.as_ref().map(Nickname::as_str)).collect();
    let keys: Vec<_> = nicknames.iter().map(|name| name.map(search_key)).collect();
    let avatars: Vec<_> = profiles().map(|p| p.avatar.as_ref().map(Avatar::as_str)).collect();
    let bios: Vec<_> = profiles().map(|p| p.bio.as_ref().map(Bio::as_str)).collect();
    let statuses = || profiles().map(|p| p.status.as_ref());
    let texts: Vec<_> = statuses().map(|s| s.map(|s| s.text.as_str())).collect();
    let emojis: Vec<_> =
        statuses().map(|s| s.and_then(|s| s.emoji.as_ref()).map(StatusEmoji::as_str)).collect();
    let untils: Vec<_> = statuses().map(|s| s.and_then(|s| s.until).map(signed)).collect();
    put(work, SQL, &[&users, &nicknames, &keys, &avatars, &bios, &texts, &emojis, &untils]).await
}

/// An account is closed once.
pub(super) async fn deactivated(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO profiles (user_id, deactivated_at)
        SELECT * FROM UNNEST($1::uuid[], $2::text[])
        ON CONFLICT (user_id) DO UPDATE SET deactivated_at = EXCLUDED.deactivated_at
            WHERE profiles.deactivated_at IS NULL";
    if changes.deactivated.is_empty() {
        return Ok(());
    }
    let users: Vec<Uuid> = changes.deactivated.keys().map(|id| *id.as_uuid()).collect();
    let times: Vec<&str> = changes.deactivated.values().map(String::as_str).collect();
    put(work, SQL, &[&users, &times]).await
}
