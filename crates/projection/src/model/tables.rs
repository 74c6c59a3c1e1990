//! Postgres as a projector has it: connections and transactions that fail before, in and after what they do; and the
//! statements of `checkpoints`, `load` and `write` over rows in memory.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use natterjack_database::Outage;
use natterjack_domain::{
    ClientId, MessageId, Role, RoomId, UserId,
    message::{Message, Reactions},
    profile::Profile,
    room::{Facts, Room, Standing},
};
use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};
use tokio_postgres::Error;

use super::World;
use crate::{
    entry::Entry,
    fold::{Changes, Content, Counts, Keys, Known, KnownMessage, Membership, Parked},
};

/// A text that Postgres does not take.
pub const POISON: &str = "poison";
/// As long as an operation may take.
const OPERATION_LIMIT: Duration = Duration::from_secs(3);

/// All rows. A transaction has a copy of its own, which takes their place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    pub kept: Option<(String, u64)>,
    pub folded: Option<(String, u64)>,
    pub events: BTreeMap<u64, Arc<Entry>>,
    pub read: ReadTables,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadTables {
    rooms: BTreeMap<RoomId, (Counts, Facts)>,
    members: BTreeMap<(RoomId, UserId), (u64, Role)>,
    messages: BTreeMap<(RoomId, u64), Row>,
    ids: BTreeMap<(RoomId, MessageId), u64>,
    marks: BTreeMap<(UserId, RoomId), u64>,
    people: BTreeMap<UserId, String>,
    profiles: BTreeMap<UserId, Profile>,
    deactivated: BTreeMap<UserId, String>,
    parked: BTreeMap<u64, Parked>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    mid: MessageId,
    author: UserId,
    cid: ClientId,
    ordinal: u64,
    says: String,
    recalled: bool,
}

#[derive(Clone)]
pub struct Pool(World);

pub struct Connection(World);

/// A transaction, or a savepoint in it.
pub struct Transaction<'a> {
    world: World,
    inner: Arc<Mutex<Inner>>,
    /// The rows that a savepoint goes back to.
    before: Option<Tables>,
    is_savepoint: bool,
    _of: PhantomData<&'a mut ()>,
}

impl Pool {
    pub fn new(world: &World) -> Self {
        Self(world.clone())
    }

    pub async fn get(&self) -> Result<Connection, natterjack_database::Error> {
        step(&self.0).await?;
        Ok(Connection(self.0.clone()))
    }

    pub async fn bounded<T, E: From<natterjack_database::Error>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let silent = || natterjack_database::Error::Unavailable(Outage::Silent);
        timeout(OPERATION_LIMIT, operation).await.unwrap_or_else(|_| Err(silent().into()))
    }
}

/// A statement takes its time; or the connection breaks.
async fn step(world: &World) -> Result<(), Error> {
    let (takes, fails, hangs) = {
        let mut state = world.lock();
        let odds = state.odds;
        let rng = &mut state.rng;
        (
            rng.micros(odds.postgres_ms * 1_000),
            rng.permille(odds.postgres_fails),
            rng.permille(odds.postgres_hangs),
        )
    };
    sleep(takes).await;
    if hangs {
        sleep(2 * OPERATION_LIMIT).await;
    }
    if fails || world.lock().postgres_away { Err(broken()) } else { Ok(()) }
}

/// What an error of the connection comes to.
fn broken() -> Error {
    Error::__private_api_timeout()
}

/// Errors of Postgres cannot be made by others: two that can be told apart stand for what it refuses.
fn refused(option: &str) -> Error {
    format!("{option}=x").parse::<tokio_postgres::Config>().unwrap_err()
}

pub mod refusal {
    use std::error::Error as _;

    use tokio_postgres::Error;

    fn names(error: &Error, option: &str) -> bool {
        error.source().is_some_and(|source| source.to_string().contains(option))
    }

    pub fn is_repeat(error: &Error) -> bool {
        names(error, "keepalives_idle")
    }

    pub fn is_poison(error: &Error) -> bool {
        is_repeat(error) || names(error, "port")
    }
}

struct Inner {
    rows: Tables,
    /// Others wait to change the checkpoints.
    held: Option<OwnedMutexGuard<()>>,
    /// As Postgres has it: what follows an error fails too, and a commit comes to nothing.
    failed: bool,
}

impl Connection {
    pub async fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        step(&self.0).await?;
        let rows = self.0.tables();
        let inner = Inner { rows, held: None, failed: false };
        Ok(Transaction {
            world: self.0.clone(),
            inner: Arc::new(Mutex::new(inner)),
            before: None,
            is_savepoint: false,
            _of: PhantomData,
        })
    }
}

