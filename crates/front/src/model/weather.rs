//! What happens to the world while people chat: what others say, and what breaks.

use std::time::Duration;

use natterjack_domain::room;
use tokio::time::{Instant, sleep};

use natterjack_seeds::Rng;

use super::world::World;

/// How long things go wrong.
const LASTS: Duration = Duration::from_secs(5);

pub async fn storm(world: &World, rng: &mut Rng) {
    let until = Instant::now() + LASTS;
    let pause_ms = 20 + rng.below(250);
    let trouble = rng.below(250);
    let replaces = rng.permille(150);
    while Instant::now() < until {
        sleep(rng.millis(0, 2 * pause_ms)).await;
        if rng.permille(trouble) {
            break_something(world, rng, replaces);
        } else {
            say_something(world, rng);
        }
    }
}

fn say_something(world: &World, rng: &mut Rng) {
    let room = world.rooms()[rng.index(world.rooms().len())];
    let user = world.users()[rng.index(world.users().len())];
    match rng.below(100) {
        0..60 => {
            world.append_message(room, user, "x");
        }
        60..62 => {
            // As after a moment in which everybody had waited for something.
            let most = if rng.permille(50) { 230 } else { 40 };
            for _ in 0..rng.below(most) {
                world.append_message(room, user, &"a burst".repeat(rng.index(4) + 1));
            }
        }
        62..75 => {
            world.append_mark(user, room);
        }
        75..80 => {
            for _ in 0..rng.below(8) {
                world.append_mark(user, room);
            }
        }
        _ => {
            let is_member = world.lock().now().is_member(room, user);
            let event = if is_member {
                room::Event::MemberLeft { by: user, user, reason: None }
            } else {
                room::Event::MemberJoined { by: user, user, invite: None }
            };
            // People leave seldom, and are let in again soon.
            if !is_member || rng.permille(300) {
                world.append_state(room, event);
            }
        }
    }
}

fn break_something(world: &World, rng: &mut Rng, replaces: bool) {
    let mut state = world.lock();
    let (wire, front) = (rng.index(state.wires.len()), rng.index(state.can_read.len()));
    let lasts = if rng.permille(200) { rng.millis(500, 3_000) } else { rng.millis(0, 300) };
    match rng.below(100) {
        0..40 => {
            state.wires[wire].cut();
            drop(state);
            world.say(format_args!("wire {wire} is cut for {lasts:?}"));
            let known = rng.micros(8_000);
            let world = world.clone();
            tokio::spawn(async move {
                sleep(lasts).await;
                world.lock().wires[wire].connect_within(known);
                world.say(format_args!("wire {wire} is back"));
            });
        }
        40..55 => {
            state.wires[wire].overrun();
            drop(state);
            world.say(format_args!("wire {wire} is overrun"));
        }
        55..75 => {
            state.can_read[front] = false;
            drop(state);
            world.say(format_args!("front {front} cannot read for {lasts:?}"));
            let world = world.clone();
            tokio::spawn(async move {
                sleep(lasts).await;
                world.lock().can_read[front] = true;
            });
        }
        75..90 => {
            state.copy.away = true;
            drop(state);
            world.say(format_args!("Postgres is away for {lasts:?}"));
            let world = world.clone();
            tokio::spawn(async move {
                sleep(lasts).await;
                world.lock().copy.away = false;
            });
        }
        _ if replaces => {
            let head = state.now().head();
            drop(state);
            world.replace_log(rng.below(head + 1));
        }
        _ => {}
    }
}
