//! Messages, and what was done to them.

use std::collections::HashMap;

use deadpool_postgres::{GenericClient, Transaction};
use natterjack_domain::{
    MessageId, RoomId, UserId,
    message::{Emoji, Message, Reactions},
};
use tokio::try_join;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::{
    fold::{Keys, KnownMessage, Mark, Thread},
    number::unsigned,
};

type Messages = HashMap<(RoomId, MessageId), KnownMessage>;

/// Without their reactions.
pub(super) async fn messages(work: &Transaction<'_>, keys: &Keys) -> Result<Messages, Error> {
    const SQL: &str =
        "SELECT room, mid, m.seq, m.author, m.thread, m.recalled_seq IS NOT NULL, p.room IS NOT NULL
                       FROM UNNEST($1::uuid[], $2::uuid[]) k (room, mid)
                       JOIN messages m USING (room, mid)
                       LEFT JOIN pins p USING (room, seq)";
    if keys.messages.is_empty() {
        return Ok(HashMap::new());
    }
    let (rooms, mids) = columns(keys.messages.iter().copied());
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms, &mids]).await?;
    let messages = rows.iter().map(|row| {
        let (room, id) = key(row)?;
        let rules = Message {
            id,
            author: UserId::from_uuid(row.try_get(3)?),
            thread: row.try_get::<_, Option<Uuid>>(4)?.map(MessageId::from_uuid),
            gone: row.try_get(5)?,
            pinned: row.try_get(6)?,
            reactions: Reactions::default(),
        };
        Ok(((room, id), KnownMessage { seq: unsigned(row.try_get(2)?), rules }))
    });
    messages.collect()
}

pub(super) async fn threads(
    work: &Transaction<'_>,
    keys: &Keys,
) -> Result<HashMap<(RoomId, u64), Thread>, Error> {
    const SQL: &str = "SELECT room, t.seq, t.replies, t.last_seq, t.last_at, t.participants
                       FROM UNNEST($1::uuid[], $2::uuid[]) k (room, mid)
                       JOIN messages m USING (room, mid)
                       JOIN threads t USING (room, seq)";
    if keys.threads.is_empty() {
        return Ok(HashMap::new());
    }
    let (rooms, mids) = columns(keys.threads.iter().copied());
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms, &mids]).await?;
    let threads = rows.iter().map(|row| {
        let number = |column| row.try_get(column).map(unsigned);
        let participants: Vec<Uuid> = row.try_get(5)?;
        let thread = Thread {
            replies: number(2)?,
            last: Mark { seq: number(3)?, at: row.try_get(4)? },
            participants: participants.into_iter().map(UserId::from_uuid).collect(),
        };
        Ok(((RoomId::from_uuid(row.try_get(0)?), number(1)?), thread))
    });
    threads.collect()
}

pub(super) async fn pins(work: &Transaction<'_>, keys: &Keys) -> Result<HashMap<RoomId, usize>, Error> {
    const SQL: &str = "SELECT room, count(*) FROM pins WHERE room = ANY($1::uuid[]) GROUP BY room";
    if keys.pins.is_empty() {
        return Ok(HashMap::new());
    }
    let rooms: Vec<Uuid> = keys.pins.iter().map(|room| *room.as_uuid()).collect();
    let statement = work.prepare_cached(SQL).await?;
    let rows = work.query(&statement, &[&rooms]).await?;
    let counts = rows.iter().map(|row| {
        let count: i64 = row.try_get(1)?;
        Ok((RoomId::from_uuid(row.try_get(0)?), usize::try_from(count).unwrap_or(usize::MAX)))
    });
    counts.collect()
}

/// The counts of all reactions to the messages that are reacted to, and who of those that react now had reacted before.
pub(super) async fn reactions(
    work: &Transaction<'_>,
    keys: &Keys,
    messages: &mut Messages,
) -> Result<(), Error> {
    const COUNTS: &str = "SELECT room, mid, c.emoji, c.count
                          FROM UNNEST($1::uuid[], $2::uuid[]) k (room, mid)
                          JOIN messages m USING (room, mid)
                          JOIN reaction_counts c USING (room, seq)";
    const ON: &str = "SELECT room, mid, emoji, user_id
                      FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) k (room, mid, emoji, user_id)
                      JOIN messages m USING (room, mid)
                      JOIN reactions r USING (room, seq, emoji, user_id)";
    if keys.reactions.is_empty() {
        return Ok(());
    }
    let mut of: Vec<_> = keys.reactions.iter().map(|(room, mid, ..)| (*room, *mid)).collect();
    of.dedup();
    let (count_rooms, count_mids) = columns(of.iter().copied());
    let (rooms, mids) = columns(keys.reactions.iter().map(|(room, mid, ..)| (*room, *mid)));
    let emojis: Vec<&str> = keys.reactions.iter().map(|(.., emoji, _)| emoji.as_str()).collect();
    let users: Vec<Uuid> = keys.reactions.iter().map(|(.., user)| *user.as_uuid()).collect();
    let (counts, on) = try_join!(
        async {
            let statement = work.prepare_cached(COUNTS).await?;
            work.query(&statement, &[&count_rooms, &count_mids]).await
        },
        async {
            let statement = work.prepare_cached(ON).await?;
            work.query(&statement, &[&rooms, &mids, &emojis, &users]).await
        },
    )?;
    let mut found: HashMap<(RoomId, MessageId), (Vec<_>, Vec<_>)> = HashMap::new();
    for row in &counts {
        found.entry(key(row)?).or_default().0.extend(emoji(row)?.zip(Some(unsigned(row.try_get(3)?))));
    }
    for row in &on {
        let user = UserId::from_uuid(row.try_get(3)?);
        found.entry(key(row)?).or_default().1.extend(emoji(row)?.map(|emoji| (user, emoji)));
    }
    for (key, (counts, on)) in found {
        if let Some(message) = messages.get_mut(&key) {
            message.rules.reactions = Reactions::new(counts, on);
        }
    }
    Ok(())
}

fn columns(keys: impl Iterator<Item = (RoomId, MessageId)>) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.map(|(room, mid)| (*room.as_uuid(), *mid.as_uuid())).unzip()
}

fn key(row: &Row) -> Result<(RoomId, MessageId), Error> {
    Ok((RoomId::from_uuid(row.try_get(0)?), MessageId::from_uuid(row.try_get(1)?)))
}

/// As it was written here, and so one that can be read.
fn emoji(row: &Row) -> Result<Option<Emoji>, Error> {
    Ok(Emoji::parse(row.try_get(2)?).ok())
}
