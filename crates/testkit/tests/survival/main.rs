//! What is promised whatever dies or is cut off, invariant by invariant, each in seconds.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod chaos;
mod conformance;
mod found;
