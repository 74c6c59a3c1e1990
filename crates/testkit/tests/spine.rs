//! Messages from many clients over several fronts, with everything that can be taken away taken away in between: each
//! client sees each message once, all in the same order, and Postgres is what a replay of the log makes.

#![allow(clippy::unwrap_used, clippy::large_futures)]

use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Follower, Site, assert_same_order};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

const CLIENTS: usize = 20;
const ROOMS: usize = 5;
const MESSAGES: usize = 2_000;
/// One in so many sends is followed by a reconnect to another front.
const RECONNECT_ONE_IN: u32 = 25;

struct Crowd {
    accounts: Vec<Account>,
    rooms: Vec<RoomId>,
}

async fn gather(site: &Site, front: &str) -> Crowd {
    let mut accounts = vec![];
    for n in 0..CLIENTS {
        accounts.push(site.register(front, &format!("client-{n}")).await);
    }
    let mut rooms = vec![];
    for n in 0..ROOMS {
        let room = accounts[0].create_room(front, &format!("Room {n}"), "public").await;
        for account in &accounts[1..] {
            account.join(front, room).await;
        }
        rooms.push(room);
    }
    Crowd { accounts, rooms }
}

/// Everybody posts and reads; gives the followers once each has seen everything.
async fn chat(crowd: Crowd, fronts: Vec<String>, seed: u64, reconnects: bool) -> Vec<Follower> {
    let mut tasks = JoinSet::new();
    for (index, account) in crowd.accounts.into_iter().enumerate() {
        let (rooms, fronts) = (crowd.rooms.clone(), fronts.clone());
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed + index as u64);
            let mut follower = Follower::new(account, &fronts, &rooms).beginning_at(index);
            follower.step().await;
            for n in 0..MESSAGES / CLIENTS {
                let room = rooms[rng.random_range(0..rooms.len())];
                follower.post(room, &format!("{n} from {index}: 你好")).await;
                if reconnects && rng.random_ratio(1, RECONNECT_ONE_IN) {
                    follower.disconnect();
                }
                // Reads as it goes, but not always to the end: sends overtake one another across connections.
                for _ in 0..rng.random_range(1..30) {
                    follower.step().await;
                    if follower.is_settled() {
                        break;
                    }
                }
            }
            follower
                .run_until("all messages", |f| {
                    let read: usize = f.rooms.values().map(|room| room.messages().len()).sum();
                    f.is_settled() && read == MESSAGES
                })
                .await;
            follower
        });
    }
    tasks.join_all().await
}

async fn assert_all_agree(site: &Site, followers: &[Follower]) {
    let seen = assert_same_order(followers);
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), MESSAGES);
    site.assert_replay_is_equal().await;
    let client = site.admin().await.unwrap();
    for (room, messages) in seen {
        let sql = "SELECT seq, mid::text, ordinal FROM read.messages WHERE room = $1 ORDER BY seq";
        let rows = client.query(sql, &[room.as_uuid()]).await.unwrap();
        let stored: Vec<(u64, String)> =
            rows.iter().map(|row| (u64::try_from(row.get::<_, i64>(0)).unwrap(), row.get(1))).collect();
        assert_eq!(stored, messages);
        let ordinals: Vec<i64> = rows.iter().map(|row| row.get(2)).collect();
        assert_eq!(ordinals, (1..=i64::try_from(messages.len()).unwrap()).collect::<Vec<_>>());
    }
}

async fn clients_change_fronts(streams: u16) {
    let site = Site::builder().streams(streams).start().await;
    let (one, two, projector) = (site.front().await, site.front().await, site.projector().await);
    let crowd = gather(&site, &one.url()).await;
    let followers = chat(crowd, vec![one.url(), two.url()], 7, true).await;
    assert!(followers.iter().map(|f| f.reconnects).sum::<usize>() > CLIENTS);
    assert_all_agree(&site, &followers).await;
    one.drain().await;
    two.drain().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_change_fronts_see_every_message_once_in_one_order() {
    clients_change_fronts(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_change_fronts_see_every_message_once_in_one_order_with_three_streams() {
    clients_change_fronts(3).await;
}

async fn processes_are_killed(streams: u16) {
    let site = Site::builder().streams(streams).start().await;
    let (keeper, doomed) = tokio::join!(site.front_process(), site.front_process());
    let projector = site.projector_process().await;
    let crowd = gather(&site, &keeper.url()).await;
    let rooms = crowd.rooms.clone();
    let watcher = crowd.accounts[0].clone();
    let fronts = vec![doomed.url(), keeper.url()];
    let chatting = tokio::spawn(chat(crowd, fronts, 11, false));

    // Kill each in mid-run: when a third, and when two thirds of the messages are through.
    let mut watching = Follower::new(watcher, &[keeper.url()], &rooms);
    let through = |f: &Follower| f.rooms.values().map(|room| room.messages().len()).sum::<usize>();
    watching.run_until("a third", |f| through(f) > MESSAGES / 3).await;
    projector.kill().await;
    watching.run_until("half", |f| through(f) > MESSAGES / 2).await;
    doomed.kill().await;
    let _projector = site.projector_process().await;
    watching.run_until("the end", |f| through(f) == MESSAGES).await;

    let followers = chatting.await.unwrap();
    assert!(followers.iter().any(|f| f.reconnects > 1), "nobody lost a connection");
    assert_all_agree(&site, &followers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_front_and_a_killed_projector_lose_and_double_nothing() {
    processes_are_killed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_front_and_a_killed_projector_lose_and_double_nothing_with_three_streams() {
    processes_are_killed(3).await;
}
