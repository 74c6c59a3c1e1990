//! What the product promises, on whole sites: real nats-server, real Postgres, fronts and projectors.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod accounts;
mod bad_input;
mod following;
mod messages;
mod opening;
mod raw;
mod rooms;
mod tokens;
