//! What is said, and what is done to it: looked at, decided, and made into events that the log may take. Frames and
//! REST come here both; who calls appends.

mod attachments;
mod change;
mod find;
mod send;

pub use self::{
    change::{Change, change},
    find::{Found, find},
    send::send,
};

use natterjack_domain::{
    MessageBody, UserId,
    message::{Mentions, Meta},
    permission::Action,
};
use natterjack_wire::{
    ErrorCode,
    draft::{JsonObject, Mentioned},
};

use crate::{fault::Fault, hub::Handle, ws::Context};

/// The text, where there has to be one.
fn body(context: &Context, text: &str, may_be_empty: bool) -> Result<MessageBody, Fault> {
    if may_be_empty && text.trim().is_empty() {
        return Ok(MessageBody::default());
    }
    Ok(MessageBody::parse(text, context.config.message_max_chars)?)
}

fn meta(object: Option<JsonObject>) -> Result<Option<Meta>, Fault> {
    let invalid = |error: natterjack_domain::message::InvalidMeta| {
        Fault::from(ErrorCode::MetaInvalid).because(error.to_string())
    };
    object.map(Meta::new).transpose().map_err(invalid)
}

/// Only members can be called by name, and only some may call all; nobody calls all into a thread, which few follow.
async fn mentions(
    handle: &Handle,
    user: UserId,
    mentioned: Option<Mentioned>,
    in_thread: bool,
) -> Result<Mentions, Fault> {
    let Some(Mentioned { users, all, here }) = mentioned else { return Ok(Mentions::default()) };
    let invalid = |why: String| Fault::from(ErrorCode::MentionsInvalid).because(why);
    let (all, here) = (all == Some(true), here == Some(true));
    let mentions = Mentions::new(users.unwrap_or_default(), all, here);
    let mentions = mentions.map_err(|error| invalid(error.to_string()))?;
    if let Some(stranger) = handle.stranger_among(&mentions.users).await {
        return Err(invalid(format!("{stranger} is not a member")));
    }
    if mentions.is_for_many() {
        if in_thread {
            return Err(invalid("in a thread people are mentioned by name".into()));
        }
        handle.permit(user, Action::MentionAll).await?;
    }
    Ok(mentions)
}
