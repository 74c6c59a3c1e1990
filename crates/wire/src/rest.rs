//! Bodies of the REST interface.

mod messages;
mod people;
mod rooms;

pub use self::{messages::*, people::*, rooms::*};
