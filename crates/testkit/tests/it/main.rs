//! What the product promises, on whole sites: real nats-server, real Postgres, fronts and projectors.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod accounts;
mod rooms;
mod tokens;
