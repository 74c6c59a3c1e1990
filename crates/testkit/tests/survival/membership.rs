//! Coming and going while others talk: nothing is heard that was said after one left, and all that was said before.

use futures_util::future::join_all;
use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Site, Socket, eventually};
use natterjack_wire::ErrorCode;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const COMERS: usize = 6;
const STAYS: usize = 12;

async fn change(account: &Account, front: &str, room: RoomId, what: &str) -> u64 {
    let (status, body) = account.post(&format!("{front}/v1/rooms/{room}/{what}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{what}: {body}");
    body["position"]["seq"].as_u64().unwrap()
}

/// One stay in the room: from when to when, and what was heard of it.
struct Stay {
    joined: u64,
    left: u64,
    heard: Vec<u64>,
    /// Heard to the end; else one had enough before.
    to_the_end: bool,
}

impl Stay {
    fn last(&self) -> u64 {
        self.heard.last().copied().unwrap_or(self.joined)
    }

    /// Takes what `socket` tells until it was that one left, or `enough` events more.
    async fn hear(&mut self, socket: &mut Socket, enough: usize) {
        for _ in 0..enough {
            if self.left > 0 && self.last() >= self.left {
                return;
            }
            let Ok(frame) = socket.next().await else { panic!("the connection lasts") };
            if frame["t"] == "ev" {
                let prev = frame["prev"].as_u64().unwrap();
                assert!(prev <= self.last(), "{frame} after {}", self.last());
                self.heard.push(frame["seq"].as_u64().unwrap());
            }
        }
    }

    async fn resume(&self, account: &Account, front: &str, room: RoomId) -> Option<Socket> {
        let mut socket = account.connect(front).await;
        let answer = socket.subscribe(room, json!({ "after": self.last() })).await;
        match answer["code"].as_u64() {
            None => {
                assert_eq!(answer["recovered"], true, "{answer}");
                Some(socket)
            }
            Some(code) => {
                assert_eq!(code, u64::from(ErrorCode::NotMember.number()), "{answer}");
                None
            }
        }
    }
}

/// After leaving, whatever one still can read goes no farther than to that.
async fn assert_shut_out(account: &Account, front: &str, room: RoomId, left: u64) {
    eventually("the raw events to be refused", async || {
        let request = account.request(Method::GET, &format!("{front}/v1/rooms/{room}/events"));
        let response = request.send().await.unwrap();
        if !response.status().is_success() {
            return Some(());
        }
        // An answer breaks off when its reader has left meanwhile.
        let Ok(text) = response.text().await else { return None };
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert!(event["seq"].as_u64().unwrap() <= left, "{event} is after {left}");
        }
        None
    })
    .await;
    for path in ["messages", "members"] {
        eventually("the room to be refused", async || {
            let (status, _) = account.get(&format!("{front}/v1/rooms/{room}/{path}")).await;
            (!status.is_success()).then_some(())
        })
        .await;
    }
}

async fn come_and_go(account: Account, fronts: [String; 2], room: RoomId, seed: u64) -> Vec<Stay> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut any = || fronts[rng.random_range(0..2)].clone();
    let mut stays = vec![];
    for n in 0..STAYS {
        let joined = change(&account, &any(), room, "join").await;
        let mut stay = Stay { joined, left: 0, heard: vec![], to_the_end: false };
        let socket = stay.resume(&account, &any(), room).await;
        let mut socket = socket.expect("who has joined is in on every front");
        stay.hear(&mut socket, 3).await;
        match n % 3 {
            // Stays to the end.
            0 => {
                stay.left = change(&account, &any(), room, "leave").await;
                stay.hear(&mut socket, usize::MAX).await;
                socket.assert_none(|frame| frame["t"] == "ev").await;
                stay.to_the_end = true;
            }
            // Comes back over another connection before leaving.
            1 => {
                drop(socket);
                let mut socket = stay.resume(&account, &any(), room).await.expect("a member");
                stay.left = change(&account, &any(), room, "leave").await;
                stay.hear(&mut socket, usize::MAX).await;
                socket.assert_none(|frame| frame["t"] == "ev").await;
                stay.to_the_end = true;
            }
            // Comes back while leaving.
            _ => {
                let (resuming, leaving) = (any(), any());
                let (resumed, left) = tokio::join!(
                    stay.resume(&account, &resuming, room),
                    change(&account, &leaving, room, "leave")
                );
                stay.left = left;
                if let Some(mut socket) = resumed {
                    stay.hear(&mut socket, usize::MAX).await;
                    socket.assert_none(|frame| frame["t"] == "ev").await;
                    stay.to_the_end = true;
                }
            }
        }
        assert_shut_out(&account, &any(), room, stay.left).await;
        stays.push(stay);
    }
    stays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_come_and_go_over_two_fronts_hear_just_what_was_said_while_they_were_in() {
    let site = Site::builder().set("TAIL_EVENTS", 16).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let mut comers = vec![];
    for n in 0..COMERS {
        let account = site.register(&one, &format!("comer-{n}")).await;
        comers.push(come_and_go(account, [one.clone(), two.clone()], room, n as u64));
    }
    let talking = tokio::spawn(async move {
        let mut sockets = [ada.connect(&one).await, ada.connect(&two).await];
        for n in 0.. {
            let answer = sockets[n % 2].post(room, &format!("{n}")).await;
            assert_eq!(answer["t"], "ok", "{answer}");
        }
    });
    let stays: Vec<Stay> = join_all(comers).await.into_iter().flatten().collect();
    talking.abort();

    let log = site.log().await;
    let events = log.tail(natterjack_eventlog::Topic::Room(room), 0, usize::MAX >> 40).await.unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    for stay in &stays {
        assert!(stay.last() <= stay.left, "{} was heard after leaving at {}", stay.last(), stay.left);
        let end = if stay.to_the_end { stay.left } else { stay.last() };
        let within: Vec<u64> = seqs.iter().copied().filter(|seq| *seq > stay.joined && *seq <= end).collect();
        assert_eq!(stay.heard, within, "from {} to {end}", stay.joined);
    }
    assert_eq!(stays.len(), COMERS * STAYS);
    projector.stop().await;
}
