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
