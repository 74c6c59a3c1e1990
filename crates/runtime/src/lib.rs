//! What every process needs around its work: configuration, telemetry, orderly shutdown and the
//! operators' HTTP endpoints.
//!
//! It knows nothing of chat, of NATS or of Postgres. A binary goes through the modules in this order:
//! [`config`].

pub mod config;
