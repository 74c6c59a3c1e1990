//! What [`crate::outside`] names, as the model has it.

pub use super::{
    log::{Log, Reader},
    tables::{Connection, Pool, Transaction},
};
