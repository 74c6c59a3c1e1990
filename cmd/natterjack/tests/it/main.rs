//! The program itself, with everything it starts.
#![allow(clippy::unwrap_used)]

mod commands;
mod installation;
mod up;
