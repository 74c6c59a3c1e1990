//! Following rooms and the person's own feed: from now on, from a position on, after a lag.

use std::sync::Arc;

use natterjack_domain::RoomId;
use natterjack_eventlog::Topic;
use natterjack_wire::{
    ErrorCode, ServerFrame,
    frame::{ClientLimits, Position, ResetReason, SUB_LIMIT_MAX, Welcome},
};
use tokio::sync::oneshot;

use super::{Context, encode, outbox::Lag, session::Session};
use crate::{
    fault::Fault,
    hub::{Answer, Attach, Attached, Handle, Reached},
};

/// A topic is asked again while it moves on faster than its past is read. Each round reads a page, so that this
/// many rounds are only exhausted when the stores give nothing.
const ATTACH_ROUNDS: usize = 32;
/// Events read at once for a connection that fell behind.
const CATCH_UP_PAGE: usize = 500;

impl Session {
    /// Attaches to the person's feed and welcomes the client.
    pub(super) async fn welcome(
        &mut self,
        resume: Option<Position>,
        client: Option<String>,
    ) -> Result<(), Fault> {
        let context = self.context.clone();
        tracing::debug!(user = %self.user, client = client.as_deref().unwrap_or("?"), "hello");
        let handle = context.hub.open(Topic::User(self.user)).await?;
        let (after, epoch) = resume.map_or((None, None), |p| (Some(p.seq), Some(p.epoch)));
        let answer = Answer::Welcome(Box::new(welcome(&context, self)));
        self.follow(&handle, after, epoch.as_deref(), SUB_LIMIT_MAX as usize, answer).await
    }

    pub(super) async fn subscribe(
        &mut self,
        id: u64,
        room: RoomId,
        after: Option<u64>,
        epoch: Option<String>,
        limit: Option<u32>,
    ) -> Result<(), Fault> {
        let known = self.subscriptions.contains_key(&room);
        if !known && self.subscriptions.len() >= self.context.config.subscriptions_max {
            return Err(ErrorCode::TooManySubscriptions.into());
        }
        let handle = self.context.hub.room(room).await?;
        handle.admit(self.user).await?;
        let limit = limit.unwrap_or(SUB_LIMIT_MAX).min(SUB_LIMIT_MAX) as usize;
        self.follow(&handle, after, epoch.as_deref(), limit, Answer::Sub { id }).await?;
        self.subscriptions.insert(room, handle);
        Ok(())
    }

    /// Attaches at `after`, reading what lies too far back for the topic's tail. The client gets `answer` first,
    /// then every event in order.
    async fn follow(
        &self,
        handle: &Arc<Handle>,
        after: Option<u64>,
        epoch: Option<&str>,
        limit: usize,
        answer: Answer,
    ) -> Result<(), Fault> {
        let same_epoch = epoch.is_none_or(|epoch| epoch == &*handle.epoch);
        let (done, mut attached) = oneshot::channel();
        let mut attach = Attach {
            member: self.member.clone(),
            after: after.filter(|_| same_epoch),
            replayed: vec![],
            limit,
            recovered: after.map(|_| same_epoch),
            answer,
            done,
        };
        let mut reached = Reached::named(after.unwrap_or_default());
        for _ in 0..ATTACH_ROUNDS {
            match handle.attach(attach, attached).await {
                Some(Attached::Live { .. }) => return Ok(()),
                Some(Attached::Refused(rejection)) => return Err(rejection.into()),
                Some(Attached::Behind(behind)) => attach = *behind,
                None => return Err(ErrorCode::Busy.into()),
            }
            (attach.done, attached) = oneshot::channel();
            let left = limit.saturating_sub(attach.replayed.len());
            let missed = self.context.hub.missed(handle.topic, reached, left).await?;
            if missed.more {
                attach.after = None;
                attach.recovered = Some(false);
                attach.replayed.clear();
            } else {
                reached = missed.reached;
                attach.after = Some(reached.up_to);
                attach.replayed.extend(missed.frames);
            }
        }
        Err(ErrorCode::Busy.into())
    }

    /// Sends, at the client's pace, what it was too slow to take, and attaches it again.
    pub(super) async fn resume_lagging(&self, lag: Lag) -> Result<(), Fault> {
        if let Topic::Room(room) = lag.topic
            && !self.subscriptions.contains_key(&room)
        {
            return Ok(());
        }
        let outbox = &self.member.outbox;
        let handle = self.context.hub.open(lag.topic).await?;
        let mut reached = Reached::named(lag.after);
        loop {
            let (done, attached) = oneshot::channel();
            let attach = Attach {
                member: self.member.clone(),
                after: Some(reached.up_to),
                replayed: vec![],
                limit: usize::MAX,
                recovered: None,
                answer: Answer::CatchUp,
                done,
            };
            match handle.attach(attach, attached).await {
                Some(Attached::Live { .. }) => return Ok(()),
                Some(Attached::Refused(_)) => {
                    self.reset(&handle, ResetReason::NotMember);
                    return Ok(());
                }
                Some(Attached::Behind(_)) => {}
                None => return Err(ErrorCode::Busy.into()),
            }
            let missed = self.context.hub.missed(lag.topic, reached, CATCH_UP_PAGE).await?;
            if missed.reached == reached {
                return Err(ErrorCode::Busy.into());
            }
            reached = missed.reached;
            for frame in &missed.frames {
                outbox.ready().await;
                outbox.push(frame);
            }
            outbox.ready().await;
        }
    }

    fn reset(&self, handle: &Handle, reason: ResetReason) {
        let room = match handle.topic {
            Topic::Room(room) => Some(room),
            Topic::User(_) => None,
        };
        let frame = ServerFrame::Reset { room, epoch: handle.epoch.to_string(), reason };
        self.member.outbox.push(&encode::frame(&frame));
    }

    pub(super) async fn unsubscribe(&mut self, room: RoomId) -> Result<(), Fault> {
        let handle = self.subscriptions.remove(&room).ok_or(ErrorCode::NotSubscribed)?;
        handle.detach(self.member.conn).await;
        Ok(())
    }
}

/// Epoch, position and `recovered` are filled in when the feed is attached.
fn welcome(context: &Context, session: &Session) -> Welcome {
    let limits = &context.config;
    Welcome {
        conn: format!("{}-{}", context.node, session.member.conn),
        node: context.node.clone(),
        user: session.user,
        epoch: String::new(),
        seq: 0,
        recovered: false,
        now: context.now_ms(),
        heartbeat_ms: u64::try_from(limits.heartbeat.as_millis()).unwrap_or(u64::MAX),
        limits: ClientLimits {
            frame_bytes: limits.frame_max_bytes,
            message_chars: limits.message_max_chars,
            subscriptions: limits.subscriptions_max,
        },
    }
}
