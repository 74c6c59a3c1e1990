//! Registering, logging in, refreshing, logging out; and that what ends on one front ends on all.

use std::time::{Duration, Instant};

use natterjack_domain::SessionId;
use natterjack_testkit::{Account, Closed, Site, Socket, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Within which an ended session has ended on every front.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
const AUTHENTICATION: Closed = Closed(Some(4501));

fn post(site: &Site, front: &str, path: &str, body: &Value) -> RequestBuilder {
    site.http.post(format!("{front}{path}")).json(body)
}

fn register(site: &Site, front: &str, username: &str, email: Option<&str>, password: &str) -> RequestBuilder {
    let body = json!({ "username": username, "email": email, "password": password });
    post(site, front, "/v1/auth/register", &body)
}

fn log_in(site: &Site, front: &str, login: &str, password: &str) -> RequestBuilder {
    post(site, front, "/v1/auth/login", &json!({ "login": login, "password": password }))
}

fn refresh(site: &Site, front: &str, token: &str) -> RequestBuilder {
    post(site, front, "/v1/auth/refresh", &json!({ "refresh_token": token }))
}

/// Waits until `account` is refused by `front` because its session has ended.
async fn ended(front: &str, account: &Account) {
    eventually("the session to end", async || {
        let (status, body) = account.get(&format!("{front}/v1/me")).await;
        let code = body["code"].as_u64();
        assert!(status.is_success() || code == Some(ErrorCode::SessionEnded.number().into()), "{body}");
        (!status.is_success()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_registers_and_logs_in_by_name_or_address_on_any_front() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let registered = register(&site, &one, "Ada", Some("Ada@Marsh.example"), "correct horse");
    let (status, ada) = natterjack_testkit::answer(registered).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{ada}");
    assert_eq!((&ada["username"], &ada["expires_in_secs"]), (&json!("ada"), &json!(900)));
    let mut sessions = vec![ada["session"].as_str().unwrap().parse::<SessionId>().unwrap()];
    for login in ["ada", "ADA", "ada@marsh.example", "Ada@Marsh.example"] {
        let login = log_in(&site, &two, login, "correct horse");
        let (status, again) = natterjack_testkit::answer(login).await.unwrap();
        assert_eq!((status, &again["user"]), (StatusCode::OK, &ada["user"]), "{again}");
        sessions.push(again["session"].as_str().unwrap().parse().unwrap());
    }
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_is_refused_for_what_is_wrong_with_it() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let make = async |name: &str, email: Option<&str>, password: &str| {
        refused(register(&site, &front, name, email, password)).await
    };
    let good = "long enough";
    let ada = register(&site, &front, "ada", Some("ada@marsh.example"), good);
    assert_eq!(ada.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(make("Ada", None, good).await, ErrorCode::UsernameTaken);
    assert_eq!(make("eve", Some("ADA@marsh.example"), good).await, ErrorCode::EmailTaken);
    for name in ["ab", "", "1up", "a b", "ада", "a/../b", &"x".repeat(33), "eve\u{0}"] {
        assert_eq!(make(name, None, good).await, ErrorCode::UsernameInvalid, "{name}");
    }
    for email in ["eve", "@marsh", "eve@", "a b@marsh.example", &format!("e@{}.example", "m".repeat(260))] {
        assert_eq!(make("eve", Some(email), good).await, ErrorCode::EmailInvalid, "{email}");
    }
    for password in ["", "seven77", &"x".repeat(257)] {
        assert_eq!(make("eve", None, password).await, ErrorCode::PasswordInvalid, "{password}");
    }
    for (login, password) in
        [("ada", "wrong pass"), ("nobody", good), ("", ""), ("ada\u{0}", good), ("ada", &"x".repeat(50_000))]
    {
        assert_eq!(
            refused(log_in(&site, &front, login, password)).await,
            ErrorCode::CredentialsWrong,
            "{login}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_a_megabyte_is_refused_and_costs_nobody_anything() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let huge = "x".repeat(1 << 20);
    for request in [register(&site, &front, "eve", None, &huge), log_in(&site, &front, "eve", &huge)] {
        assert_eq!(refused(request).await, ErrorCode::BodyTooLarge);
    }
    site.register(&front, "eve").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_good_for_one_exchange_and_the_session_goes_on() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let first = site.register(&one, "ada").await;
    let second = first.refreshed(&two).await;
    assert_ne!(first.refresh_token, second.refresh_token);
    let third = second.refreshed(&one).await;
    for account in [&first, &second, &third] {
        assert_eq!(account.get(&format!("{two}/v1/me")).await.0, StatusCode::OK);
    }
    for nonsense in ["", "nonsense", &"x".repeat(10_000), &third.token] {
        assert_eq!(
            refused(refresh(&site, &one, nonsense)).await,
            ErrorCode::RefreshInvalid,
            "{nonsense:.40}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_refresh_token_ends_its_session_on_every_front_at_once() {
    let site = Site::builder().set("REFRESH_GRACE_MS", 0).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let stolen = site.register(&one, "ada").await;
    let elsewhere = stolen.another(&two).await;
    let current = stolen.refreshed(&one).await;
    let mut sockets = [stolen.connect(&one).await, current.connect(&two).await];
    let mut kept = elsewhere.connect(&two).await;

    assert_eq!(refused(refresh(&site, &two, &stolen.refresh_token)).await, ErrorCode::RefreshReused);
    let ended_at = Instant::now();
    for socket in &mut sockets {
        let (bye, closed) = socket.last_words().await;
        assert_eq!((bye, closed), (json!({ "t": "bye", "code": 4501 }), AUTHENTICATION));
    }
    ended(&one, &current).await;
    ended(&two, &current).await;
    assert!(ended_at.elapsed() < ENDED_WITHIN, "{:?}", ended_at.elapsed());
    assert_eq!(refused(refresh(&site, &one, &current.refresh_token)).await, ErrorCode::SessionEnded);

    kept.assert_none(|frame| frame["t"] == "bye").await;
    elsewhere.refreshed(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_ends_this_session_on_every_front_and_no_other() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let phone = site.register(&one, "ada").await;
    let laptop = phone.another(&two).await;
    let mut phones = [phone.connect(&one).await, phone.connect(&two).await];
    let mut other = laptop.connect(&two).await;

    let url = format!("{one}/v1/auth/logout");
    assert_eq!(phone.post(&url, Value::Null).await, (StatusCode::NO_CONTENT, Value::Null));
    let ended_at = Instant::now();
    for socket in &mut phones {
        assert_eq!(socket.closed().await, AUTHENTICATION);
    }
    ended(&two, &phone).await;
    assert!(ended_at.elapsed() < ENDED_WITHIN, "{:?}", ended_at.elapsed());
    assert_eq!(refused(phone.request(Method::POST, &url)).await, ErrorCode::SessionEnded);
    assert_eq!(refused(refresh(&site, &two, &phone.refresh_token)).await, ErrorCode::SessionEnded);
    other.assert_none(|frame| frame["t"] == "bye").await;
    assert_eq!(laptop.get(&format!("{one}/v1/me")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_everywhere_ends_all_sessions_of_the_person_and_of_nobody_else() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let ada = site.register(&one, "ada").await;
    let also_ada = ada.another(&two).await;
    let bob = site.register(&two, "bob").await;
    let mut sockets = [ada.connect(&one).await, also_ada.connect(&two).await];
    let mut bobs = bob.connect(&two).await;

    let url = format!("{one}/v1/auth/logout-all");
    assert_eq!(ada.post(&url, Value::Null).await.0, StatusCode::NO_CONTENT);
    let ended_at = Instant::now();
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, AUTHENTICATION);
    }
    ended(&one, &also_ada).await;
    ended(&two, &ada).await;
    assert!(ended_at.elapsed() < ENDED_WITHIN, "{:?}", ended_at.elapsed());
    bobs.assert_none(|frame| frame["t"] == "bye").await;
    ada.another(&two).await.connect(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_starts_later_knows_which_sessions_have_ended() {
    let site = Site::builder().start().await;
    let one = site.front().await.url();
    let ada = site.register(&one, "ada").await;
    ada.post(&format!("{one}/v1/auth/logout"), Value::Null).await;
    let two = site.front().await.url();
    ended(&two, &ada).await;
    let mut socket = Socket::open(&two).await.unwrap();
    socket.send(&json!({ "t": "hello", "token": ada.token })).await.unwrap();
    assert_eq!(socket.next().await.unwrap()["code"], ErrorCode::SessionEnded.number());
    assert_eq!(socket.closed().await, AUTHENTICATION);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_each_for_its_own_reason() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let at = |path: &str| format!("{front}{path}");
    let raw = |body: &'static str| {
        ada.request(Method::POST, &at("/v1/rooms")).header("content-type", "application/json").body(body)
    };
    let room = natterjack_domain::RoomId::random();
    let deep = "[".repeat(60_000);
    let cases = [
        (raw("{"), ErrorCode::RequestInvalid),
        (raw(""), ErrorCode::RequestInvalid),
        (raw("null"), ErrorCode::RequestInvalid),
        (raw(r#"{"name":"a","visibility":"public","colour":"green"}"#), ErrorCode::RequestInvalid),
        (raw(r#"{"name":"a","visibility":"secret"}"#), ErrorCode::RequestInvalid),
        (raw(r#"{"name":"a"}"#), ErrorCode::RequestInvalid),
        (raw(r#"{"name":7,"visibility":"public"}"#), ErrorCode::RequestInvalid),
        (raw(r#"{"name":"a","visibility":"public","members":["nobody"]}"#), ErrorCode::RequestInvalid),
        (raw(r#"{"name":" ","visibility":"public"}"#), ErrorCode::RoomNameInvalid),
        (raw("").body(deep), ErrorCode::RequestInvalid),
        (raw("").body(b"{\"name\":\"\xff\"}".to_vec()), ErrorCode::RequestInvalid),
        (ada.request(Method::POST, &at("/v1/rooms")).body("{}"), ErrorCode::Unsupported),
        (
            ada.request(Method::POST, &at("/v1/rooms")).header("content-type", "text/plain").body("{}"),
            ErrorCode::Unsupported,
        ),
        (ada.request(Method::PUT, &at("/v1/rooms")), ErrorCode::MethodNotAllowed),
        (ada.request(Method::GET, &at("/v1/auth/login")), ErrorCode::MethodNotAllowed),
        (ada.request(Method::GET, &at("/v1/nothing")), ErrorCode::NotFound),
        (ada.request(Method::GET, &at("/nothing")), ErrorCode::NotFound),
        (ada.request(Method::GET, &at("/v1/rooms/nonsense")), ErrorCode::RoomNotFound),
        (ada.request(Method::GET, &at("/v1/rooms/%ff%fe")), ErrorCode::RoomNotFound),
        (ada.request(Method::GET, &at("/v1/users/nonsense")), ErrorCode::UserNotFound),
        (ada.request(Method::GET, &at("/v1/rooms?colour=green")), ErrorCode::RequestInvalid),
        (ada.request(Method::GET, &at("/v1/rooms?limit=many")), ErrorCode::RequestInvalid),
        (ada.request(Method::GET, &at("/v1/rooms?cursor=nonsense")), ErrorCode::CursorInvalid),
        (ada.request(Method::GET, &at("/v1/rooms?at_least=7")), ErrorCode::RequestInvalid),
        (
            ada.request(Method::GET, &at(&format!("/v1/rooms/{room}/messages?cursor=AXI"))),
            ErrorCode::RoomNotFound,
        ),
        (
            raw(r#"{"name":"a","visibility":"public"}"#).header("idempotency-key", "x".repeat(129)),
            ErrorCode::RequestInvalid,
        ),
        (
            raw(r#"{"name":"a","visibility":"public"}"#).header("idempotency-key", ""),
            ErrorCode::RequestInvalid,
        ),
        (ada.request(Method::GET, &at("/v1/ws")), ErrorCode::UpgradeExpected),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(refused(request).await, expected, "{shown:.300}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let site = Site::builder().start().await;
    let open = site.front().await;
    let ada = site.register(&open.url(), "ada").await;
    let tight = site.front_with(&[("AUTH_PER_MINUTE", "2"), ("REQUESTS_PER_SECOND", "1")]).await;
    let limited = async |request: &dyn Fn() -> RequestBuilder| {
        for _ in 0..10 {
            if request().send().await.unwrap().status() == StatusCode::TOO_MANY_REQUESTS {
                return refused(request()).await;
            }
        }
        panic!("no limit");
    };
    let attempt = || log_in(&site, &tight.url(), "ada", "wrong password");
    assert_eq!(limited(&attempt).await, ErrorCode::RateLimited);
    let me = || ada.request(Method::GET, &format!("{}/v1/me", tight.url()));
    assert_eq!(limited(&me).await, ErrorCode::RateLimited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_known_to_all_even_if_the_front_died_before_it_could_tell() {
    let site = Site::builder().start().await;
    let (doomed, projector) = (site.front_process().await, site.projector().await);
    // With the log frozen the fact can only wait in the outbox.
    site.nats.suspend().await;
    let ada = site.register(&doomed.url(), "ada").await;
    doomed.kill().await;
    site.nats.resume();
    let heir = site.front().await;
    eventually("the other front to tell", async || {
        let (status, person) = ada.get(&format!("{}/v1/users/{}", heir.url(), ada.user)).await;
        (status == StatusCode::OK).then(|| assert_eq!(person["username"], "ada"))
    })
    .await;
    site.assert_replay_is_equal().await;
    projector.stop().await;
}
