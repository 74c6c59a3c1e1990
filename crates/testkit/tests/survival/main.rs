//! What is promised whatever dies or is cut off, invariant by invariant, each in seconds.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod away;
mod chaos;
mod clocks;
mod cluster;
mod conformance;
mod damage;
mod found;
mod full;
mod herd;
mod membership;
mod poison;
mod resumed;
mod retried;
mod revoked;
mod rolling;
mod slow;
mod spoil;
mod steps;
mod unheard;
mod world;

/// A size of a test, which the environment may set: `SURVIVAL_STEP=1` for `STEP`.
fn setting(name: &str, usual: u64) -> u64 {
    match std::env::var(format!("SURVIVAL_{name}")) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => usual,
    }
}
