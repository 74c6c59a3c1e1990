//! Rooms as one person sees them.

use deadpool_postgres::GenericClient;
use natterjack_domain::{RoomId, UserId};
use natterjack_wire::rest::{RoomList, RoomSummary};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::{
    Error, Page,
    cursor::{Cursor, CursorInvalid},
    query, rows,
};

/// The summaries, for the person `$1`, of the rooms that a subquery gives with `joined_seq`, null for those
/// that the person is not a member of.
///
/// What was said before a person joined is not unread. What is last is shown to members only. Of the rooms without a name
/// those of two tell how far the other one has come.
macro_rules! summaries {
    ($rooms:literal, $order:literal) => {
        concat!(
            "SELECT r.id, r.kind, r.name, r.visibility, r.owner, r.member_count, r.head, r.topic, r.description,
                    r.avatar, r.slow_mode_s, r.read_only, r.members_max, r.archived, r.role, p.ids, p.usernames,
                    p.nicknames, p.avatars, p.deactivated,
                    r.joined_seq IS NOT NULL AS joined, coalesce(k.seq, 0) AS read_seq,
                    CASE WHEN r.joined_seq IS NULL THEN 0
                         ELSE r.last_ordinal - coalesce(u.ordinal, 0) END AS unread,
                    f.seq AS first_seq, f.mid AS first_mid, n.level AS notify,
                    CASE WHEN o.user_id IS NOT NULL THEN coalesce(ok.seq, 0) END AS other_read_seq,
                    CASE WHEN o.user_id IS NOT NULL THEN greatest(ok.seq, od.seq, 0) END AS other_delivered_seq,
                    CASE WHEN r.joined_seq IS NULL THEN 0 ELSE
                        r.all_mentions - coalesce(u.all_mentions, 0) + (
                            SELECT count(*) FROM read.mentions
                            WHERE room = r.id AND user_id = $1 AND seq > greatest(k.seq, r.joined_seq)
                              AND thread IS NULL)
                    END AS mentions,
                    r.name_key, c.epoch, c.seq AS as_of, ",
            message_columns!(),
            " FROM (",
            $rooms,
            ") r
             JOIN read.checkpoints c ON c.stream = r.stream
             LEFT JOIN read.read_marks k
                    ON k.user_id = $1 AND k.room = r.id AND r.joined_seq IS NOT NULL
             LEFT JOIN LATERAL (
                    SELECT array_agg(o.user_id ORDER BY o.user_id) AS ids,
                           array_agg(coalesce(q.username, '') ORDER BY o.user_id) AS usernames,
                           array_agg(n.nickname ORDER BY o.user_id) AS nicknames,
                           array_agg(n.avatar ORDER BY o.user_id) AS avatars,
                           array_agg(n.deactivated_at IS NOT NULL ORDER BY o.user_id) AS deactivated
                    FROM read.members o LEFT JOIN read.people q ON q.id = o.user_id
                    LEFT JOIN read.profiles n ON n.user_id = o.user_id
                    WHERE o.room = r.id AND o.user_id <> $1
                  ) p ON r.kind <> 'room'
             LEFT JOIN LATERAL (
                    SELECT ordinal, all_mentions FROM read.messages
                    WHERE room = r.id AND seq <= greatest(k.seq, r.joined_seq) ORDER BY seq DESC LIMIT 1
                  ) u ON r.joined_seq IS NOT NULL
             LEFT JOIN LATERAL (
                    SELECT seq, mid FROM read.messages
                    WHERE room = r.id AND seq > greatest(k.seq, r.joined_seq) AND thread IS NULL
                    ORDER BY seq LIMIT 1
                  ) f ON r.joined_seq IS NOT NULL
             LEFT JOIN LATERAL (
                    SELECT user_id FROM read.members WHERE room = r.id AND user_id <> $1 LIMIT 1
                  ) o ON r.joined_seq IS NOT NULL AND r.kind = 'direct'
             LEFT JOIN read.read_marks ok ON ok.user_id = o.user_id AND ok.room = r.id
             LEFT JOIN read.delivered_marks od ON od.user_id = o.user_id AND od.room = r.id
             LEFT JOIN read.notify_levels n
                    ON n.user_id = $1 AND n.room = r.id AND r.joined_seq IS NOT NULL
             LEFT JOIN LATERAL (
                    SELECT * FROM read.messages WHERE room = r.id AND thread IS NULL
                    ORDER BY seq DESC LIMIT 1
                  ) m ON r.joined_seq IS NOT NULL
             ORDER BY ",
            $order
        )
    };
}

