//! Messages that are sent later.
//!
//! Any front makes, changes and cancels them; one at a time sends what is due, the one that holds a lock in Postgres.
//! Between a person who cancels and a front that begins, the person's feed decides: both append on condition that the
//! feed is where they have read it up to. What has begun is sent under an id that follows from the schedule's, so that it
//! is one message however often fronts die in between.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use natterjack_database::Error;
use natterjack_domain::{
    Action, EventId, RoomId, ScheduleId, UserId,
    user::{
        self,
        schedule::{self, Command, Event, Plan, Stage},
    },
};
use natterjack_eventlog::{AppendError, NewEvent, Subject, Topic};
use natterjack_readmodel::kept::{self, Due};
use natterjack_wire::{Draft, ErrorCode, Fact, draft::Mentioned, rest::FeedChanged};
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{fault::Fault, kept::Keeper, messages, ws::Context};

/// Held by the front that sends what is due ("njlater").
const LOCK: i64 = 0x6e6a_6c61_7465_7200;
/// How often a front tries to become the one, and how often the one looks for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// People whose messages are sent at once; the others' turn comes next.
const PEOPLE_AT_ONCE: usize = 16;
const PEOPLE_PAGE: i64 = 256;
/// Messages of one person in one turn.
const DUE_PAGE: i64 = 100;
/// A conflict reads and decides again, so often at most.
const ATTEMPTS: usize = 8;

/// Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    keeper: Keeper,
    context: Arc<Context>,
}

impl Schedules {
    pub fn new(context: Arc<Context>) -> Self {
        Self { keeper: context.keeper.clone(), context }
    }

    /// Has `plan` sent later as `sid`. Repeating it changes nothing.
    pub async fn create(&self, user: UserId, sid: ScheduleId, plan: Plan) -> Result<FeedChanged, Fault> {
        self.check(user, &plan).await?;
        let max = self.keeper.config.schedules_max;
        self.decide(user, sid, |stage, pending| match stage {
            Some(_) => Ok(None),
            None if pending >= max => {
                Err(Fault::from(ErrorCode::TooManySchedules).because(format!("at most {max}")))
            }
            None => Ok(Some(Event::Scheduled { plan: plan.clone() })),
        })
        .await
    }

    pub async fn change(&self, user: UserId, sid: ScheduleId, plan: Plan) -> Result<FeedChanged, Fault> {
        self.check(user, &plan).await?;
        let command = Command::Change { plan };
        self.decide(user, sid, |stage, _| Ok(Stage::decide(stage, command.clone())?)).await
    }

    /// The room that it is to be sent to.
    pub async fn room_of(&self, user: UserId, sid: ScheduleId) -> Result<RoomId, Fault> {
        self.settled_head(user).await?;
        let room = self.keeper.store.query(async |c| kept::schedule_room(&c, user, sid).await).await?;
        Ok(room.ok_or(ErrorCode::ScheduleNotFound)?)
    }

    pub async fn cancel(&self, user: UserId, sid: ScheduleId) -> Result<FeedChanged, Fault> {
        self.decide(user, sid, |stage, _| Ok(Stage::decide(stage, Command::Cancel)?)).await
    }

