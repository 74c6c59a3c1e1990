//! Saying something.

use natterjack_domain::{
    ClientId, MessageBody, MessageId, UserId,
    message::{Event, Forwarded, Meta, Posted},
    permission::Action,
};
use natterjack_eventlog::{NewEvent, Subject};
use natterjack_wire::{Draft, ErrorCode, Fact, draft::Original, rest::Message};

use super::{attachments, body, find, mentions, meta};
use crate::{fault::Fault, hub::Handle, ws::Context};

/// The message that `draft` comes to. A repeat with the same `cid` is the same message.
pub async fn send(
    context: &Context,
    handle: &Handle,
    user: UserId,
    cid: ClientId,
    draft: Draft,
) -> Result<(MessageId, NewEvent), Fault> {
    handle.permit(user, Action::Post).await?;
    let room = handle.room_id;
    let id = MessageId::derive(room, user, cid);
    context.hub.pace(handle, user, id).await?;
    let mut posted = if let Some(original) = &draft.forwarded {
        let said = original_of(context, user, original, &draft).await?;
        let (body, meta) = content(&said)?;
        let forwarded = Forwarded { room: original.room, mid: original.mid, author: said.author };
        let attachments = said.attachments;
        attachments::forward(context, original.room, room, id, &attachments).await?;
        Posted { meta, forwarded: Some(forwarded), attachments, ..Posted::plain(id, user, cid, body) }
    } else {
        let meta = meta(draft.meta)?;
        let attachments = attachments::take(context, room, user, id, &draft.attachments).await?;
        let may_be_empty = meta.is_some() || !attachments.is_empty();
        let body = body(context, &draft.body, may_be_empty)?;
        Posted { meta, attachments, ..Posted::plain(id, user, cid, body) }
    };
    if let Some(root) = draft.thread {
        assure_root(context, handle, user, root).await?;
        posted.thread = Some(root);
    }
    posted.mentions = mentions(handle, user, draft.mentions, posted.thread.is_some()).await?;
    posted.reply_to = draft.reply_to;
    let event = NewEvent::new(Subject::timeline(room), id.into(), &Fact::Message(Event::Posted(posted)));
    Ok((id, event))
}

/// A thread begins at a message that is there, and threads do not branch.
async fn assure_root(context: &Context, handle: &Handle, user: UserId, root: MessageId) -> Result<(), Fault> {
    let found = find(context, handle, root, user).await;
    let why = match found {
        Ok(found) if found.message.gone => "the message was recalled or deleted",
        Ok(found) if found.message.thread.is_some() => "the message is a reply in a thread itself",
        Ok(_) => return Ok(()),
        Err(fault) if fault.code == ErrorCode::MessageNotFound => "there is no such message in this room",
        Err(fault) => return Err(fault),
    };
    Err(Fault::from(ErrorCode::ThreadInvalid).because(why))
}

/// The message to forward, if `user` may read it.
async fn original_of(
    context: &Context,
    user: UserId,
    original: &Original,
    draft: &Draft,
) -> Result<Message, Fault> {
    if !draft.body.is_empty() || draft.meta.is_some() || !draft.attachments.is_empty() {
        let why = "a forwarded message says what the original says";
        return Err(Fault::from(ErrorCode::ForwardInvalid).because(why));
    }
    let source = context.hub.room(original.room).await?;
    source.admit(user).await?;
    context.projected.wait(source.topic, &source.epoch, source.head()).await?;
    let found = context.store.said(original.room, user, original.mid).await?;
    found.ok_or_else(|| ErrorCode::MessageNotFound.into())
}

fn content(said: &Message) -> Result<(MessageBody, Option<Meta>), Fault> {
    let body = said.body.clone().ok_or(ErrorCode::MessageRecalled)?;
    let body = MessageBody::try_from(body).map_err(|error| Fault::caused(ErrorCode::Internal, error))?;
    Ok((body, meta(said.meta.clone())?))
}
