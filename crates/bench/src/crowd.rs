//! People and rooms, made directly in the log: what is measured is not how accounts are made.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{EventId, RoomId, RoomName, SessionId, UserId, Visibility, room};
use natterjack_eventlog::{Log, NewEvent, Subject};
use natterjack_identity::{AccessTokens, Clock};
use natterjack_wire::Fact;

use crate::{
    client::{self, Reader, Writer},
    reference::raw_log,
};

/// Connections that are opened at once.
const OPENING_AT_ONCE: usize = 64;
/// Messages that are appended at once.
const SAYING_AT_ONCE: usize = 512;

pub struct Room {
    pub id: RoomId,
    pub members: Vec<UserId>,
}

/// One person's connection, following one room.
pub struct Seat {
    pub room: RoomId,
    pub user: UserId,
    pub reader: Reader,
    pub writer: Writer,
}

/// Makes `count` rooms with `members` people each; nobody is in two of them.
pub async fn rooms(log: &Log, count: usize, members: usize) -> anyhow::Result<Vec<Room>> {
    make(log, count, || (0..members).map(|_| UserId::random()).collect()).await
}

/// Makes `count` rooms with these members each.
pub async fn rooms_of(log: &Log, count: usize, members: &[UserId]) -> anyhow::Result<Vec<Room>> {
    make(log, count, || members.to_vec()).await
}

async fn make(log: &Log, count: usize, members: impl Fn() -> Vec<UserId>) -> anyhow::Result<Vec<Room>> {
    let make = |_| async {
        let room = Room { id: RoomId::random(), members: members() };
        create(log, &room).await?;
        anyhow::Ok(room)
    };
    stream::iter(0..count).map(make).buffer_unordered(OPENING_AT_ONCE).try_collect().await
}

/// Appends the event that makes `room` with all its members.
pub async fn create(log: &Log, room: &Room) -> anyhow::Result<()> {
    let by = *room.members.first().context("a room has members")?;
    let name = Some(RoomName::parse("bench").map_err(|error| anyhow::anyhow!("{error:?}"))?);
    let created = room::Event::Created {
        by,
        kind: room::Kind::Room,
        name,
        visibility: Visibility::Private,
        members: room.members.clone(),
    };
    let event = NewEvent::new(Subject::state(room.id), EventId::random(), &Fact::Room(created)).expecting(0);
    log.append(event).await?;
    Ok(())
}

/// Appends `each` messages to each room, the rooms taking turns.
pub async fn say(log: &Log, rooms: &[Room], each: usize) -> anyhow::Result<()> {
    let append = |room: &Room| {
        let room = room.id;
        async move {
            let (id, body) = raw_log::event(room, 0)?;
            let id = EventId::from_uuid(id.parse()?);
            log.append(NewEvent { subject: Subject::timeline(room), id, body, expected_last: None }).await?;
            anyhow::Ok(())
        }
    };
    let turns = (0..each).flat_map(|_| rooms);
    stream::iter(turns).map(append).buffer_unordered(SAYING_AT_ONCE).try_collect().await
}

/// Connects every member of every room to a front, and has each follow its room. The seats of a room are together.
pub async fn seats(
    front: SocketAddr,
    tokens: &AccessTokens,
    rooms: &[Room],
) -> anyhow::Result<Vec<Vec<Seat>>> {
    let places = rooms.iter().flat_map(|room| room.members.iter().map(|user| (room.id, *user)));
    let places: Vec<_> = places.collect();
    let sit = |(room, user): (RoomId, UserId)| async move {
        let (mut reader, writer) = enter(front, tokens, user).await?;
        follow(&mut reader, &writer, room).await?;
        anyhow::Ok(Seat { room, user, reader, writer })
    };
    let seats: Vec<Seat> = stream::iter(places).map(sit).buffered(OPENING_AT_ONCE).try_collect().await?;
    Ok(by_room(seats))
}

pub fn token(tokens: &AccessTokens, user: UserId) -> String {
    tokens.issue(user, SessionId::random(), "bench", Clock::system().now())
}

/// Connects a person to a front, up to `welcome`.
pub async fn enter(
    front: SocketAddr,
    tokens: &AccessTokens,
    user: UserId,
) -> anyhow::Result<(Reader, Writer)> {
    let token = token(tokens, user);
    let (mut reader, writer) = client::connect(front, "/v1/ws").await?;
    writer.send(&format!(r#"{{"t":"hello","token":"{token}"}}"#))?;
    reader.until(r#""t":"welcome""#).await?;
    Ok((reader, writer))
}

/// Has a connection follow a room, from now on; gives the answer.
pub async fn follow(reader: &mut Reader, writer: &Writer, room: RoomId) -> anyhow::Result<String> {
    writer.send(&format!(r#"{{"t":"sub","id":1,"room":"{room}"}}"#))?;
    reader.until(r#""t":"ok""#).await
}

/// The same number of seats at the bare hub, which knows rooms by their path and people not at all.
pub async fn bare_seats(hub: SocketAddr, rooms: usize, members: usize) -> anyhow::Result<Vec<Vec<Seat>>> {
    let ids: Vec<RoomId> = (0..rooms).map(|_| RoomId::random()).collect();
    let places: Vec<RoomId> = ids.iter().flat_map(|id| std::iter::repeat_n(*id, members)).collect();
    let sit = |room: RoomId| async move {
        let (reader, writer) = client::connect(hub, &format!("/{room}")).await?;
        anyhow::Ok(Seat { room, user: UserId::random(), reader, writer })
    };
    let seats: Vec<Seat> = stream::iter(places).map(sit).buffered(OPENING_AT_ONCE).try_collect().await?;
    Ok(by_room(seats))
}

fn by_room(seats: Vec<Seat>) -> Vec<Vec<Seat>> {
    let mut rooms: Vec<Vec<Seat>> = Vec::new();
    for seat in seats {
        match rooms.last_mut() {
            Some(room) if room[0].room == seat.room => room.push(seat),
            _ => rooms.push(vec![seat]),
        }
    }
    rooms
}
