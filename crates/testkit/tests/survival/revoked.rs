//! Who was shut out stops reading and sending on every front; a front that cannot hear of it serves nobody.

use std::time::{Duration, Instant};

use natterjack_domain::{ClientId, RoomId};
use natterjack_testkit::{Account, Closed, Direction, Front, Proxy, Site, Socket, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

use crate::world::announce;

/// Within which who was shut out is shut out everywhere.
const SHUT_OUT_WITHIN: Duration = Duration::from_secs(2);
const AUTHENTICATION: Closed = Closed(Some(4501));
const UNAVAILABLE: Closed = Closed(Some(4004));

/// A front, and its links to the log and to Postgres.
struct Far {
    front: Front,
    nats: Proxy,
    postgres: Proxy,
}

impl Far {
    async fn of(site: &Site, own: &[(&str, &str)]) -> Self {
        let nats = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
        let address = format!("127.0.0.1:{}", site.postgres.port());
        let postgres = Proxy::to(&address).await;
        let url = site.settings("natterjack_front")["NATTERJACK_POSTGRES_URL"].clone();
        let postgres_url = url.replace(&address, &postgres.address().to_string());
        let nats_url = format!("nats://{}", nats.address());
        let mut own = own.to_vec();
        own.extend([("NATS_URL", &*nats_url), ("POSTGRES_URL", &*postgres_url)]);
        Self { front: site.front_with(&own).await, nats, postgres }
    }

    fn url(&self) -> String {
        self.front.url()
    }
}

async fn pair(site: &Site, front: &str) -> (Account, Account, RoomId) {
    let (ada, bob) = (site.register(front, "ada").await, site.register(front, "bob").await);
    let room = ada.create_room(front, "Marsh", "public").await;
    bob.join(front, room).await;
    (ada, bob, room)
}

async fn leave(account: &Account, front: &str, room: RoomId) {
    let (status, body) = account.post(&format!("{front}/v1/rooms/{room}/leave"), Value::Null).await;
    assert!(status.is_success(), "{body}");
}

/// Waits until the session is refused by `front` for having ended, its connection too.
async fn assert_ended(front: &str, account: &Account, socket: &mut Socket) {
    eventually("the session to end", async || {
        // What a front answers by itself.
        let (status, body) = account.get(&format!("{front}/v1/users/online")).await;
        assert!(status.is_success() || body["code"] == ErrorCode::SessionEnded.number(), "{body}");
        (!status.is_success()).then_some(())
    })
    .await;
    assert_eq!(socket.closed().await, AUTHENTICATION);
    let mut fresh = Socket::open(front).await.unwrap();
    fresh.send(&json!({ "t": "hello", "token": account.token })).await.unwrap();
    assert_eq!(fresh.next().await.unwrap()["code"], ErrorCode::SessionEnded.number());
}

async fn log_out_everywhere(account: &Account, front: &str) -> Instant {
    let (status, body) = account.post(&format!("{front}/v1/auth/logout-all"), Value::Null).await;
    assert!(status.is_success(), "{body}");
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_where_the_word_of_it_was_lost() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut socket = ada.connect(&front).await;
    // As a front does that dies before it can tell the others.
    let end = "UPDATE identity.sessions SET revoked_at = now()";
    site.admin().await.unwrap().execute(end, &[]).await.unwrap();
    let ended_at = Instant::now();
    assert_ended(&front, &ada, &mut socket).await;
    assert!(ended_at.elapsed() < SHUT_OUT_WITHIN, "{:?}", ended_at.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_on_a_front_that_is_cut_off_from_the_log_or_for_which_postgres_is_slow() {
    let site = Site::builder().start().await;
    let (near, far) = (site.front().await.url(), Far::of(&site, &[]).await);
    let break_link: [&dyn Fn(); 4] = [
        &|| far.nats.cut(),
        &|| far.nats.hold(Direction::FromTarget),
        &|| far.nats.hold(Direction::ToTarget),
        &|| far.postgres.delay(Direction::FromTarget, Duration::from_secs(3)),
    ];
    for (n, break_link) in break_link.iter().enumerate() {
        let ada = site.register(&near, &format!("ada-{n}")).await;
        // Its link was mended a moment ago.
        let mut socket = eventually("a connection", async || ada.try_connect(&far.url()).await).await;
        break_link();
        let ended_at = log_out_everywhere(&ada, &near).await;
        assert_ended(&far.url(), &ada, &mut socket).await;
        assert!(ended_at.elapsed() < SHUT_OUT_WITHIN, "{n}: {:?}", ended_at.elapsed());
        far.nats.heal();
        far.postgres.heal();
        eventually("the front to be ready", async || far.front.readiness.report().ready.then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_is_cut_off_from_the_log_ends_a_session_on_the_others() {
    let site = Site::builder().start().await;
    let (near, far) = (site.front().await.url(), Far::of(&site, &[]).await);
    let ada = site.register(&near, "ada").await;
    let mut socket = ada.connect(&near).await;
    far.nats.cut();
    let ended_at = log_out_everywhere(&ada, &far.url()).await;
    assert_ended(&near, &ada, &mut socket).await;
    assert!(ended_at.elapsed() < SHUT_OUT_WITHIN, "{:?}", ended_at.elapsed());
}

/// All that `account` can be told of a room by a front: what every way of reading answers, and how.
async fn read_all(account: &Account, front: &str, room: RoomId, after: u64) -> Vec<(String, Option<u64>)> {
    let mut answers = vec![];
    for path in ["messages", "events", "members"] {
        let request = account.request(Method::GET, &format!("{front}/v1/rooms/{room}/{path}"));
        let response = request.send().await.unwrap();
        let is_good = response.status().is_success();
        let text = response.text().await.unwrap();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        answers.push((text, problem["code"].as_u64().filter(|_| !is_good)));
    }
    let Some(mut socket) = account.try_connect(front).await else { return answers };
    let (mut told, id) = (String::new(), socket.request_id());
    let sub = json!({ "t": "sub", "id": id, "room": room, "after": after });
    let mut code = None;
    if socket.send(&sub).await.is_ok() && socket.send(&json!({ "t": "ping", "n": id + 1 })).await.is_ok() {
        while let Ok(frame) = socket.next().await {
            if frame["id"] == id && frame["t"] == "err" {
                code = frame["code"].as_u64();
            }
            if frame["id"] == id + 1 {
                break;
            }
            told.push_str(&frame.to_string());
        }
    }
    answers.push((told, code));
    answers
}

const SECRET: &str = "Bob must not know";

/// Bob leaves while a front cannot hear of it; that one shows him nothing any more after two
/// seconds.
async fn a_deaf_front_shows_nothing(deafen: impl Fn(&Far), is_closed: bool) {
    let site = Site::builder().start().await;
    let (near, projector) = (site.front().await.url(), site.projector().await);
    let far = Far::of(&site, &[("CUT_OFF_TIMEOUT_MS", "3000")]).await;
    let (ada, bob, room) = pair(&site, &near).await;
    let mut adas = ada.connect(&near).await;
    let before = adas.post(room, "Bob may know").await["seq"].as_u64().unwrap();
    let (mut bobs, mut resumed) = (bob.connect(&far.url()).await, bob.connect(&far.url()).await);
    assert_eq!(bobs.subscribe(room, json!({ "after": 0 })).await["recovered"], true);
    site.projected().await;

    deafen(&far);
    leave(&bob, &near, room).await;
    let left_at = Instant::now();
    assert_eq!(adas.post(room, SECRET).await["t"], "ok");
    site.projected().await;
    let mut refusals = 0;
    while refusals == 0 || left_at.elapsed() < SHUT_OUT_WITHIN {
        let is_late = left_at.elapsed() >= SHUT_OUT_WITHIN;
        let answers = read_all(&bob, &far.url(), room, before).await;
        for (told, code) in &answers {
            assert!(!is_late || code.is_some(), "{:?}: {told}", left_at.elapsed());
        }
        refusals += usize::from(answers.iter().all(|(_, code)| code.is_some()));
    }
    // Nor may he speak, over whatever connection.
    let send =
        json!({ "t": "send", "id": 7, "room": room, "cid": ClientId::random(), "body": "I am still here" });
    if resumed.send(&send).await.is_ok() {
        while let Ok(frame) = resumed.next().await {
            assert!(frame["id"] != 7 || frame["t"] == "err", "{frame}");
            if frame["id"] == 7 {
                break;
            }
        }
    }
    if is_closed {
        // He would take it that nobody says anything.
        let (bye, closed) = bobs.last_words().await;
        assert_eq!((&bye["t"], &bye["code"], closed), (&json!("bye"), &json!(4004), UNAVAILABLE));
        assert!(!far.front.readiness.report().ready);
    }
    far.nats.heal();
    eventually("the front to be ready", async || far.front.readiness.report().ready.then_some(())).await;
    for (told, code) in read_all(&bob, &far.url(), room, before).await {
        assert_eq!(code, Some(ErrorCode::NotMember.number().into()), "{told}");
    }
    for (told, code) in read_all(&ada, &far.url(), room, before).await {
        assert_eq!(code, None, "{told}");
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_is_cut_off_from_the_log_lets_nobody_read_and_sends_its_clients_away() {
    a_deaf_front_shows_nothing(|far| far.nats.cut(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_the_log_does_not_reach_lets_nobody_read_though_its_connections_stand() {
    a_deaf_front_shows_nothing(|far| far.nats.hold(Direction::FromTarget), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_does_not_reach_the_log_lets_nobody_read_though_its_connections_stand() {
    a_deaf_front_shows_nothing(|far| far.nats.hold(Direction::ToTarget), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_with_neither_log_nor_postgres_shows_nothing_at_all() {
    let site = Site::builder().start().await;
    let far = Far::of(&site, &[("CUT_OFF_TIMEOUT_MS", "600000")]).await;
    let (ada, _, room) = pair(&site, &far.url()).await;
    let mut socket = ada.connect(&far.url()).await;
    socket.post(room, "anybody there?").await;
    far.nats.cut();
    far.postgres.cut();
    eventually("the front to notice", async || (!far.front.readiness.report().ready).then_some(())).await;
    sleep(SHUT_OUT_WITHIN).await;
    for (told, code) in read_all(&ada, &far.url(), room, 0).await {
        assert!(code.is_some(), "{told}");
    }
    for path in ["rooms", "rooms/public", "users", &format!("rooms/{room}")] {
        let request = ada.request(Method::GET, &format!("{}/v1/{path}", far.url()));
        assert_eq!(refused(request).await, ErrorCode::DatabaseUnavailable);
    }
    let answer = socket.post(room, "nobody").await;
    assert_eq!(answer["code"], ErrorCode::LogUnavailable.number(), "{answer}");
}

/// Bob is out by what `take_out` does, of which the front that he is connected to was never told.
async fn who_is_out_hears_no_more(
    take_out: impl AsyncFnOnce(&Account, &Account, &str),
    last: &str,
    expected: ErrorCode,
) {
    let site = Site::builder().set("HEADS_PERIOD_MS", 600_000).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob, room) = pair(&site, &one).await;
    let (mut adas, mut bobs) = (ada.connect(&one).await, bob.connect(&two).await);
    bobs.subscribe(room, json!({})).await;
    // What is republished is sent at most once: as if its leader had died in between.
    announce(&site, false).await;
    take_out(&ada, &bob, &format!("{one}/v1/rooms/{room}")).await;
    let out_at = Instant::now();
    announce(&site, true).await;
    let event = bobs.until(|frame| frame["t"] == "ev").await;
    assert_eq!(event["e"]["type"], last, "{event}");
    assert!(out_at.elapsed() < SHUT_OUT_WITHIN, "{:?}", out_at.elapsed());
    // Of a deleted room she hears no more either.
    let _ = adas.post(room, SECRET).await;
    bobs.assert_none(|frame| frame["t"] == "ev").await;
    assert_eq!(bobs.post(room, "I am still here").await["code"], expected.number());
    let sub = bobs.subscribe(room, json!({ "after": 0 })).await;
    assert_eq!(sub["code"], expected.number(), "{sub}");
}

async fn done(account: &Account, method: Method, url: &str) {
    let (status, body) = account.ask(method, url, Some(json!({}))).await;
    assert!(status.is_success(), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_hears_no_more_though_the_log_never_told_of_it() {
    let leave = async |_: &Account, bob: &Account, room: &str| {
        done(bob, Method::POST, &format!("{room}/leave")).await;
    };
    who_is_out_hears_no_more(leave, "room.member_left", ErrorCode::NotMember).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kicked_hears_no_more_though_the_log_never_told_of_it() {
    let kick = async |ada: &Account, bob: &Account, room: &str| {
        done(ada, Method::DELETE, &format!("{room}/members/{}", bob.user)).await;
    };
    who_is_out_hears_no_more(kick, "room.member_left", ErrorCode::NotMember).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_hears_no_more_though_the_log_never_told_of_it() {
    let ban = async |ada: &Account, bob: &Account, room: &str| {
        done(ada, Method::PUT, &format!("{room}/bans/{}", bob.user)).await;
    };
    who_is_out_hears_no_more(ban, "room.member_banned", ErrorCode::NotMember).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_more_of_a_deleted_room_though_the_log_never_told_of_it() {
    let delete = async |ada: &Account, _: &Account, room: &str| done(ada, Method::DELETE, room).await;
    who_is_out_hears_no_more(delete, "room.deleted", ErrorCode::RoomNotFound).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_muted_says_no_more_though_the_log_never_told_of_it() {
    let site = Site::builder().set("HEADS_PERIOD_MS", 600_000).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob, room) = pair(&site, &one).await;
    let mut bobs = bob.connect(&two).await;
    bobs.subscribe(room, json!({})).await;
    announce(&site, false).await;
    done(&ada, Method::PUT, &format!("{one}/v1/rooms/{room}/mutes/{}", bob.user)).await;
    let muted_at = Instant::now();
    announce(&site, true).await;
    eventually("him to be muted", async || {
        (bobs.post(room, "I speak").await["code"] == ErrorCode::Muted.number()).then_some(())
    })
    .await;
    assert!(muted_at.elapsed() < SHUT_OUT_WITHIN, "{:?}", muted_at.elapsed());
}

/// Reads the beginning of a room's raw events over a connection that takes little at once.
async fn begin_reading(front: &str, account: &Account, room: RoomId) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let mut stream = socket.connect(front.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /v1/rooms/{room}/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        account.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_breaks_off_when_its_reader_logs_out() {
    // Four pages of what the answer is made of: the kernels may take the first, and one more is read ahead of the one that is
    // written.
    const MESSAGES: usize = 650;
    let site = Site::builder().start().await;
    // Its kernel does not take megabytes for a connection.
    let process = site.front_process().await;
    let front = process.url();
    let (ada, bob, room) = pair(&site, &front).await;
    let mut adas = ada.connect(&front).await;
    for n in 0..MESSAGES {
        assert_eq!(adas.post(room, &format!("{n:08}{}", "蛙".repeat(7_992))).await["t"], "ok");
    }
    let mut logged_out = begin_reading(&front, &bob, room).await;
    let url = format!("{front}/v1/auth/logout");
    assert!(bob.post(&url, Value::Null).await.0.is_success());
    let mut told = vec![];
    logged_out.read_to_end(&mut told).await.unwrap();
    assert!(!told.ends_with(b"0\r\n\r\n"), "all {} bytes were read", told.len());
}
