//! What the machine can do without the product: the bounds that its figures are held against.

pub mod bare_hub;
pub mod publisher;
pub mod raw_log;
pub mod raw_rows;
