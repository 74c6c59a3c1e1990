//! Bodies of the REST interface.

mod kept;
mod messages;
mod people;
mod rooms;
mod search;

pub use self::{kept::*, messages::*, people::*, rooms::*, search::*};