impl Transaction<'_> {
    /// A savepoint.
    pub async fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        step(&self.world).await?;
        let before = Some(self.inner.lock().unwrap().rows.clone());
        Ok(Transaction {
            world: self.world.clone(),
            inner: self.inner.clone(),
            before,
            is_savepoint: true,
            _of: PhantomData,
        })
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        step(&self.world).await?;
        if self.is_savepoint {
            self.before = None;
            return Ok(());
        }
        let (rows, held) = {
            let mut inner = self.inner.lock().unwrap();
            if inner.failed {
                return Ok(());
            }
            (inner.rows.clone(), inner.held.take())
        };
        self.world.commit(rows);
        drop(held);
        let answer_is_lost = {
            let mut state = self.world.lock();
            let odds = state.odds.answer_lost;
            state.rng.permille(odds)
        };
        if answer_is_lost { Err(broken()) } else { step(&self.world).await }
    }

    async fn run<T>(&self, statement: impl FnOnce(&mut Tables) -> Result<T, Error>) -> Result<T, Error> {
        run(&self.world, &self.inner, statement).await
    }
}

async fn run<T>(
    world: &World,
    inner: &Mutex<Inner>,
    statement: impl FnOnce(&mut Tables) -> Result<T, Error>,
) -> Result<T, Error> {
    let result = match step(world).await {
        Ok(()) => statement(&mut inner.lock().unwrap().rows),
        Err(error) => Err(error),
    };
    inner.lock().unwrap().failed |= result.is_err();
    result
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let mut inner = self.inner.lock().unwrap();
        if let Some(before) = self.before.take() {
            inner.rows = before;
            inner.failed = false;
        }
        if let Some(held) = inner.held.take_if(|_| !self.is_savepoint) {
            // Postgres notices a while later that nobody is there.
            let lasts = self.world.lock().rng.millis(0, 300);
            tokio::spawn(async move {
                sleep(lasts).await;
                drop(held);
            });
        }
    }
}

pub mod checkpoints {
    use super::{Connection, Error, Transaction, step};

    pub async fn copied_at(client: &Connection, _: u16, seq: u64) -> Result<Option<String>, Error> {
        step(&client.0).await?;
        Ok(client.0.tables().events.get(&seq).map(|entry| entry.ts.clone()))
    }

    #[expect(clippy::unused_async, reason = "as the product's")]
    pub async fn begin(_: &Transaction<'_>) -> Result<(), Error> {
        Ok(())
    }

    pub async fn make(work: &Transaction<'_>, _: u16, epoch: &str) -> Result<(), Error> {
        work.hold().await?;
        work.run(|rows| {
            for checkpoint in [&mut rows.kept, &mut rows.folded] {
                let (known, seq) = checkpoint.get_or_insert((epoch.to_owned(), 0));
                if *seq == 0 {
                    epoch.clone_into(known);
                }
            }
            Ok(())
        })
        .await
    }

    pub async fn lock(work: &Transaction<'_>, _: u16) -> Result<Option<[(String, u64); 2]>, Error> {
        work.hold().await?;
        work.run(|rows| Ok(rows.kept.clone().zip(rows.folded.clone()).map(|(log, read)| [log, read]))).await
    }

    pub async fn advance(work: &Transaction<'_>, _: u16, log: u64, read: u64) -> Result<(), Error> {
        work.run(|rows| {
            for (checkpoint, seq) in [(&mut rows.kept, log), (&mut rows.folded, read)] {
                if let Some((_, at)) = checkpoint {
                    *at = seq;
                }
            }
            Ok(())
        })
        .await
    }
}

impl Transaction<'_> {
    /// The rows of the checkpoints; what is read afterwards is what their last holder left.
    async fn hold(&self) -> Result<(), Error> {
        if self.inner.lock().unwrap().held.is_some() {
            return Ok(());
        }
        let held = self.world.checkpoints().lock_owned().await;
        let rows = self.world.tables();
        let mut inner = self.inner.lock().unwrap();
        inner.held = Some(held);
        inner.rows = rows;
        Ok(())
    }
}

pub mod load {
    use super::{Error, Keys, Known, Transaction};

    pub async fn load(work: &Transaction<'_>, keys: &Keys) -> Result<Known, Error> {
        work.run(|rows| Ok(rows.read.known(keys))).await
    }
}

pub mod write {
    use super::{Arc, Changes, Entry, Error, Inner, Mutex, Transaction, World, refused, run, step};

    /// Entries on their way into the second copy of the log.
    pub struct Events {
        world: World,
        inner: Arc<Mutex<Inner>>,
        entries: Vec<Entry>,
    }

