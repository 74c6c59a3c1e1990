//! A front dies, and everybody resumes on another one at once.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use natterjack_domain::{RoomId, UserId};
use natterjack_eventlog::Log;
use natterjack_identity::AccessTokens;

use crate::{
    Options,
    accounting::usage,
    client::{Reader, Writer},
    crowd::{self, Room},
    installation::{Installation, Program},
    load::{self, Latency},
    report::{Goal, Row},
};

/// Rooms that each person is in.
const ROOMS_EACH: usize = 10;
/// What is said in each room while everybody is away: a message a second for ten seconds.
const MISSED: usize = 10;
/// People who come back at once.
const AT_ONCE: usize = 500;

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let (people, rooms) = if options.quick { (400, 40) } else { (2_000, 200) };
    let mut rows = after_death("herd.warm", people, rooms, true).await?;
    rows.extend(after_death("herd.cold", people, rooms, false).await?);
    Ok(rows)
}

/// Where a person was when the front died.
struct Bookmark {
    user: UserId,
    feed: (String, u64),
    rooms: Vec<(RoomId, u64)>,
    epoch: String,
}

/// `warm`: the other front serves the same rooms already, to somebody else.
async fn after_death(name: &str, people: usize, rooms: usize, warm: bool) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let _projector = installation.projector().await?;
    let (log, tokens) = (installation.log().await?, Arc::new(Installation::tokens()?));
    let rooms = make_rooms(&log, people, rooms).await?;
    let doomed = installation.front().await?;
    crowd::say(&log, &rooms, 2).await?;
    let bookmarks = settle(doomed.address, &tokens, &rooms, people).await?;

    let heir = installation.front().await?;
    let strangers = if warm { sit_in(&heir, &tokens, &rooms).await? } else { vec![] };
    doomed.kill().await;
    crowd::say(&log, &rooms, MISSED).await?;

    let queries = async || {
        let mut asked = heir.metric("natterjack_readmodel_queries_total").await?;
        for own in ["probe", "due_people"] {
            asked -= heir.metric(&format!(r#"natterjack_readmodel_queries_total{{query="{own}"}}"#)).await?;
        }
        anyhow::Ok(asked)
    };
    let (asked, cpu, begun) = (queries().await?, usage(heir.pid())?.cpu, Instant::now());
    let latency = parking_lot::Mutex::new(load::histogram());
    let back: Vec<(Reader, Writer)> = stream::iter(&bookmarks)
        .map(async |bookmark| {
            let begun = load::now();
            let back = come_back(heir.address, &tokens, bookmark).await?;
            latency.lock().saturating_record(load::now() - begun);
            anyhow::Ok(back)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let all = begun.elapsed();
    let cpu = usage(heir.pid())?.cpu - cpu;
    let asked = queries().await? - asked;
    drop((back, strangers));
    let one = Latency::of(&latency.lock());
    Ok(vec![
        Row::new(format!("{name}.queries"), asked, "statements to Postgres, the front's own left out")
            .goal(Goal::AtMost(0.0)),
        Row::new(format!("{name}.all"), all.as_secs_f64(), "s until everybody is back"),
        Row::new(format!("{name}.p99"), one.p99, "ms for one person"),
        Row::new(format!("{name}.cpu"), cpu.as_secs_f64(), "CPU-s of the front"),
    ])
}

async fn make_rooms(log: &Log, people: usize, count: usize) -> anyhow::Result<Vec<Room>> {
    let people: Vec<UserId> = (0..people).map(|_| UserId::random()).collect();
    let mut rooms: Vec<Room> = (0..count).map(|_| Room { id: RoomId::random(), members: vec![] }).collect();
    for (index, user) in people.iter().enumerate() {
        for turn in 0..ROOMS_EACH {
            rooms[(index + turn * count / ROOMS_EACH) % count].members.push(*user);
        }
    }
    let create = |room| async move { crowd::create(log, room).await };
    stream::iter(&rooms).map(create).buffer_unordered(64).try_collect::<Vec<()>>().await?;
    Ok(rooms)
}

/// Has everybody follow their rooms, and notes where they are.
async fn settle(
    front: SocketAddr,
    tokens: &AccessTokens,
    rooms: &[Room],
    people: usize,
) -> anyhow::Result<Vec<Bookmark>> {
    let mut mine: std::collections::HashMap<UserId, Vec<RoomId>> = std::collections::HashMap::new();
    for room in rooms {
        for user in &room.members {
            mine.entry(*user).or_default().push(room.id);
        }
    }
    ensure!(mine.len() == people, "some are in no room");
    let sit = |(user, rooms): (UserId, Vec<RoomId>)| async move {
        let token = crowd::token(tokens, user);
        let (mut reader, writer) = crate::client::connect(front, "/v1/ws").await?;
        writer.send(&format!(r#"{{"t":"hello","token":"{token}"}}"#))?;
        let welcome = parse(&reader.until(r#""t":"welcome""#).await?)?;
        let (feed, epoch) = (position(&welcome, "seq")?, text(&welcome, "epoch")?);
        let mut at = vec![];
        for room in rooms {
            let ok = parse(&crowd::follow(&mut reader, &writer, room).await?)?;
            at.push((room, position(&ok, "head")?));
        }
        // The socket is open until the front dies.
        let bookmark = Bookmark { user, feed: (epoch.clone(), feed), rooms: at, epoch };
        anyhow::Ok((bookmark, reader, writer))
    };
    let seated: Vec<_> = stream::iter(mine).map(sit).buffer_unordered(64).try_collect().await?;
    Ok(seated.into_iter().map(|(bookmark, ..)| bookmark).collect())
}

/// One member of each room is on the other front already.
async fn sit_in(
    front: &Program,
    tokens: &AccessTokens,
    rooms: &[Room],
) -> anyhow::Result<Vec<(Reader, Writer)>> {
    let sit = |room: &Room| {
        let (room, user) = (room.id, room.members[0]);
        async move {
            let (mut reader, writer) = crowd::enter(front.address, tokens, user).await?;
            crowd::follow(&mut reader, &writer, room).await?;
            anyhow::Ok((reader, writer))
        }
    };
    stream::iter(rooms).map(sit).buffer_unordered(64).try_collect().await
}

/// Resumes feed and rooms, and reads until nothing is missing.
async fn come_back(
    front: SocketAddr,
    tokens: &AccessTokens,
    bookmark: &Bookmark,
) -> anyhow::Result<(Reader, Writer)> {
    let token = crowd::token(tokens, bookmark.user);
    let (mut reader, writer) = crate::client::connect(front, "/v1/ws").await?;
    let (epoch, seq) = &bookmark.feed;
    let mut frames =
        format!(r#"[{{"t":"hello","token":"{token}","resume":{{"epoch":"{epoch}","seq":{seq}}}}}"#);
    let epoch = &bookmark.epoch;
    for (index, (room, after)) in bookmark.rooms.iter().enumerate() {
        use std::fmt::Write as _;
        write!(frames, r#",{{"t":"sub","id":{index},"room":"{room}","after":{after},"epoch":"{epoch}"}}"#)?;
    }
    writer.send(&(frames + "]"))?;
    let (mut answered, mut events, mut wrong) = (0, 0, None);
    let expected = bookmark.rooms.len() * MISSED;
    let reading = async {
        while answered < bookmark.rooms.len() || events < expected {
            let read = reader.read(|payload| {
                if payload.starts_with(br#"{"t":"ev""#) {
                    events += 1;
                } else if payload.starts_with(br#"{"t":"ok""#) {
                    answered += 1;
                    if memchr::memmem::find(payload, br#""recovered":true"#).is_none() {
                        wrong = Some(String::from_utf8_lossy(payload).into_owned());
                    }
                } else if !payload.starts_with(br#"{"t":"welcome""#) && payload.starts_with(b"{") {
                    wrong = Some(String::from_utf8_lossy(payload).into_owned());
                }
            });
            read.await.context("coming back")?;
            if let Some(wrong) = &wrong {
                bail!("not resumed: {wrong}");
            }
        }
        ensure!(events == expected, "{events} events instead of {expected}");
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.context("not back in time")??;
    Ok((reader, writer))
}

fn parse(frame: &str) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_str(frame)?)
}

fn position(frame: &serde_json::Value, field: &str) -> anyhow::Result<u64> {
    frame[field].as_u64().with_context(|| format!("no {field} in {frame}"))
}

fn text(frame: &serde_json::Value, field: &str) -> anyhow::Result<String> {
    Ok(frame[field].as_str().with_context(|| format!("no {field} in {frame}"))?.to_owned())
}
