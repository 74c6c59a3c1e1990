//! What [`crate::outside`] names, as the model has it.

use std::hash::{BuildHasherDefault, DefaultHasher};

pub use super::{
    log::{Feeds, Live, Log},
    socket::{ReadHalf, WriteHalf},
    world::World as Copy,
};

/// Iterates in the same order in every run.
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
