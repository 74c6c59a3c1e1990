//! What was said, by what it says.
//!
//! The index ([`Tag`]s and words in one `tsvector`) gives what may match; texts decide where it cannot. Of all that matches the
//! newest [`CANDIDATES_MAX`] are looked at: so a word that is in half of all messages costs no more than one that is in
//! a hundredth.

use std::time::{Duration, Instant};

use deadpool_postgres::{GenericClient as _, Transaction};
use natterjack_database::Connection;
use natterjack_domain::{
    MessageId, RoomId, UserId,
    search::{Lexeme, Needle, Query, Tag},
};
use natterjack_wire::{
    Position,
    rest::{Highlight, Hit, HitList},
};
use tokio_postgres::{
    IsolationLevel, Row,
    error::SqlState,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{
    Error,
    cursor::{Cursor, CursorInvalid, Place},
    metrics, query, rows,
};

/// Messages on a page when the asker names no number.
pub const PAGE_DEFAULT: u32 = 20;
/// Most messages on a page.
pub const PAGE_MAX: u32 = 50;
/// Of all that matches, so many are counted and ranked: the newest.
pub const CANDIDATES_MAX: i64 = 2_000;
/// Who is in no more rooms than this has them looked for in the index; else each match is compared with the list of
/// them.
const ROOMS_IN_INDEX_MAX: usize = 32;

/// What is looked for, by whom.
#[derive(Debug, Clone)]
pub struct Search {
    pub user: UserId,
    pub query: Query,
    pub room: Option<RoomId>,
    pub author: Option<UserId>,
    /// [`Tag::Attachment`], [`Tag::Link`].
    pub has: Option<Tag>,
    /// Posted at or after, in microseconds since 1970.
    pub from_us: Option<i64>,
    /// Posted before.
    pub to_us: Option<i64>,
    pub sort: Sort,
    pub cursor: Option<String>,
    pub limit: Option<u32>,
    /// Now, in microseconds since 1970.
    pub now_us: i64,
    /// After this the search is given up.
    pub time_limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The best first: those that hold all words in their order, that are short, that are new.
    Rank,
    /// The newest first.
    Time,
}

impl Sort {
    const fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Time => "time",
        }
    }
}

/// In one snapshot, of the rooms whose member `search.user` is by [`read.members`], but for those in `without`.
///
/// What the read models say differently by now (a message was edited or recalled) is left out.
///
/// [`read.members`]: crate::people::members
pub async fn messages(
    client: &mut Connection,
    search: &Search,
    without: &[RoomId],
) -> Result<HitList, Error> {
    let begun = Instant::now();
    let found = in_snapshot(client, search, without).await.map_err(cut_off);
    let outcome = match &found {
        Ok(_) => "found",
        Err(Error::TooLong) => "too_long",
        Err(_) => "failed",
    };
    metrics::searched(search.sort.name(), outcome, begun.elapsed());
    found
}

async fn in_snapshot(client: &mut Connection, search: &Search, without: &[RoomId]) -> Result<HitList, Error> {
    let place = match search.cursor.as_deref().map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::Found(place)) => Some(place),
        Some(_) => return Err(CursorInvalid.into()),
    };
    let work = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let work = work.start().await?;
    // How common the words are decides how they are best looked for.
    let settings = format!(
        "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL statement_timeout = {}",
        search.time_limit.as_millis().max(1)
    );
    work.batch_execute(&settings).await?;
    let (as_of, rooms) = futures_util::try_join!(positions(&work), rooms_of(&work, search, without))?;
    let found = if rooms.is_empty() { vec![] } else { find(&work, search, &rooms, place).await? };
    work.commit().await?;
    list(&found, search, place.is_none(), as_of)
}

/// The rooms that may be looked into.
async fn rooms_of(work: &Transaction<'_>, search: &Search, without: &[RoomId]) -> Result<Vec<RoomId>, Error> {
    const SQL: &str = "SELECT room FROM read.members
        WHERE user_id = $1 AND ($2::uuid IS NULL OR room = $2) AND room <> ALL($3) ORDER BY room";
    let room = search.room.map(Uuid::from);
    let without: Vec<Uuid> = without.iter().map(|room| (*room).into()).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(search.user.as_uuid(), Type::UUID), (&room, Type::UUID), (&without, Type::UUID_ARRAY)];
    let found = query(work, "search_rooms", SQL, &parameters).await?;
    Ok(found.iter().map(|row| row.try_get(0).map(RoomId::from_uuid)).collect::<Result<_, _>>()?)
}

async fn positions(work: &Transaction<'_>) -> Result<Vec<Position>, Error> {
    let sql = "SELECT epoch, seq AS as_of FROM search.checkpoints ORDER BY stream";
    query(work, "search_positions", sql, &[]).await?.iter().map(rows::position).collect()
}

