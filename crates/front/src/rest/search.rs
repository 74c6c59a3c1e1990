//! What was said, by what it says.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use natterjack_domain::{
    RoomId, UserId,
    search::{InvalidQuery, Query as Words, Tag},
};
use natterjack_readmodel::search::{Search, Sort};
use natterjack_wire::{ErrorCode, rest::HitList};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Caller, Query},
    problems::Problems,
};
use crate::{fault::Fault, limit::Limiter, search::Searches, ws};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// What is looked for, see docs/search.md: words, `"several words"`, `-unwanted`. May be empty where a room, an author or
    /// `has` is given.
    #[serde(default)]
    #[param(max_length = 200)]
    q: String,
    /// Only in this room.
    #[param(value_type = Option<uuid::Uuid>)]
    room: Option<RoomId>,
    /// Only by this person.
    #[param(value_type = Option<uuid::Uuid>)]
    author: Option<UserId>,
    /// Only what was posted then or later.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<OffsetDateTime>,
    /// Only what was posted before.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<OffsetDateTime>,
    /// Only what bears this.
    #[param(inline)]
    has: Option<Has>,
    /// Best first, or newest first; best when missing.
    #[serde(default)]
    #[param(inline)]
    sort: Order,
    cursor: Option<String>,
    /// 1–50, 20 when missing.
    limit: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Has {
    Attachment,
    Link,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Rank,
    Time,
}

/// Messages of my rooms that hold what is looked for.
#[utoipa::path(get, path = "/v1/search/messages", tag = "search", params(SearchQuery),
    responses((status = 200, body = HitList), Problems))]
pub async fn messages(
    State(searches): State<Searches>,
    State(limiter): State<Arc<Limiter>>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    Query(query): Query<SearchQuery>,
) -> Result<Body<HitList>, Fault> {
    let words = Words::parse(&query.q)?;
    let is_narrow = query.room.is_some() || query.author.is_some() || query.has.is_some();
    if words.wanted.is_empty() && !is_narrow {
        return Err(Fault::from(ErrorCode::SearchInvalid).because("there is nothing to look for"));
    }
    limiter.search(caller.user)?;
    if let Some(room) = query.room {
        sockets.hub.room(room).await?.admit(caller.user).await?;
    }
    let search = Search {
        user: caller.user,
        query: words,
        room: query.room,
        author: query.author,
        has: query.has.map(|has| match has {
            Has::Attachment => Tag::Attachment,
            Has::Link => Tag::Link,
        }),
        from_us: query.from.map(micros),
        to_us: query.to.map(micros),
        sort: match query.sort {
            Order::Rank => Sort::Rank,
            Order::Time => Sort::Time,
        },
        cursor: query.cursor,
        limit: query.limit,
        now_us: micros(OffsetDateTime::now_utc()),
        time_limit: searches.time_limit(),
    };
    Ok(Body(searches.messages(search).await?))
}

fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

impl From<InvalidQuery> for Fault {
    fn from(error: InvalidQuery) -> Self {
        Self::from(ErrorCode::SearchInvalid).because(error.to_string())
    }
}
