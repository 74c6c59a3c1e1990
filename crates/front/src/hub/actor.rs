//! The task that serves one topic: it follows the log, keeps the tail, and writes to the members' sockets.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt};
use natterjack_domain::room;
use natterjack_eventlog::{Event, Kind, Signal};
use natterjack_wire::{
    Fact, ServerFrame, StoredEvent,
    frame::{Ephemeral, ResetReason},
};
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Handle, Hub,
    chain::{Chain, Link},
    command::{Answer, Attach, Attached, Command, answer},
    fanout::Fanout,
    handle::Out,
    repair::{Missing, Repair},
    tail::Tail,
};
use crate::{
    metrics,
    outside::Live,
    position::Reached,
    ws::{encode, outbox::Lag},
};

/// Events that are joined into one write, at most; the rest follows in the next.
const JOIN_MAX_EVENTS: usize = 64;

pub(super) struct Actor {
    pub hub: Hub,
    pub handle: Arc<Handle>,
    pub live: Live,
    pub chain: Chain,
    pub tail: Tail,
    pub commands: mpsc::Receiver<Command>,
    pub fanout: Fanout,
    /// Set while a gap could not be repaired yet: live events are not forwarded, the log is asked again.
    pub repair: Option<Repair>,
    /// The head when an event was last found too late: who was behind then may have missed it.
    pub late_head: u64,
    pub idle_since: Instant,
    /// Nothing that it knows of the topic can be relied on: another one takes its place.
    pub is_over: bool,
}

impl Actor {
    /// Serves the topic until nobody has been attached for a while, or until it is told to stop.
    pub async fn serve(mut self: Box<Self>) {
        metrics::topics_served(1.0);
        self.run().await;
        metrics::topics_served(-1.0);
        self.hub.forget(&self.handle);
    }

    async fn run(&mut self) {
        while !self.is_over {
            let repair = self.repair;
            let idle = self.fanout.is_empty().then(|| self.idle_since + self.hub.0.config.idle);
            select! {
                biased;
                command = self.commands.recv() => match command {
                    // Boxed: most rooms are not asked for anything most of the time.
                    Some(command) => if Box::pin(self.command(command)).await.is_break() { break },
                    None => break,
                },
                signal = self.live.next() => match signal {
                    Some(signal) => self.receive(signal).await,
                    None => break,
                },
                () = sleep_until(repair.map_or_else(Instant::now, |r| r.at)), if repair.is_some() => {
                    self.repair(repair.map_or_else(Missing::default, |r| r.missing)).await;
                }
                () = sleep_until(idle.unwrap_or_else(Instant::now)), if idle.is_some() => break,
            }
        }
    }