    impl Events {
        pub async fn begin(work: &Transaction<'_>, _: u16) -> Result<Self, Error> {
            step(&work.world).await?;
            Ok(Self { world: work.world.clone(), inner: work.inner.clone(), entries: vec![] })
        }

        #[expect(clippy::unused_async, reason = "as the product's")]
        pub async fn push(&mut self, entry: &Entry) -> Result<(), Error> {
            self.entries.push(entry.clone());
            Ok(())
        }

        pub async fn finish(self) -> Result<(), Error> {
            run(&self.world, &self.inner, |rows| {
                for entry in self.entries {
                    if rows.events.insert(entry.seq, Arc::new(entry)).is_some() {
                        return Err(refused("port"));
                    }
                }
                Ok(())
            })
            .await
        }
    }

    pub async fn clear_events(work: &Transaction<'_>, _: u16, entries: &[Entry]) -> Result<(), Error> {
        work.run(|rows| {
            for entry in entries {
                rows.events.remove(&entry.seq);
            }
            Ok(())
        })
        .await
    }

    pub async fn changes(work: &Transaction<'_>, _: u16, changes: &Changes) -> Result<(), Error> {
        work.run(|rows| rows.read.apply(changes)).await
    }
}

impl ReadTables {
    pub fn known(&self, keys: &Keys) -> Known {
        let rooms = keys.rooms.iter().filter_map(|room| Some((*room, self.rooms.get(room)?.0))).collect();
        let states = keys.states.iter().filter_map(|id| {
            let people = self.members.iter().filter(|((room, _), _)| room == id);
            let standing = |role| Standing { role: Some(role), ..Standing::default() };
            let people = people.map(|((_, user), (_, role))| (*user, standing(*role)));
            Some((*id, Room::partial(self.rooms.get(id)?.1.clone(), people)))
        });
        let states = states.collect();
        let messages = keys.messages.iter().filter_map(|key| {
            let seq = *self.ids.get(key)?;
            let row = &self.messages[&(key.0, seq)];
            // Nobody answers in threads here, reacts or pins.
            let rules = Message {
                id: row.mid,
                author: row.author,
                thread: None,
                gone: row.recalled,
                pinned: false,
                reactions: Reactions::default(),
            };
            Some((*key, KnownMessage { seq, rules }))
        });
        Known { rooms, states, messages: messages.collect(), ..Known::default() }
    }

    /// Refuses what Postgres would: what is there already, and what is poison.
    pub fn apply(&mut self, changes: &Changes) -> Result<(), Error> {
        for message in &changes.posted {
            let says = says(&message.content);
            if says.contains(POISON) {
                return Err(refused("port"));
            }
            let seq = message.posted.seq;
            if self.ids.insert((message.room, message.mid), seq).is_some() {
                return Err(refused("keepalives_idle"));
            }
            let recalled = message.content.gone.is_some();
            let (mid, author, cid, ordinal) = (message.mid, message.author, message.cid, message.ordinal);
            self.messages.insert((message.room, seq), Row { mid, author, cid, ordinal, says, recalled });
        }
        for (room, new) in &changes.created {
            if self.rooms.insert(*room, (Counts::default(), new.facts.clone())).is_some() {
                return Err(refused("port"));
            }
        }
        for (room, counts) in &changes.counts {
            self.rooms.get_mut(room).unwrap().0 = *counts;
        }
        for (key, membership) in &changes.members {
            match membership {
                Some(Membership { joined: Some(seq), role }) => {
                    self.members.insert(*key, (*seq, *role));
                }
                Some(Membership { joined: None, role }) => self.members.get_mut(key).unwrap().1 = *role,
                None => {
                    self.members.remove(key);
                }
            }
        }
        for (key, content) in &changes.edited {
            let row = self.messages.get_mut(key).unwrap();
            row.says = says(content);
            row.recalled = content.gone.is_some();
        }
        for (key, shift) in &changes.kept.marks {
            let mark = self.marks.entry(*key).or_default();
            *mark = shift.of(*mark);
        }
        for (user, person) in &changes.people {
            self.people.entry(*user).or_insert_with(|| person.username.clone());
        }
        self.profiles.extend(changes.profiles.clone());
        for (user, at) in &changes.deactivated {
            self.deactivated.entry(*user).or_insert_with(|| at.clone());
        }
        for parked in &changes.parked {
            if self.parked.insert(parked.seq, parked.clone()).is_some() {
                return Err(refused("port"));
            }
        }
        Ok(())
    }
}

fn says(content: &Content) -> String {
    content.says.as_ref().map(|says| says.body.clone()).unwrap_or_default()
}
