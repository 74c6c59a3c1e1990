//! A page of history over REST, beside the statement alone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use natterjack_database::Client;
use natterjack_domain::{RoomId, UserId};
use natterjack_readmodel::Cursor;
use tokio_postgres::Statement;
use uuid::Uuid;

use crate::{
    Options, cores, crowd,
    http::Http,
    installation::Installation,
    load::{self, Latency, Worker},
    report::{Goal, Row},
    turns::TURN,
};

const ROOMS: usize = 300;
const PAGE: i64 = 50;
const PAGES_PER_SECOND: f64 = 300.0;
const CONNECTIONS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(500);

/// What is read: any page of any room.
struct Shelf {
    rooms: Vec<RoomId>,
    messages: i64,
}

impl Shelf {
    fn any_page(&self) -> (RoomId, i64) {
        let room = self.rooms[rand::random_range(0..self.rooms.len())];
        (room, rand::random_range(self.messages / 100..=self.messages))
    }
}

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    // Then page and statement go from one core to the other equally often, which is half of what a statement costs.
    cores::put(installation.postgres.pid(), cores::EITHER)?;
    let reader = UserId::random();
    let log = installation.log().await?;
    let rooms = crowd::rooms_of(&log, ROOMS, &[reader]).await?.iter().map(|room| room.id).collect();
    let shelf = Arc::new(Shelf { rooms, messages: if options.quick { 200_000 } else { 5_000_000 } });
    fill(&installation.admin().await?, &shelf, reader, &log.epoch(0)).await?;

    let front = installation.front().await?;
    let token = crowd::token(&Installation::tokens()?, reader);
    let (mut pages, mut statements) = (vec![], vec![]);
    for _ in 0..CONNECTIONS {
        pages.push(Pages { http: Http::connect(front.address, &token).await?, shelf: shelf.clone() });
        statements.push(Statements::prepare(&installation, &shelf).await?);
    }
    for room in &shelf.rooms {
        pages[0].http.get(&format!("/v1/rooms/{room}/messages")).await?;
    }
    let mut warm = load::histogram();
    load::at_rate(&mut statements, PAGES_PER_SECOND, WARM_UP, &mut warm).await?;
    load::at_rate(&mut pages, PAGES_PER_SECOND, WARM_UP, &mut warm).await?;

    let (mut of_pages, mut of_statements) = (load::histogram(), load::histogram());
    let all = "natterjack_readmodel_queries_total";
    let probes = r#"natterjack_readmodel_queries_total{query="probe"}"#;
    let queries = async || anyhow::Ok(front.metric(all).await? - front.metric(probes).await?);
    let before = queries().await?;
    for _ in 0..options.turns() * 2 {
        load::at_rate(&mut statements, PAGES_PER_SECOND, TURN, &mut of_statements).await?;
        load::at_rate(&mut pages, PAGES_PER_SECOND, TURN, &mut of_pages).await?;
    }
    let queries = (queries().await? - before) / of_pages.len() as f64;
    let (product, bare) = (Latency::of(&of_pages), Latency::of(&of_statements));
    Ok(vec![
        Row::new("history.p50", product.p50, "ms").beside(bare.p50),
        Row::new("history.p99", product.p99, "ms").beside(bare.p99).goal(Goal::RatioAtMost(1.5)),
        Row::new("history.queries", queries, "statements/page, health probes left out")
            .goal(Goal::AtMost(1.0)),
    ])
}

/// Messages as the projector writes them, the rooms taking turns, in all of `shelf`'s rooms.
async fn fill(admin: &Client, shelf: &Shelf, owner: UserId, epoch: &str) -> anyhow::Result<()> {
    let rooms: Vec<Uuid> = shelf.rooms.iter().map(|room| (*room).into()).collect();
    let owner = Uuid::from(owner);
    admin
        .batch_execute(
            "SET synchronous_commit = off; SET maintenance_work_mem = '256MB';
             ALTER TABLE read.messages DROP CONSTRAINT messages_pkey; DROP INDEX read.messages_mid_key;",
        )
        .await?;
    admin
        .execute(
            "INSERT INTO read.checkpoints (stream, epoch, seq) VALUES (0, $1, $2)
             ON CONFLICT (stream) DO UPDATE SET epoch = $1, seq = $2",
            &[&epoch, &shelf.messages],
        )
        .await?;
    admin
        .execute(
            "INSERT INTO read.rooms (id, stream, name, name_key, visibility, owner, created_seq, created_at,
                                     member_count, last_ordinal, all_mentions, head, kind, slow_mode_s, read_only,
                                     members_max, archived, deleted)
             SELECT id, 0::smallint, 'bench', 'bench', 'private', $2, 1, '', 1, $3::bigint / $4::bigint, 0, $3,
                    'room', 0, false, 0, false, false
             FROM unnest($1::uuid[]) id",
            &[&rooms, &owner, &shelf.messages, &i64::try_from(rooms.len())?],
        )
        .await?;
    let text = "x".repeat(load::TEXT_CHARS);
    admin
        .execute(
            "INSERT INTO read.messages (room, seq, mid, author, cid, ordinal, all_mentions, body, posted_at)
             SELECT ($1::uuid[])[1 + n % $5::bigint], n, md5(n::text)::uuid, $2, md5((-n)::text)::uuid, 1 + n / $5, 0, $3,
                    '2026-01-01T00:00:00.000000000Z'
             FROM generate_series(1, $4::bigint) n",
            &[&rooms, &owner, &text, &shelf.messages, &i64::try_from(rooms.len())?],
        )
        .await?;
    admin
        .batch_execute(
            "ALTER TABLE read.messages ADD PRIMARY KEY (room, seq);
             CREATE UNIQUE INDEX messages_mid_key ON read.messages (mid, room);
             ANALYZE read.rooms; CHECKPOINT;",
        )
        .await?;
    // By itself: it has no place in a transaction.
    admin.batch_execute("VACUUM ANALYZE read.messages").await?;
    Ok(())
}

struct Pages {
    http: Http,
    shelf: Arc<Shelf>,
}

impl Worker for Pages {
    async fn work(&mut self) -> anyhow::Result<()> {
        let (room, before_seq) = self.shelf.any_page();
        let cursor = Cursor::History { before_seq }.encode();
        let path = format!("/v1/rooms/{room}/messages?limit={PAGE}&cursor={cursor}");
        let answer = self.http.get(&path).await?;
        ensure!(answer.ends_with(b"}"), "the page is cut off");
        Ok(())
    }
}

struct Statements {
    client: Client,
    statement: Statement,
    shelf: Arc<Shelf>,
}

impl Statements {
    async fn prepare(installation: &Installation, shelf: &Arc<Shelf>) -> anyhow::Result<Self> {
        let client = installation.client("natterjack_front").await?;
        let statement = client
            .prepare(
                "SELECT seq, mid, author, cid, body, reply_to, posted_at, edited_at, recalled_at
                 FROM read.messages WHERE room = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
            )
            .await
            .context("preparing")?;
        Ok(Self { client, statement, shelf: shelf.clone() })
    }
}

impl Worker for Statements {
    async fn work(&mut self) -> anyhow::Result<()> {
        let (room, before) = self.shelf.any_page();
        let rows = self.client.query(&self.statement, &[room.as_uuid(), &before, &PAGE]).await?;
        ensure!(!rows.is_empty(), "an empty page");
        Ok(())
    }
}
