//! The raw events of a room.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use natterjack_domain::RoomId;
use natterjack_eventlog::Event;
use natterjack_wire::ErrorCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Caller, Query, RoomPath};
use super::problems::Problems;
use crate::{fault::Fault, hub::Place, ws};

/// Most events in one answer.
const EVENTS_MAX: u64 = 100_000;
/// Events read at once: few enough that others have their turn in between.
const PAGE: usize = 200;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events after this sequence; all when missing.
    #[serde(default)]
    after: u64,
    /// At most so many; 100,000 when missing.
    limit: Option<u64>,
}

/// The room's stored events in their order, one JSON object a line: `{"seq":…,"prev":…,"ts":…,"e":{…}}`. Streamed up
/// to the head at the time of the request.
#[utoipa::path(get, path = "/v1/rooms/{room}/events", tag = "messages",
    params(("room" = uuid::Uuid, Path), EventsQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String),
        Problems))]
pub async fn events(
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Fault> {
    let handle = sockets.hub.room(room).await?;
    let reading = Reading {
        room,
        place: handle.place(),
        sockets,
        caller,
        after: query.after,
        prev: query.after,
        left: query.limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX),
    };
    // The first page is read before the answer begins, so that an outage is answered as one.
    let first = reading.page().await?;
    let rest = stream::try_unfold(Some(first), async |page: Option<Page>| match page {
        None => Ok::<_, Fault>(None),
        Some(Page { lines, next }) => {
            let following = match next {
                Some(next) => Some(next.page().await?),
                None => None,
            };
            Ok(Some((lines, following)))
        }
    });
    let body = Body::from_stream(futures_util::TryStreamExt::map_err(rest, |fault| {
        // The client sees that the answer breaks off.
        fault.log();
        std::io::Error::other(fault.to_string())
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

struct Reading {
    sockets: Arc<ws::Context>,
    room: RoomId,
    /// Up to where the answer goes.
    place: Place,
    caller: Caller,
    after: u64,
    /// Sequence of the last line written.
    prev: u64,
    left: u64,
}

struct Page {
    lines: Bytes,
    next: Option<Reading>,
}

impl Reading {
    /// A long answer to a slow reader outlives sessions and memberships: each page is for those who may read it.
    async fn page(self) -> Result<Page, Fault> {
        self.sockets.assure_open(self.caller.session)?;
        // Nobody else need be there, and then the room falls idle between two pages.
        let handle = self.sockets.hub.room(self.room).await?;
        handle.admit(self.caller.user).await?;
        if handle.epoch != self.place.epoch {
            return Err(ErrorCode::LogUnavailable.into());
        }
        let head = self.place.head;
        if self.after >= head || self.left == 0 {
            return Ok(Page { lines: Bytes::new(), next: None });
        }
        let limit = PAGE.min(usize::try_from(self.left).unwrap_or(PAGE));
        let stored = self.sockets.hub.stored(&self.place, self.after, limit).await?;
        let stored = stored.ok_or(ErrorCode::DatabaseUnavailable)?;
        let (mut out, mut prev) = (Vec::with_capacity(stored.events.len() * 256), self.prev);
        let mut written = 0;
        for event in stored.events.iter().filter(|event| event.seq <= head) {
            line(&mut out, event, prev);
            prev = event.seq;
            written += 1;
        }
        let after = stored.up_to.max(prev);
        if after == self.after {
            // The head is known to be farther on: what is stored between cannot be read now.
            return Err(ErrorCode::LogUnavailable.into());
        }
        let ended = after >= head;
        let next = (!ended).then(|| Self { after, prev, left: self.left.saturating_sub(written), ..self });
        Ok(Page { lines: out.into(), next })
    }
}

fn line(out: &mut Vec<u8>, event: &Event, prev: u64) {
    use std::io::Write;
    write!(out, r#"{{"seq":{},"prev":{prev},"ts":"{}","e":"#, event.seq, event.ts)
        .expect("writing to memory");
    out.extend_from_slice(if event.known { &event.body } else { b"null" });
    out.extend_from_slice(b"}\n");
}
