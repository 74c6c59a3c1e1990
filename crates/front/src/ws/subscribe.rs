//! Following rooms and the person's own feed: from now on, from a position on, after a lag.

use std::time::Duration;

use natterjack_domain::RoomId;
use natterjack_eventlog::Topic;
use natterjack_wire::{
    ErrorCode, ServerFrame,
    frame::{ClientLimits, Position, ResetReason, SUB_LIMIT_MAX, Welcome},
};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{Context, encode, outbox::Lag, session::Session};
use crate::{
    fault::Fault,
    hub::{Answer, Attach, Attached, CutOff, Followed, Place},
    metrics,
    position::Reached,
};

/// A topic is asked again while it moves on faster than its past is read. Each round reads a page, so that this
/// many rounds are only exhausted when the stores give nothing.
const ATTACH_ROUNDS: usize = 32;
/// Events read at once for a connection that fell behind; then its requests have their turn.
const CATCH_UP_PAGE: usize = 200;
/// A slow connection that cannot be caught up now is tried again after this.
const CATCH_UP_RETRY: Duration = Duration::from_millis(500);

impl Session {
    /// Attaches to the person's feed and welcomes the client.
    pub(super) async fn welcome(
        &mut self,
        resume: Option<Position>,
        client: Option<String>,
    ) -> Result<(), Fault> {
        if !self.context.hub.log().is_heard_soon().await {
            return Err(CutOff.into());
        }
        tracing::debug!(user = %self.user, client = client.as_deref().unwrap_or("?"), "hello");
        let (after, epoch) = resume.map_or((None, None), |p| (Some(p.seq), Some(p.epoch)));
        let answer = Answer::Welcome(Box::new(welcome(&self.context, self)));
        let limit = SUB_LIMIT_MAX as usize;
        self.follow(Topic::User(self.user), after, epoch.as_deref(), limit, answer).await
    }

    pub(super) async fn subscribe(
        &mut self,
        id: u64,
        room: RoomId,
        after: Option<u64>,
        epoch: Option<String>,
        limit: Option<u32>,
    ) -> Result<(), Fault> {
        let topic = Topic::Room(room);
        // The feed is no subscription.
        let subscriptions = self.topics.len() - 1;
        if !self.topics.contains_key(&topic) && subscriptions >= self.context.config.subscriptions_max {
            return Err(ErrorCode::TooManySubscriptions.into());
        }
        self.context.hub.room(room).await?.admit(self.user).await?;
        let limit = limit.unwrap_or(SUB_LIMIT_MAX).min(SUB_LIMIT_MAX) as usize;
        self.follow(topic, after, epoch.as_deref(), limit, Answer::Sub { id }).await
    }

    /// Attaches at `after`, reading what lies too far back for the topic's tail. The client gets `answer` first,
    /// then every event in order. On failure the connection is no member of the topic, even if it was before.
    async fn follow(
        &mut self,
        topic: Topic,
        after: Option<u64>,
        epoch: Option<&str>,
        limit: usize,
        answer: Answer,
    ) -> Result<(), Fault> {
        // What the client asks for now takes the place of what it fell behind with.
        self.retries.retain(|(of, _)| *of != topic);
        let followed = self.context.hub.open(topic).await?;
        // Noted before it is true, so that a connection that ends in between still leaves the topic.
        self.topics.insert(topic, followed.clone());
        let attached = self.attach_at(&followed, after, epoch, limit, answer).await;
        if attached.is_err() {
            self.topics.remove(&topic);
            followed.detach(self.member.conn).await;
        }
        attached
    }

