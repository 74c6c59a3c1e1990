//! Bodies of the REST interface.

mod attachments;
mod kept;
mod messages;
mod people;
mod rooms;
mod search;

pub use self::{attachments::*, kept::*, messages::*, people::*, rooms::*, search::*};
