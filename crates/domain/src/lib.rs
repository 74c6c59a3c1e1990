//! Ids, values, events and the rules of rooms and users.
//!
//! Everything here is pure: no I/O, no async, no clock, no randomness but the making of ids. Start with
//! [`room`]: `decide` turns a command into events, `apply` folds events into state.

pub mod attachment;
pub mod file_name;
pub mod ids;
pub mod message;
pub mod permission;
pub mod presence;
pub mod profile;
pub mod room;
pub mod search;
pub mod user;
pub mod values;

pub use file_name::{FileName, InvalidFileName};
pub use ids::{
    AttachmentId, ClientId, EventId, InvalidId, InviteId, MessageId, RoomId, ScheduleId, SessionId, UserId,
};
pub use permission::{Action, Role};
pub use values::{
    AvatarId, InvalidText, MessageBody, Reason, RoomDescription, RoomName, RoomTopic, Visibility,
};
