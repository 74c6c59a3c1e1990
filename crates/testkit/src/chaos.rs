//! A whole site under load while everything that can fail fails, again and again; then a judgement.
//!
//! Three nats-servers (or one), a Postgres, two projectors and three fronts run as processes, with a [`Proxy`] on every
//! link. [`Follower`]s chat over them while the [`plan`](plan::plan) of the seed is carried out. When it is over, all is
//! made whole, everybody reads to the end, and [`checker::judge`] decides on what was seen and what is stored. Start with
//! [`run`]; `scripts/chaos.sh` does, and `tests/survival/chaos.rs`.
//!
//! [`Proxy`]: crate::Proxy
//! [`Follower`]: crate::Follower

mod course;
mod crowd;
mod dump;
mod pages;
pub mod plan;
mod target;
mod topology;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use natterjack_domain::RoomId;
use natterjack_eventlog::Topic;

use crate::{
    Account, Site,
    checker::{self, Dump, Fault, Report},
    history,
};
use course::Course;
use crowd::{Crowd, Phase};
use pages::Pages;
use target::{Body, Target};
use topology::{Node, Servers, ready};

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// How long faults are made.
    pub time: Duration,
    /// From one fault to the next, on the average.
    pub every: Duration,
    /// nats-servers: one or three.
    pub nodes: usize,
    pub streams: u16,
    pub clients: usize,
    /// Further clients that are the product's own library, under Node.
    pub pages: usize,
    pub rooms: usize,
    /// Where histories and logs are written; they stay when something is wrong.
    pub dir: PathBuf,
    /// They stay in any case.
    pub keeps_all: bool,
}

const FRONTS: usize = 3;
const PROJECTORS: usize = 2;
/// How long the projectors have for what is left.
const PROJECTED_WITHIN: Duration = Duration::from_mins(2);
/// The log is at rest when it has not grown for so long: longer than an append is tried.
const REST: Duration = Duration::from_secs(6);
const REST_WITHIN: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

