//! Uploads on a real Postgres, as the role of a front, over a store that can be full.

#![allow(clippy::unwrap_used)]

#[path = "../../../database/tests/postgres/mod.rs"]
mod postgres;
mod receiving;
mod uses;
mod world;
