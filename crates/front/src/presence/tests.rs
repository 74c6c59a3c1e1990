//! Fronts that agree on who is there, over a network that loses, holds up and swaps what they say.

use std::collections::BTreeMap;

use natterjack_domain::{
    UserId,
    presence::{Availability, Presence},
};
use proptest::prelude::*;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::{
    table::{Now, Table},
    words::{FrontId, Word},
};

const FRONTS: usize = 3;
const PEOPLE: u8 = 4;
const CONNS: u64 = 3;
const BEAT: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(15);
const LINGER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Step {
    Say(usize, u8, u64, Availability),
    Leave(usize, u8, u64),
    Tell(usize),
    Beat(usize),
    /// One word arrives.
    Deliver(prop::sample::Index),
    Lose(prop::sample::Index),
    /// The front dies, and another one takes its place.
    Kill(usize),
    Pass(u64),
}

struct World {
    fronts: Vec<(FrontId, Table)>,
    /// What each connection says.
    devices: BTreeMap<(usize, u8, u64), Availability>,
    on_the_way: Vec<(FrontId, Word)>,
    begun: Instant,
    passed: Duration,
    born: u128,
}

fn user(n: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n.into()))
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            fronts: vec![],
            devices: BTreeMap::new(),
            on_the_way: vec![],
            begun: Instant::now(),
            passed: Duration::from_hours(1),
            born: 0,
        };
        for _ in 0..FRONTS {
            let front = world.front();
            world.fronts.push(front);
        }
        world
    }

    fn front(&mut self) -> (FrontId, Table) {
        self.born += 1;
        let id = Uuid::from_u128(self.born);
        (id, Table::new(id, SILENCE, LINGER))
    }

    fn now(&self) -> Now {
        Now { at: self.begun + self.passed, ms: u64::try_from(self.passed.as_millis()).unwrap() }
    }

    fn send(&mut self, front: usize) {
        let all: Vec<FrontId> = self.fronts.iter().map(|(id, _)| *id).collect();
        for (to, word) in self.fronts[front].1.take_sent() {
            let hearers = all.iter().filter(|id| to.is_none_or(|to| to == **id));
            self.on_the_way.extend(hearers.map(|id| (*id, word.clone())));
        }
    }

    fn deliver(&mut self, index: usize) {
        let now = self.now();
        let (to, word) = self.on_the_way.remove(index);
        if let Some(front) = self.fronts.iter().position(|(id, _)| *id == to) {
            self.fronts[front].1.hear(word, now);
            self.send(front);
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "steps are made to be taken")]
    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Say(front, who, conn, state) => {
                self.devices.insert((front, who, conn), state);
                self.fronts[front].1.say(user(who), conn, state, now);
            }
            Step::Leave(front, who, conn) => {
                if self.devices.remove(&(front, who, conn)).is_some() {
                    self.fronts[front].1.leave(user(who), conn, now);
                }
            }
            Step::Tell(front) => {
                self.fronts[front].1.tell();
                self.send(front);
            }
            Step::Beat(front) => {
                self.fronts[front].1.beat(now);
                self.send(front);
            }
            Step::Deliver(index) if !self.on_the_way.is_empty() => {
                self.deliver(index.index(self.on_the_way.len()));
            }
            Step::Lose(index) if !self.on_the_way.is_empty() => {
                self.on_the_way.remove(index.index(self.on_the_way.len()));
            }
            Step::Deliver(_) | Step::Lose(_) => {}
            Step::Kill(front) => {
                self.fronts[front] = self.front();
                self.devices.retain(|(on, _, _), _| *on != front);
            }
            Step::Pass(ms) => self.passed += Duration::from_millis(ms),
        }
    }

    /// The network works, and nothing happens, for so long.
    fn rest(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.passed += BEAT;
            let now = self.now();
            for front in 0..FRONTS {
                let table = &mut self.fronts[front].1;
                table.expire(now);
                table.tell();
                table.beat(now);
                self.send(front);
            }
            while !self.on_the_way.is_empty() {
                self.deliver(0);
            }
        }
    }

    fn expected(&self, who: u8) -> Presence {
        let devices = self.devices.iter().filter(|((_, of, _), _)| *of == who).map(|(_, state)| *state);
        Availability::of_all(devices).map_or(Presence::Offline, Availability::seen)
    }

    fn seen(&self, front: usize, who: u8) -> Presence {
        self.fronts[front].1.of(user(who)).state
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Availability::{Away, Busy, Invisible, Online};
    let (front, who, conn) = (|| 0..FRONTS, || 0..PEOPLE, || 0..CONNS);
    let state = prop_oneof![Just(Away), Just(Busy), Just(Online), Just(Invisible)];
    let index = any::<prop::sample::Index>;
    let one = prop_oneof![
        6 => (front(), who(), conn(), state).prop_map(|(f, w, c, s)| Step::Say(f, w, c, s)),
        4 => (front(), who(), conn()).prop_map(|(f, w, c)| Step::Leave(f, w, c)),
        5 => front().prop_map(Step::Tell),
        3 => front().prop_map(Step::Beat),
        12 => index().prop_map(Step::Deliver),
        3 => index().prop_map(Step::Lose),
        1 => front().prop_map(Step::Kill),
        3 => (0..6_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(one, 0..120)
}

proptest! {
    #[test]
    fn whatever_was_lost_or_held_up_all_fronts_come_to_know_who_is_there(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // Silence, then asking, then the answer.
        world.rest(8);
        for who in 0..PEOPLE {
            for front in 0..FRONTS {
                prop_assert_eq!(world.seen(front, who), world.expected(who), "{} on {}", who, front);
            }
        }
        let there = (0..PEOPLE).filter(|who| world.expected(*who) != Presence::Offline).count();
        for (_, table) in &world.fronts {
            prop_assert_eq!(table.count(), there);
            prop_assert_eq!(table.after(None, 100).len(), there);
        }
    }
}

fn settled() -> World {
    let mut world = World::new();
    world.step(Step::Say(0, 0, 0, Availability::Online));
    world.step(Step::Say(1, 1, 0, Availability::Away));
    world.rest(2);
    world
}

#[test]
fn whoever_was_on_a_front_that_died_is_gone_within_its_silence_and_one_other_notes_when() {
    let mut world = settled();
    assert_eq!(world.seen(2, 0), Presence::Online);
    let heard = world.now().ms;
    world.step(Step::Kill(0));
    world.rest(4);
    assert_eq!(world.seen(2, 0), Presence::Online, "it may only be slow");
    world.rest(2);
    assert_eq!([0, 1, 2].map(|front| world.seen(front, 0)), [Presence::Offline; 3]);
    assert_eq!(world.seen(2, 1), Presence::Away);
    let noted: Vec<_> = world.fronts.iter_mut().flat_map(|(_, table)| table.take_last_seen(10)).collect();
    assert_eq!(noted, [(user(0), heard)]);
}

#[test]
fn whoever_comes_back_over_another_front_was_never_away() {
    let mut world = settled();
    world.step(Step::Kill(0));
    world.step(Step::Say(1, 0, 5, Availability::Online));
    world.rest(8);
    assert_eq!([0, 1, 2].map(|front| world.seen(front, 0)), [Presence::Online; 3]);
    assert!(world.fronts.iter_mut().all(|(_, table)| table.take_last_seen(10).is_empty()));
}

#[test]
fn a_front_that_ends_says_so() {
    let mut world = settled();
    let now = world.now();
    world.fronts[0].1.end(now);
    world.send(0);
    while !world.on_the_way.is_empty() {
        world.deliver(0);
    }
    assert_eq!(world.seen(2, 0), Presence::Offline);
    assert_eq!(world.fronts[0].1.take_last_seen(10), [(user(0), now.ms)]);
}

#[test]
fn a_table_of_many_pages_is_taken_as_a_whole_in_whatever_order_they_come() {
    let mut world = settled();
    for n in 0..5_000_u32 {
        let user = UserId::from_uuid(Uuid::from_u128(1_000 + u128::from(n)));
        let now = world.now();
        world.fronts[0].1.say(user, 9, Availability::Online, now);
    }
    world.fronts[0].1.tell();
    // Nobody hears of it until the next heartbeat.
    world.fronts[0].1.take_sent();
    world.step(Step::Beat(0));
    while let Some(word) = world.on_the_way.pop() {
        world.on_the_way.insert(0, word);
        world.deliver(0);
    }
    assert_eq!([0, 1, 2].map(|front| world.fronts[front].1.count()), [5_002; 3]);
}
