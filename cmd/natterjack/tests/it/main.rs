//! The program itself, with everything it starts.
#![allow(clippy::unwrap_used)]

mod bench;
mod commands;
mod installation;
mod up;