const ONE: &str = summaries!(
    "SELECT o.*, me.joined_seq, me.role FROM read.rooms o
     LEFT JOIN read.members me ON me.room = o.id AND me.user_id = $1
     WHERE o.id = $2 AND NOT o.deleted AND (o.visibility = 'public' OR me.room IS NOT NULL)",
    "r.id"
);

const MINE: &str = summaries!(
    "SELECT o.*, me.joined_seq, me.role FROM read.members me JOIN read.rooms o ON o.id = me.room
     WHERE me.user_id = $1 AND me.room > $2
       AND (o.kind <> 'direct' OR o.owner = $1 OR o.last_ordinal > 0) ORDER BY me.room LIMIT $3",
    "r.id"
);

const PUBLIC: &str = summaries!(
    "SELECT o.*, me.joined_seq, me.role FROM read.rooms o
     LEFT JOIN read.members me ON me.room = o.id AND me.user_id = $1
     WHERE o.visibility = 'public' AND NOT o.archived AND NOT o.deleted AND (o.name_key, o.id) > ($2, $3) AND position($4 IN o.name_key) > 0
     ORDER BY o.name_key, o.id LIMIT $5",
    "r.name_key, r.id"
);

/// One room. `None` if it does not exist, or is private and `user` is not a member of it.
pub async fn room(
    client: &impl GenericClient,
    room: RoomId,
    user: UserId,
) -> Result<Option<RoomSummary>, Error> {
    let rows =
        query(client, "room", ONE, &[(user.as_uuid(), Type::UUID), (room.as_uuid(), Type::UUID)]).await?;
    rows.first().map(rows::room).transpose()
}

/// The rooms that `user` is a member of, by id; not those with one other person who has opened it and said nothing. Each bears its own `as_of`: they may live in several streams.
pub async fn room_list(client: &impl GenericClient, user: UserId, page: Page<'_>) -> Result<RoomList, Error> {
    let after = match page.cursor.map(Cursor::decode).transpose()? {
        None => Uuid::nil(),
        Some(Cursor::Rooms { after }) => after.into(),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(user.as_uuid(), Type::UUID), (&after, Type::UUID), (&page.limit_and_one(), Type::INT8)];
    let rows = query(client, "room_list", MINE, &parameters).await?;
    let next = rows.get(page.limit()).map(|_| &rows[page.limit() - 1]);
    let next = next.map(|last| last.try_get("id").map(RoomId::from_uuid)).transpose()?;
    let items = rows.iter().take(page.limit()).map(rows::room).collect::<Result<_, _>>()?;
    Ok(RoomList { items, next: next.map(|after| Cursor::Rooms { after }.encode()) })
}

/// The public rooms whose names contain `q`, whatever its case, by name; all of them for an empty `q`.
///
/// Costs a look at every public room's name in the worst case.
pub async fn public_rooms(
    client: &impl GenericClient,
    user: UserId,
    q: &str,
    page: Page<'_>,
) -> Result<RoomList, Error> {
    let (name_key, after) = match page.cursor.map(Cursor::decode).transpose()? {
        None => (String::new(), Uuid::nil()),
        Some(Cursor::PublicRooms { name_key, after }) => (name_key, after.into()),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let q = q.replace('\0', "\u{fffd}").trim().to_lowercase();
    let rows = query(
        client,
        "public_rooms",
        PUBLIC,
        &[
            (user.as_uuid(), Type::UUID),
            (&name_key, Type::TEXT),
            (&after, Type::UUID),
            (&q, Type::TEXT),
            (&page.limit_and_one(), Type::INT8),
        ],
    )
    .await?;
    let mut next = None;
    if rows.len() > page.limit() {
        let last = &rows[page.limit() - 1];
        let after = RoomId::from_uuid(last.try_get("id")?);
        next = Some(Cursor::PublicRooms { name_key: last.try_get("name_key")?, after }.encode());
    }
    let items = rows.iter().take(page.limit()).map(rows::room).collect::<Result<_, _>>()?;
    Ok(RoomList { items, next })
}
