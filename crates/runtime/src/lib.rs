//! What every process needs around its work: configuration, telemetry, metrics, the operators' HTTP
//! endpoints and orderly shutdown.
//!
//! It knows nothing of chat, of NATS or of Postgres, and starts nothing by itself. A binary goes through
//! the modules in this order: [`config`], [`telemetry`], [`metrics`], [`ops`], [`lifecycle`].

pub mod config;
pub mod lifecycle;
pub mod metrics;
pub mod ops;
pub mod program;
pub mod telemetry;