    async fn attach_at(
        &self,
        followed: &Followed,
        after: Option<u64>,
        epoch: Option<&str>,
        limit: usize,
        answer: Answer,
    ) -> Result<(), Fault> {
        let same_epoch = epoch.is_none_or(|epoch| epoch == &*followed.place().epoch);
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
            let place = followed.place();
            match followed.attach(attach, attached).await {
                Some(Attached::Live) => return Ok(()),
                Some(Attached::Refused(rejection)) => return Err(rejection.into()),
                Some(Attached::Behind(behind)) => attach = *behind,
                // Only `CatchUp` is answered so; and a topic that has just ended is opened by the next request.
                Some(Attached::Outdated) | None => return Err(ErrorCode::Busy.into()),
            }
            (attach.done, attached) = oneshot::channel();
            let left = limit.saturating_sub(attach.replayed.len());
            let Some(missed) = self.context.hub.missed(followed, &place, reached, left).await? else {
                continue;
            };
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

    /// Sends a page of what the client was too slow to take, and attaches it again when that was all.
    pub(super) async fn catch_up(&mut self, lag: Lag) {
        metrics::lagged();
        let topic = lag.topic;
        if !self.topics.contains_key(&topic) {
            return;
        }
        match self.send_missed(&lag).await {
            Ok(None) => {}
            Ok(Some(reached)) => self.member.outbox.mark_lagging(Lag { reached, ..lag }),
            Err(fault) => {
                tracing::debug!(%fault, %topic, "a slow connection cannot be caught up yet");
                let outbox = self.member.outbox.clone();
                let again = tokio::spawn(async move {
                    sleep(CATCH_UP_RETRY).await;
                    outbox.mark_lagging(lag);
                });
                self.retries.retain(|(of, _)| *of != topic);
                self.retries.push((topic, AbortOnDropHandle::new(again)));
            }
        }
    }

    /// Where to go on, if there is more to come.
    async fn send_missed(&mut self, lag: &Lag) -> Result<Option<Reached>, Fault> {
        let followed = self.context.hub.open(lag.topic).await?;
        self.topics.insert(lag.topic, followed.clone());
        if let Followed::Room(room) = &followed {
            room.assure().await?;
        }
        let place = followed.place();
        if lag.epoch.as_ref().is_some_and(|epoch| *epoch != place.epoch) {
            self.reset(&place, ResetReason::EpochChanged);
            return Ok(None);
        }
        let (done, attached) = oneshot::channel();
        let attach = Attach {
            member: self.member.clone(),
            after: lag.reset.is_none().then_some(lag.reached.up_to),
            replayed: vec![],
            limit: usize::MAX,
            recovered: None,
            answer: lag.reset.map_or(Answer::CatchUp, Answer::Reset),
            done,
        };
        match followed.attach(attach, attached).await {
            Some(Attached::Live) => return Ok(None),
            Some(Attached::Refused(_)) => {
                self.reset(&place, ResetReason::NotMember);
                return Ok(None);
            }
            Some(Attached::Outdated) => {
                self.reset(&place, ResetReason::LateEvent);
                return Ok(None);
            }
            Some(Attached::Behind(_)) => {}
            None => return Err(ErrorCode::Busy.into()),
        }
        let missed = self.context.hub.missed(&followed, &place, lag.reached, CATCH_UP_PAGE).await?;
        let Some(missed) = missed else { return Ok(Some(lag.reached)) };
        if let Followed::Room(room) = &followed
            && room.authorise(self.user).is_err()
        {
            // It may be more than was there for this person.
            self.reset(&place, ResetReason::NotMember);
            return Ok(None);
        }
        if missed.reached == lag.reached {
            // Too far back for the log, and Postgres has nothing either.
            self.reset(&place, ResetReason::GapTooLarge);
            return Ok(None);
        }
        for frame in &missed.frames {
            self.member.outbox.push(frame);
        }
        Ok(Some(missed.reached))
    }

    /// Tells the client to start anew with a topic. It subscribes to a room again; its feed goes on from now.
    fn reset(&mut self, place: &Place, reason: ResetReason) {
        let outbox = &self.member.outbox;
        match place.topic {
            Topic::Room(room) => {
                self.topics.remove(&place.topic);
                let epoch = place.epoch.to_string();
                outbox.push(&encode::frame(&ServerFrame::Reset { room: Some(room), epoch, reason }));
            }
            Topic::User(_) => outbox.mark_lagging(Lag::anew(place.topic, reason)),
        }
    }

    pub(super) async fn unsubscribe(&mut self, room: RoomId) -> Result<(), Fault> {
        let followed = self.topics.remove(&Topic::Room(room)).ok_or(ErrorCode::NotSubscribed)?;
        followed.detach(self.member.conn).await;
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
