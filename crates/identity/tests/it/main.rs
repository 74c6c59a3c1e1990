//! Accounts and sessions on a real Postgres, as the role of a front.

#![allow(clippy::unwrap_used)]

mod accounts;
mod outbox;
mod people;
#[path = "../../../database/tests/postgres/mod.rs"]
mod postgres;
mod refresh;
mod sessions;
mod world;
