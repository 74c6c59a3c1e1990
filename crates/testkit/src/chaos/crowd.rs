//! The clients of a run: each posts, reads, comes and goes as its own random numbers say, and writes down what it saw.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use natterjack_domain::RoomId;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet};

use super::Course;
use crate::{Account, Follower, history::Recorder};

/// What everybody does.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    Chat,
    /// Nothing new is begun; what was begun is brought to an end.
    Settle,
    /// Everything up to these heads is read.
    Read(BTreeMap<RoomId, u64>),
    Done,
}

pub struct Crowd {
    tasks: JoinSet<()>,
    phase: watch::Sender<Phase>,
    /// How many have done what the phase asks.
    arrived: watch::Sender<usize>,
    clients: usize,
}

struct Client {
    follower: Follower,
    /// Public rooms, which it leaves and joins; and the one that it stays in.
    rooms: Vec<RoomId>,
    rng: StdRng,
    said: u64,
    course: Arc<Course>,
    /// A join or leave of which nobody knows what came of it.
    change: Option<(RoomId, bool)>,
}

/// Between what a client does.
const PAUSE_MS: std::ops::Range<u64> = 20..600;
/// Messages without an answer beyond which a client only waits.
const UNSETTLED_MAX: usize = 20;
/// How long everybody has for a phase.
pub const ARRIVE_WITHIN: Duration = Duration::from_secs(90);
const STAY: Duration = Duration::from_millis(200);

impl Crowd {
    pub fn begin(
        accounts: &[Account],
        rooms: &[RoomId],
        fronts: &[String],
        dir: &Path,
        seed: u64,
        course: &Arc<Course>,
    ) -> Self {
        let (phase, arrived) = (watch::Sender::new(Phase::Chat), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        for (index, account) in accounts.iter().enumerate() {
            let name = &account.username;
            let recorder = Recorder::create(&dir.join(format!("{name}.jsonl")), name, course.began);
            let client = Client {
                follower: Follower::new(account.clone(), fronts, rooms)
                    .beginning_at(index)
                    .recording(recorder.expect("the history can be written")),
                rooms: rooms.to_vec(),
                rng: StdRng::seed_from_u64(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                said: 0,
                course: course.clone(),
                change: None,
            };
            tasks.spawn(client.live(phase.subscribe(), arrived.clone()));
        }
        Self { tasks, phase, arrived, clients: accounts.len() }
    }

    /// Asks everybody for something and waits until it is done; answers whether all did it in time.
    pub async fn all(&self, phase: Phase) -> bool {
        self.arrived.send_replace(0);
        self.phase.send_replace(phase);
        let mut arrived = self.arrived.subscribe();
        let all = arrived.wait_for(|arrived| *arrived == self.clients);
        tokio::time::timeout(ARRIVE_WITHIN, all).await.is_ok()
    }

    pub async fn end(self) {
        self.phase.send_replace(Phase::Done);
        self.tasks.join_all().await;
    }
}

impl Client {
    async fn live(mut self, mut phase: watch::Receiver<Phase>, arrived: watch::Sender<usize>) {
        let mut is_told = true;
        loop {
            if phase.has_changed().unwrap_or(false) {
                is_told = false;
            }
            let now = phase.borrow_and_update().clone();
            let has_done = match &now {
                Phase::Chat => {
                    self.act().await;
                    false
                }
                Phase::Settle => {
                    self.follower.stay(STAY).await;
                    self.settle().await
                }
                Phase::Read(heads) => {
                    self.follower.stay(STAY).await;
                    heads.iter().all(|(room, head)| self.has_read(*room, *head))
                }
                Phase::Done => return,
            };
            if has_done && !is_told {
                is_told = true;
                arrived.send_modify(|arrived| *arrived += 1);
            }
        }
    }

    /// One thing that people do, and a while in which things happen to them.
    async fn act(&mut self) {
        let room = self.rooms[self.rng.random_range(0..self.rooms.len())];
        match self.rng.random_range(0..1_000) {
            0..750 if self.follower.unsettled() < UNSETTLED_MAX => self.say(room).await,
            0..960 => {}
            960..975 => self.follower.disconnect(),
            // Reads nothing for a while.
            975..985 => tokio::time::sleep(Duration::from_millis(self.rng.random_range(500..4_000))).await,
            _ => {
                // The first room is nobody's to leave.
                if self.change.is_none() && room != self.rooms[0] {
                    let joins = self.follower.rooms.get(&room).is_some_and(|followed| followed.is_away);
                    self.change = Some((room, joins));
                }
            }
        }
        self.settle().await;
        let pause = self.rng.random_range(PAUSE_MS);
        self.follower.stay(Duration::from_millis(pause)).await;
    }

    async fn say(&mut self, room: RoomId) {
        if self.change.is_some_and(|(changing, _)| changing == room)
            || self.follower.rooms.get(&room).is_none_or(|followed| followed.is_away)
        {
            return;
        }
        self.said += 1;
        let padding = "ä".repeat(self.rng.random_range(0..200));
        let text = format!("{} of {}: {padding}.", self.said, self.follower.account.username);
        self.follower.post(room, &text).await;
        self.course.said();
    }

    /// Brings to an end what was begun; answers whether nothing is open.
    async fn settle(&mut self) -> bool {
        if let Some((room, joins)) = self.change
            && self.follower.change(room, joins).await.is_ok()
        {
            self.change = None;
        }
        self.change.is_none() && self.follower.is_settled()
    }

    fn has_read(&self, room: RoomId, head: u64) -> bool {
        self.follower.rooms.get(&room).is_none_or(|followed| followed.is_away || followed.last >= head)
    }
}