async fn find(
    work: &Transaction<'_>,
    search: &Search,
    rooms: &[RoomId],
    place: Option<Place>,
) -> Result<Vec<Row>, Error> {
    // Time orders both: the newest matches are found, and then brought into order. The longer a text, and the older, the less
    // it counts; both fall slowly, so that what says exactly what was looked for comes before what was said yesterday.
    const SQL: &str = concat!(
        "WITH found AS MATERIALIZED (
            SELECT s.room, s.mid, s.posted_us,
                   CASE WHEN $1 THEN
                       CASE WHEN strpos(s.text, $2) > 0 THEN 2.0::float8 ELSE 1.0 END
                       / (1.0 + ln(1.0 + octet_length(s.text) / 100.0::float8))
                       * (0.25 + 0.75 / (1.0 + ($3 - s.posted_us) / 2.592e12::float8))
                   ELSE 0.0 END AS score
            FROM search.messages s
            WHERE s.terms @@ $4::text::tsquery AND s.room = ANY($5)
              AND s.text LIKE ALL($6) AND NOT s.text LIKE ANY($7)
              AND s.posted_us >= $8 AND s.posted_us < $9 AND (s.posted_us, s.room, s.mid) < ($10, $11, $12)
            ORDER BY s.posted_us DESC, s.room DESC, s.mid DESC LIMIT $13
        )
        SELECT p.room, p.mid, p.posted_us, p.score, (SELECT count(*) FROM found) AS total,
               me.room IS NOT NULL AS is_member, ",
        message_columns!(),
        "
        FROM (
            SELECT * FROM found WHERE (score, posted_us, room, mid) < ($14, $15, $16, $17)
            ORDER BY score DESC, posted_us DESC, room DESC, mid DESC LIMIT $18
        ) p
        LEFT JOIN read.members me ON me.room = p.room AND me.user_id = $19
        LEFT JOIN read.messages m ON m.room = p.room AND m.mid = p.mid
        ORDER BY p.score DESC, p.posted_us DESC, p.room DESC, p.mid DESC"
    );
    let is_ranked = search.sort == Sort::Rank;
    let at_us = place.map_or(search.now_us, |place| place.at_us);
    let end = (i64::MAX, Uuid::max(), Uuid::max());
    let reached = place.map_or(end, |place| (place.posted_us, place.room.into(), place.mid.into()));
    let before = if is_ranked { (at_us, end.1, end.2) } else { reached };
    let (score, after) = match place {
        Some(place) if is_ranked => (f64::from_bits(place.score), reached),
        _ => (f64::INFINITY, end),
    };
    let page = i64::try_from(limit(search)).unwrap_or(0) + 1;
    let candidates = if is_ranked || place.is_none() { CANDIDATES_MAX } else { page };
    let terms = terms(search, rooms);
    // Where there is but one term, no text is better than another; and no text has this in it.
    let phrase = search.query.phrase().unwrap_or_else(|| "%".into());
    let rooms: Vec<Uuid> = rooms.iter().map(|room| (*room).into()).collect();
    let (wanted, unwanted) = (patterns(&search.query.wanted), patterns(&search.query.unwanted));
    let (from, to) = (search.from_us.unwrap_or(i64::MIN), search.to_us.unwrap_or(i64::MAX));
    let parameters: [(&(dyn ToSql + Sync), Type); 19] = [
        (&is_ranked, Type::BOOL),
        (&phrase, Type::TEXT),
        (&at_us, Type::INT8),
        (&terms, Type::TEXT),
        (&rooms, Type::UUID_ARRAY),
        (&wanted, Type::TEXT_ARRAY),
        (&unwanted, Type::TEXT_ARRAY),
        (&from, Type::INT8),
        (&to, Type::INT8),
        (&before.0, Type::INT8),
        (&before.1, Type::UUID),
        (&before.2, Type::UUID),
        (&candidates, Type::INT8),
        (&score, Type::FLOAT8),
        (&after.0, Type::INT8),
        (&after.1, Type::UUID),
        (&after.2, Type::UUID),
        (&page, Type::INT8),
        (search.user.as_uuid(), Type::UUID),
    ];
    query(work, "search", SQL, &parameters).await
}

/// What the index is asked for. Lexemes and tags need no escaping.
fn terms(search: &Search, rooms: &[RoomId]) -> String {
    let lexeme =
        |Lexeme { text, is_prefix }: Lexeme<'_>| format!("'{text}'{}", if is_prefix { ":*" } else { "" });
    let quoted = |tag: Tag| format!("'{tag}'");
    let wanted = search.query.wanted.iter().flat_map(Needle::lexemes).map(lexeme);
    let decided = search.query.unwanted.iter().filter(|needle| needle.is_decided_by_index());
    let unwanted = decided.flat_map(Needle::lexemes).map(|l| format!("!{}", lexeme(l)));
    let tags = search.author.map(Tag::Author).into_iter().chain(search.has).map(quoted);
    let mut terms: Vec<String> = wanted.chain(tags).chain(unwanted).collect();
    if rooms.len() <= ROOMS_IN_INDEX_MAX {
        let rooms: Vec<_> = rooms.iter().map(|room| quoted(Tag::Room(*room))).collect();
        terms.push(format!("({})", rooms.join(" | ")));
    }
    terms.join(" & ")
}

