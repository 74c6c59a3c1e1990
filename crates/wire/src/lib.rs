//! What goes over the wire: stored events, WebSocket frames, REST bodies, error codes.
//!
//! The one source of the TypeScript types (`web/src/protocol/wire.gen.ts`) and of the schemas in the OpenAPI
//! document, and of the AsyncAPI document. No I/O. Start with [`frame`] for the protocol, [`event`] for what the log holds.

mod asyncapi;
pub mod draft;
pub mod error;
pub mod event;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod rest;

pub use asyncapi::asyncapi;
pub use draft::Draft;
pub use error::{ErrorCode, Problem};
pub use event::{DecodeError, EventBody, Fact, StoredEvent};
pub use frame::{ClientFrame, Position, ServerFrame};
