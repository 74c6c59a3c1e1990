//! Attachments: taking in what people upload, looking into it, keeping it, and saying who may have it.
//!
//! The bytes lie in an object store (a directory, or anything that speaks S3), the facts in the schema `media` of Postgres.
//! No row, no file: whatever has no row is removed by whoever finds it, and a row goes after its files. This crate knows
//! neither HTTP nor rooms: the front says who is asking and whether they may read in a room.
//!
//! Start with [`Media`]. An upload goes through [`Media::create`] and [`Media::receive`], which takes any part of the body
//! from any front; the part that makes it whole has it looked into ([`inspect`]). [`Media::take`] puts it into a message.

mod collect;
mod config;
mod error;
mod finish;
pub mod inspect;
mod link;
mod media;
pub mod metrics;
mod receive;
mod s3;
#[cfg(test)]
mod samples;
mod serve;
mod storage;
mod uploads;
mod uses;

pub use self::{
    config::{Config, Limits, S3Config, StoreConfig},
    error::{Error, Refusal},
    link::{InvalidLink, Links},
    media::Media,
    receive::{Body, Course},
    serve::{Found, Part},
    storage::{OpenError, Storage},
    uploads::{NewUpload, Preview, Purpose, Upload},
};