    async fn check(&self, user: UserId, plan: &Plan) -> Result<(), Fault> {
        self.keeper.hub.room(plan.room).await?.permit(user, Action::Post).await?;
        let (now, ahead) = (self.context.now_ms(), self.keeper.config.schedule_ahead);
        let latest = now.saturating_add(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX));
        if (now..=latest).contains(&plan.at) {
            return Ok(());
        }
        let days = ahead.as_secs() / 86_400;
        let detail = format!("it has to be in the future, and at most {days} days ahead");
        Err(Fault::from(ErrorCode::ScheduleTimeInvalid).because(detail))
    }

    /// Decides on the schedule as the whole feed makes it, and appends only if the feed is still there.
    async fn decide(
        &self,
        user: UserId,
        sid: ScheduleId,
        decide: impl Fn(Option<Stage>, u64) -> Result<Option<Event>, Fault>,
    ) -> Result<FeedChanged, Fault> {
        for _ in 0..ATTEMPTS {
            let head = self.settled_head(user).await?;
            let (stage, pending) =
                self.keeper.store.query(async |c| kept::stage(&c, user, sid).await).await?;
            let Some(event) = decide(stage, pending)? else { return Ok(self.keeper.changed(user, head)) };
            match self.append(user, sid, event, Some(head)).await {
                Ok(seq) => return Ok(self.keeper.changed(user, seq)),
                Err(AppendError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::SettingContended.into())
    }

    /// The last event of the person's feed, once the read models reflect it.
    async fn settled_head(&self, user: UserId) -> Result<u64, Fault> {
        let head = self.keeper.hub.log().heads(Topic::User(user)).await?.timeline;
        self.keeper.feed_of(user, Some(head)).await?;
        Ok(head)
    }

    async fn append(
        &self,
        user: UserId,
        sid: ScheduleId,
        event: Event,
        expected: Option<u64>,
    ) -> Result<u64, AppendError> {
        let fact = Fact::User(user::Event::Schedule { id: user, sid, event });
        let new = NewEvent::new(Subject::feed(user), EventId::random(), &fact);
        let new = match expected {
            Some(head) => new.expecting(head),
            None => new,
        };
        Ok(self.keeper.hub.log().append(new).await?.seq)
    }

    /// Sends what is due, whenever this front is the one to do so, until `stop`.
    pub async fn run(self, database: natterjack_database::Config, stop: CancellationToken) {
        let work = async {
            loop {
                let Err(error) = self.serve(&database).await;
                tracing::debug!(%error, "what is to be sent later waits for Postgres");
                sleep(LOOK_EVERY).await;
            }
        };
        select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Waits until this front is the one, and is it until its connection to Postgres ends.
    async fn serve(&self, database: &natterjack_database::Config) -> Result<Infallible, Error> {
        // Postgres finds out soon when the machine of the one is gone.
        const ALIVE: &str =
            "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3";
        let lock = natterjack_database::connect(database).await?;
        lock.batch_execute(ALIVE).await?;
        while !lock.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.try_get::<_, bool>(0)? {
            sleep(LOOK_EVERY).await;
        }
        loop {
            // The lock is the connection's.
            lock.batch_execute("SELECT").await?;
            if let Err(fault) = self.turn().await {
                fault.log();
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn turn(&self) -> Result<(), Fault> {
        let now = i64::try_from(self.context.now_ms()).unwrap_or(i64::MAX);
        let people = self.keeper.store.query(async |c| kept::due_people(&c, now, PEOPLE_PAGE).await).await?;
        stream::iter(people)
            .for_each_concurrent(PEOPLE_AT_ONCE, async |user| {
                if let Err(fault) = self.send_due(user, now).await {
                    // The next turn tries again.
                    tracing::debug!(%fault, %user, "what is due waits");
                }
            })
            .await;
        Ok(())
    }

    /// Sends what is due of one person. Whatever is in doubt is left to the next turn.
    async fn send_due(&self, user: UserId, now: i64) -> Result<(), Fault> {
        let mut head = self.settled_head(user).await?;
        let due = self.keeper.store.query(async |c| kept::due(&c, user, now, DUE_PAGE).await).await?;
        for Due { sid, plan, begun } in due {
            if !begun {
                match self.append(user, sid, Event::Begun, Some(head)).await {
                    Ok(_) => {}
                    // Something came between; perhaps it was cancelled.
                    Err(AppendError::Conflict) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            let sent = match self.sent_before(user, sid, plan.room, begun).await? {
                Some(seq) => Ok(seq),
                None => self.send(user, sid, plan).await,
            };
            let end = match sent {
                Ok(seq) => Event::Sent { seq },
                Err(fault) if fault.code.is_transient() || fault.code == ErrorCode::Internal => {
                    return Err(fault);
                }
                Err(fault) => Event::Failed { code: fault.code.number() },
            };
            head = self.append(user, sid, end, None).await?;
        }
        Ok(())
    }

    /// Where the message stands that a front sent which then died: it is not sent again.
    async fn sent_before(
        &self,
        user: UserId,
        sid: ScheduleId,
        room: RoomId,
        begun: bool,
    ) -> Result<Option<u64>, Fault> {
        if !begun {
            return Ok(None);
        }
        let (log, topic) = (self.keeper.hub.log(), Topic::Room(room));
        let head = log.heads(topic).await?;
        self.keeper.projected.wait(topic, &log.epoch_of(topic), head.timeline).await?;
        let id = schedule::message_id(room, user, sid);
        Ok(self.keeper.store.place(id).await?.map(|(_, seq)| seq))
    }

    /// What the person may do counts when the message is sent.
    async fn send(&self, user: UserId, sid: ScheduleId, plan: Plan) -> Result<u64, Fault> {
        let Plan { room, body, reply_to, thread, mentions, .. } = plan;
        let mentions = (!mentions.is_empty()).then_some(Mentioned {
            users: Some(mentions.users),
            all: Some(mentions.all),
            here: Some(mentions.here),
        });
        let draft = Draft { body: body.into(), reply_to, thread, mentions, ..Draft::default() };
        let handle = self.keeper.hub.room(room).await?;
        let (_, new) = messages::send(&self.context, &handle, user, sid.cid(), draft).await?;
        Ok(self.keeper.hub.log().append(new).await?.seq)
    }
}