    async fn command(&mut self, command: Command) -> std::ops::ControlFlow<()> {
        match command {
            Command::Attach(attach) => self.attach(*attach),
            Command::Detach { conn } => {
                self.fanout.remove(conn);
                self.idle_since = Instant::now();
            }
            Command::Check { heads, connection } => {
                self.tail.age(Instant::now());
                // The heads came over the same connection: live events up to them are here already.
                while self.chain.is_behind(heads)
                    && let Some(signal) = self.live.next().now_or_never().flatten()
                {
                    self.receive(signal).await;
                }
                if !self.chain.is_behind(heads) {
                    self.handle.note_whole_since(connection);
                } else if self.repair.is_none() {
                    metrics::gap("heads");
                    self.repair(Missing::up_to(heads.state.max(heads.timeline))).await;
                }
            }
            Command::Find { mid, found } => {
                let _ = found.send(self.tail.message(mid));
            }
            Command::Reach(reach) => {
                let _ = reach.send(self.tail.reach());
            }
            Command::ExtendBack { after, mut older, extended } => {
                // What was read beyond the head comes live.
                older.retain(|(seq, _)| *seq <= self.chain.head());
                let _ = extended.send(self.tail.extend_back(after, older));
            }
            Command::Refresh(done) => {
                self.repair(self.repair.map_or_else(Missing::default, |repair| repair.missing)).await;
                // Whoever asked may have gone.
                let _ = done.send(());
            }
            Command::Abandon(reason) => {
                self.reset(reason);
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Takes what has arrived, as much as is there, and writes it in one go.
    async fn receive(&mut self, first: Signal) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(signal) = next {
            if self.repair.is_none() && !self.handle.has_been_connected() {
                // What was missed goes first: of one chain it would not show while the other one goes on.
                self.flush();
                self.repair(Missing::default()).await;
            }
            match signal {
                Signal::Event(event) => {
                    if let Some(missing) = self.take(&event) {
                        self.flush();
                        self.repair(missing).await;
                    }
                }
                Signal::Ephemeral(body) => self.forward_ephemeral(&body),
                Signal::Unreadable(reason) => {
                    tracing::warn!(%reason, topic = %self.handle.topic, "skipping a message that is no event");
                }
            }
            taken += 1;
            if taken == JOIN_MAX_EVENTS {
                break;
            }
            next = self.live.next().now_or_never().flatten();
        }
        self.flush();
    }

    /// Applies a live event, unless events before it are missing.
    fn take(&mut self, event: &Event) -> Option<Missing> {
        if event.subject.topic != self.handle.topic {
            return None;
        }
        if let Some(repair) = &mut self.repair {
            repair.missing.up_to = repair.missing.up_to.max(event.seq);
            return None;
        }
        match self.chain.check(event.subject.kind, event.seq, event.last) {
            Link::Seen => None,
            Link::Next => {
                self.apply(event);
                None
            }
            Link::Broken => {
                metrics::gap("chain");
                let head = self.chain.head_of(event.subject.kind);
                Some(Missing { up_to: event.seq, named: event.last.filter(|last| *last > head) })
            }
        }
    }

    pub fn apply(&mut self, event: &Event) {
        let before = self.chain.advance(event.subject.kind, event.seq);
        let frame = encode::event(self.handle.topic, event, before);
        if self.fanout.is_awaited(event.seq) {
            self.flush();
            self.fanout.catch_up_with(event.seq);
        }
        self.handle.pace.hear(event);
        self.tail.push(event.seq, frame.clone());
        self.fanout.push(frame, before);
        self.handle.set_head(self.chain.head());
        if event.subject.kind == Kind::State
            && let Some(out) = self.handle.fold(event)
        {
            // Who is out gets the event that says so, and nothing after it.
            self.flush();
            match out {
                Out::One(user) => self.fanout.remove_user(user),
                Out::Everybody => self.reset(ResetReason::NotMember),
            }
        }
    }

    /// Writes the pending frames to every member. A member whose outbox is full is let go: its session comes
    /// back for the rest.
    pub fn flush(&mut self) {
        let (topic, epoch) = (self.handle.topic, &self.handle.epoch);
        let lag =
            |after| Lag { topic, epoch: Some(epoch.clone()), reached: Reached::named(after), reset: None };
        let had_members = !self.fanout.is_empty();
        let deliveries = self.fanout.flush(lag);
        if deliveries > 0 {
            metrics::delivered(deliveries);
        }
        if had_members && self.fanout.is_empty() {
            self.idle_since = Instant::now();
        }
    }

    fn forward_ephemeral(&mut self, body: &[u8]) {
        let Ok(ephemeral) = serde_json::from_slice::<Ephemeral>(body) else { return };
        let typist = ephemeral.typing.first().map(|t| t.user);
        let frame = encode::frame(&ServerFrame::Eph(ephemeral));
        for member in self.fanout.members().filter(|m| Some(m.user) != typist) {
            member.outbox.push_ephemeral(&frame);
        }
    }

    fn attach(&mut self, mut attach: Attach) {
        let user = attach.member.user;
        if let Err(rejection) = self.handle.authorise(user) {
            let _ = attach.done.send(Attached::Refused(rejection));
            return;
        }
        if matches!(attach.answer, Answer::CatchUp) {
            if self.fanout.has(attach.member.conn) {
                // It fell behind, and has subscribed again since.
                let _ = attach.done.send(Attached::Live);
                return;
            }
            if attach.after.is_some_and(|after| after < self.late_head) {
                let _ = attach.done.send(Attached::Outdated);
                return;
            }
        }
        if attach.done.is_closed() {
            // The connection ended meanwhile, and would never leave.
            return;
        }
        self.fanout.remove(attach.member.conn);
        let frames = match attach.after {
            None => None,
            Some(after) => match self.tail.after(after) {
                Some(frames) if frames.len() <= attach.limit => Some(frames),
                Some(_) => {
                    // More than was asked for: the client takes a fresh snapshot.
                    attach.replayed.clear();
                    attach.after = None;
                    attach.recovered = Some(false);
                    None
                }
                None => {
                    let done = std::mem::replace(&mut attach.done, tokio::sync::oneshot::channel().0);
                    let _ = done.send(Attached::Behind(Box::new(attach)));
                    return;
                }
            },
        };
        let mut out = BytesMut::new();
        if let Some(answer) = answer(&attach, self.handle.topic, &self.handle.epoch, self.chain.head()) {
            out.extend_from_slice(&answer);
        }
        for frame in attach.replayed.iter().chain(frames.into_iter().flatten()) {
            out.extend_from_slice(frame);
        }
        if !out.is_empty() {
            attach.member.outbox.push(&out.freeze());
        }
        let conn = attach.member.conn;
        attach.member.outbox.forget_lag(self.handle.topic);
        match attach.after {
            Some(after) if after > self.chain.head() => self.fanout.add_ahead(attach.member, after),
            _ => self.fanout.add(attach.member),
        }
        if attach.done.send(Attached::Live).is_err() {
            self.fanout.remove(conn);
        }
    }
}

/// The room event that a stored event holds; none for events that no front wrote.
pub(super) fn room_event(event: &Event) -> Option<room::Event> {
    if !event.known {
        return None;
    }
    match StoredEvent::decode(&event.body).map(StoredEvent::fact) {
        Ok(Fact::Room(event)) => Some(event),
        Ok(_) => None,
        Err(error) => {
            tracing::error!(%error, seq = event.seq, subject = %event.subject, "an event cannot be read");
            None
        }
    }
}