/// Runs it, showing progress. `interrupted`: completes when faults are to end before their time.
pub async fn run(
    options: Options,
    interrupted: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<Report> {
    let builder = Site::builder()
        .streams(options.streams)
        // Tight where that brings out more, and as shipped where tests only want to be out of each other's way.
        .set("APPEND_DEADLINE_MS", 5_000)
        .set("ACCESS_SECS", 86_400)
        .set("CONNECTIONS_PER_USER", 1_000)
        .set("HEADS_PERIOD_MS", 2_000)
        .set("HEARTBEAT_MS", 5_000)
        .set("POSTGRES_ACQUIRE_MS", 1_000)
        .set("POSTGRES_CONNECT_MS", 1_000)
        .set("ROOM_IDLE_SECS", 5)
        .set("TAIL_EVENTS", 64);
    if options.nodes == 1 {
        hold(builder.start().await, options, interrupted).await
    } else {
        hold(builder.start_with_cluster().await, options, interrupted).await
    }
}

async fn hold<N: Servers>(
    mut site: Site<N>,
    options: Options,
    interrupted: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<Report> {
    let course = Arc::new(Course::begin());
    tokio::spawn({
        let course = course.clone();
        async move {
            interrupted.await;
            course.stop();
        }
    });
    let dir = fs::canonicalize(&options.dir).or_else(|_| {
        fs::create_dir_all(&options.dir)?;
        fs::canonicalize(&options.dir)
    });
    let dir = dir.context("the directory for histories")?.join(format!("{}-{}", options.seed, options.nodes));
    let _ = fs::remove_dir_all(&dir);
    let histories = dir.join("histories");
    fs::create_dir_all(&histories)?;
    course.say(&format!("{options:?}"));

    let mut nodes = vec![];
    for number in 1..=FRONTS {
        nodes.push(Node::front(&site, number, &dir).await);
    }
    for number in 1..=PROJECTORS {
        nodes.push(Node::projector(&site, number, &dir).await);
    }
    ready(&nodes, &site.http, &course).await;
    let fronts: Vec<String> = nodes.iter().filter_map(Node::url).collect();
    let (accounts, rooms) = gather(&site.http, &fronts[0], &options).await;
    let (followers, readers) = accounts.split_at(options.clients);
    let crowd = Crowd::begin(followers, &rooms, &fronts, &histories, options.seed, &course);
    let mut pages = match readers {
        [] => None,
        some => Some(Pages::begin(some, &rooms, &fronts, &histories, options.seed, &course).await?),
    };

    suffer(&mut site, &mut nodes, &options, &course).await;
    course.say("no more faults");
    ready(&nodes, &site.http, &course).await;
    if !crowd.all(Phase::Settle).await {
        course.incident("somebody's sends were not settled in time".into());
    }
    if let Some(pages) = &mut pages {
        course.succeeded("the pages' sends", pages.settle().await);
    }
    let log = site.log().await;
    at_rest(&log).await;
    let heads = heads(&log, &rooms).await?;
    if let Some(pages) = &mut pages {
        course.succeeded("the pages' reading", pages.read(&heads).await);
    }
    if !crowd.all(Phase::Read(heads)).await {
        course.incident("somebody did not get to the end in time".into());
    }
    crowd.end().await;
    if let Some(pages) = pages {
        let faults = course.succeeded("the end of the pages", pages.end().await);
        faults.into_iter().flatten().for_each(|fault| course.incident(fault));
    }
    course.say("everybody has read to the end");
    let report = judge(&site, &options, &histories, &course).await?;
    if report.is_good() && !options.keeps_all {
        fs::remove_dir_all(dir)?;
    } else {
        keep(&site, &dir, &report, &course)?;
    }
    Ok(report)
}

async fn gather(http: &reqwest::Client, front: &str, options: &Options) -> (Vec<Account>, Vec<RoomId>) {
    let mut accounts = vec![];
    for number in 1..=options.clients + options.pages {
        accounts.push(Account::register(http, front, &format!("client-{number}")).await);
    }
    // None of those who come and go: an owner cannot leave.
    let owner = Account::register(http, front, "owner").await;
    let mut rooms = vec![];
    for number in 1..=options.rooms {
        let room = owner.create_room(front, &format!("Room {number}"), "public").await;
        for account in &accounts {
            account.join(front, room).await;
        }
        rooms.push(room);
    }
    (accounts, rooms)
}

/// Carries out the plan; everything is whole again in the end.
async fn suffer<N: Servers>(site: &mut Site<N>, nodes: &mut [Node], options: &Options, course: &Course) {
    let names = (0..).map(|number| format!("nats-server {number}"));
    let servers = site.nats.members_mut().iter_mut().map(Body::Nats);
    let mut targets: Vec<_> = names.zip(servers).map(|(name, body)| Target { name, body }).collect();
    targets.push(Target { name: "Postgres".into(), body: Body::Postgres(&mut site.postgres) });
    targets.extend(nodes.iter_mut().flat_map(Node::targets));
    let parts: Vec<_> = targets.iter().map(Target::part).collect();
    let began = course.began.elapsed();
    let mut planned = plan::plan(options.seed, &parts, options.time, options.every);
    for hit in &mut planned {
        hit.at += began;
    }
    let over = async {
        course.nap(options.time).await;
        course.stop();
    };
    let suffering = targets.into_iter().enumerate().map(|(index, target)| {
        let own = planned.iter().filter(|hit| hit.target == index).copied().collect();
        target.suffer(own, course)
    });
    tokio::join!(over, join_all(suffering));
}

/// Waits until nobody appends any more.
async fn at_rest(log: &natterjack_eventlog::Log) {
    let resting = async {
        let (mut last, mut since) = (vec![], std::time::Instant::now());
        while since.elapsed() < REST {
            let mut now = vec![];
            for stream in 0..log.streams() {
                now.push(log.last_seq(stream).await.ok());
            }
            if now != last {
                (last, since) = (now, std::time::Instant::now());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let _ = tokio::time::timeout(REST_WITHIN, resting).await;
}

async fn heads(log: &natterjack_eventlog::Log, rooms: &[RoomId]) -> anyhow::Result<BTreeMap<RoomId, u64>> {
    let mut all = BTreeMap::new();
    for room in rooms {
        let heads = log.heads(Topic::Room(*room)).await?;
        all.insert(*room, heads.state.max(heads.timeline));
    }
    Ok(all)
}

async fn judge<N: Servers>(
    site: &Site<N>,
    options: &Options,
    histories: &Path,
    course: &Course,
) -> anyhow::Result<Report> {
    let urls: Vec<String> = site.nats.members().iter().map(natterjack_stack::NatsServer::url).collect();
    let stored = dump::log(&urls.join(","), options.streams).await.context("reading the log")?;
    let log = site.log().await;
    let epochs = (0..options.streams).map(|stream| log.epoch(stream).to_string()).collect();
    let mut dumped = Dump { log: stored, epochs, ..Dump::default() };
    if !projected(site, &dumped).await? {
        course.incident("the projectors did not catch up".into());
    }
    dump::postgres(&site.admin().await?, &mut dumped).await.context("reading Postgres")?;
    let mut all = vec![];
    for entry in fs::read_dir(histories)? {
        all.push(history::read(&entry?.path())?);
    }
    let mut report = checker::judge(&all, &dumped, course.faults());
    for incident in course.incidents() {
        report.find(Fault::Unexplained, || incident);
    }
    let verified = natterjack_projection::verify(&site.pool("natterjack_migrator"), |_| {}).await?;
    if !verified.is_good() {
        report.find(Fault::Unexplained, || format!("Postgres is not what a replay makes: {verified:?}"));
    }
    Ok(report)
}

/// Waits until Postgres reflects the log; answers whether it did in time.
async fn projected<N>(site: &Site<N>, dump: &Dump) -> anyhow::Result<bool> {
    let mut heads = BTreeMap::new();
    for stored in &dump.log {
        heads.insert(i16::try_from(stored.stream)?, i64::try_from(stored.seq)?);
    }
    let client = site.admin().await?;
    let sql = "SELECT stream, seq FROM read.checkpoints";
    let reaching = async {
        loop {
            let rows = client.query(sql, &[]).await?;
            let reached: BTreeMap<i16, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            if reached == heads {
                return anyhow::Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PROJECTED_WITHIN, reaching).await {
        Ok(reached) => reached.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Puts beside the histories and logs what else tells of the run.
fn keep<N: Servers>(site: &Site<N>, dir: &Path, report: &Report, course: &Course) -> anyhow::Result<()> {
    for (number, member) in site.nats.members().iter().enumerate() {
        fs::copy(member.log_path(), dir.join(format!("nats-server-{number}.log")))?;
    }
    fs::copy(site.postgres.log_path(), dir.join("postgres.log"))?;
    fs::write(dir.join("course.txt"), course.told())?;
    fs::write(dir.join("report.txt"), report.to_string())?;
    course.say(&format!("kept: {}", dir.display()));
    Ok(())
}