/// For what the index cannot decide. A folded text has no character that a pattern takes for another.
fn patterns(needles: &[Needle]) -> Vec<String> {
    let open = needles.iter().filter(|needle| !needle.is_decided_by_index());
    open.map(|needle| format!("%{}%", needle.as_str())).collect()
}

fn limit(search: &Search) -> usize {
    search.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as usize
}

fn list(found: &[Row], search: &Search, is_first: bool, as_of: Vec<Position>) -> Result<HitList, Error> {
    let limit = limit(search);
    let mut items = Vec::with_capacity(found.len().min(limit));
    for row in found.iter().take(limit) {
        items.extend(hit(row, &search.query)?);
    }
    let last = (found.len() > limit).then(|| &found[limit - 1]);
    let next = last.map(|row| place(row, search)).transpose()?;
    let total = found.first().map_or(Ok(0), |row| row.try_get("total").map(rows::unsigned))?;
    Ok(HitList {
        items,
        next: next.map(|place| Cursor::Found(place).encode()),
        total: is_first.then_some(total),
        as_of,
    })
}

/// `None` for what is not as the index says any more.
fn hit(row: &Row, query: &Query) -> Result<Option<Hit>, Error> {
    let room = RoomId::from_uuid(row.try_get("room")?);
    let message = if row.try_get("is_member")? { rows::message(row, room)? } else { None };
    let Some(message) = message else { return Ok(None) };
    let Some(body) = &message.body else { return Ok(None) };
    let highlights = if query.is_empty() { Some(vec![]) } else { query.excerpt(body) };
    let highlights = highlights.map(|pieces| {
        let pieces = pieces.into_iter().map(|piece| Highlight { text: piece.text, hit: piece.hit });
        pieces.collect()
    });
    Ok(highlights.map(|highlights| Hit { message, highlights }))
}

fn place(row: &Row, search: &Search) -> Result<Place, Error> {
    let at_us = match search.cursor.as_deref().map(Cursor::decode).transpose()? {
        Some(Cursor::Found(place)) => place.at_us,
        _ => search.now_us,
    };
    Ok(Place {
        at_us,
        score: row.try_get::<_, f64>("score")?.to_bits(),
        posted_us: row.try_get("posted_us")?,
        room: RoomId::from_uuid(row.try_get("room")?),
        mid: MessageId::from_uuid(row.try_get("mid")?),
    })
}

/// Tells the search's own limit from an outage.
fn cut_off(error: Error) -> Error {
    use natterjack_database::{Error as Postgres, Outage};
    match error {
        Error::Database(Postgres::Unavailable(Outage::Postgres(error)))
            if error.code() == Some(&SqlState::QUERY_CANCELED) =>
        {
            Error::TooLong
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(q: &str) -> Search {
        Search {
            user: UserId::random(),
            query: Query::parse(q).unwrap(),
            room: None,
            author: None,
            has: None,
            from_us: None,
            to_us: None,
            sort: Sort::Rank,
            cursor: None,
            limit: None,
            now_us: 0,
            time_limit: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_the_index_is_asked_and_what_the_texts() {
        let rooms: Vec<RoomId> = (0..40).map(|n| RoomId::from_uuid(Uuid::from_u128(n))).collect();
        let asked = |q: &str| {
            let search = search(q);
            (terms(&search, &rooms), patterns(&search.query.wanted), patterns(&search.query.unwanted))
        };
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(asked("Deploy serv"), ("'deploy' & 'serv':*".into(), vec![], vec![]));
        assert_eq!(asked("\"to be\" 北京"), ("'to' & 'be' & '北京'".into(), strings(&["% to be %"]), vec![]));
        assert_eq!(
            asked("去北京 -no -\"or so\""),
            ("'去北' & '北京' & !'no'".into(), strings(&["%去北京%"]), strings(&["% or so %"]))
        );
        assert_eq!(asked("我"), ("'我':*".into(), vec![], vec![]));
        let author = UserId::from_uuid(Uuid::from_u128(7));
        let narrow = Search { author: Some(author), has: Some(Tag::Link), ..search("") };
        assert_eq!(
            terms(&narrow, &rooms[..2]),
            "'@00000000000000000000000000000007' & '!link' & \
             ('#00000000000000000000000000000000' | '#00000000000000000000000000000001')"
        );
    }
}
