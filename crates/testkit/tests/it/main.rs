//! What the product promises, on whole sites: real nats-server, real Postgres, fronts and projectors.

#![allow(clippy::unwrap_used, clippy::large_futures, clippy::similar_names)]

mod accounts;
mod attachments;
mod bad_input;
mod contract;
mod conversation;
mod direct;
mod following;
mod kept;
mod log;
mod messages;
mod moderation;
mod opening;
mod outages;
mod people;
mod presence;
mod raw;
mod resuming;
mod rooms;
mod schedules;
mod search;
mod slow;
mod tokens;

use std::time::{SystemTime, UNIX_EPOCH};

use natterjack_testkit::Socket;
use natterjack_wire::ErrorCode;
use serde_json::Value;

/// So many milliseconds from now, since 1970.
fn in_ms(ms: u64) -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap() + ms
}

/// The next event of this type on the person's feed.
async fn told(socket: &mut Socket, kind: &str) -> Value {
    let frame = socket.until(|frame| frame["t"] == "u" && frame["e"]["type"] == kind).await;
    frame["e"].clone()
}

#[track_caller]
fn assert_code(answer: &Value, code: ErrorCode) {
    assert_eq!(answer["code"], code.number(), "{answer}");
}
