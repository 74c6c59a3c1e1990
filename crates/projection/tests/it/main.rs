//! The fold on its own, and with a real Postgres and a real nats-server.

#![allow(clippy::unwrap_used)]

mod apply;
mod fold;
mod reads;
mod replay;
mod run;
mod script;
mod search;
mod world;
