//! What people say of themselves, where they are logged in, and how others find them.

use std::time::{Duration, Instant};

use natterjack_testkit::{Account, Closed, Site, Socket, answer, eventually, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Within which an ended session has ended on every front.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
const AUTHENTICATION: Closed = Closed(Some(4501));

async fn change(account: &Account, front: &str, body: Value) -> Value {
    let (status, me) = account.ask(Method::PATCH, &format!("{front}/v1/me"), Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{me}");
    me
}

/// What others see of `account`, once it is as `wanted` says.
async fn seen(by: &Account, front: &str, account: &Account, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("others to see it", async || {
        let (_, person) = by.get(&format!("{front}/v1/users/{}", account.user)).await;
        wanted(&person).then_some(person)
    })
    .await
}

async fn assert_ended(front: &str, account: &Account, socket: &mut Socket) {
    assert_eq!(socket.closed().await, AUTHENTICATION);
    eventually("the session to end", async || {
        let (status, body) = account.get(&format!("{front}/v1/users/online")).await;
        (!status.is_success()).then(|| assert_eq!(body["code"], ErrorCode::SessionEnded.number()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_shows_of_oneself_is_seen_by_all_and_what_is_private_by_nobody() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let projector = site.projector().await;
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let mut socket = ada.connect(&two).await;
    let status = json!({ "text": "in the marsh", "emoji": "🐸", "until": 9_007_199_254_740_991_u64 });
    let body = json!({
        "nickname": " Ada 的 ", "avatar": "frog-7", "bio": "counts\nfrogs", "status": status,
        "email": "ada@marsh.example", "phone": "+491701234567", "locale": "de-CH",
    });
    let me = change(&ada, &one, body).await;
    assert_eq!((&me["nickname"], &me["phone"]), (&json!("Ada 的"), &json!("+491701234567")));
    assert_eq!(ada.get(&format!("{two}/v1/me")).await, (StatusCode::OK, me));

    let event = socket.until(|frame| frame["e"]["type"] == "user.profile_changed").await;
    let public =
        json!({ "nickname": "Ada 的", "avatar": "frog-7", "bio": "counts\nfrogs", "status": status });
    for (name, value) in public.as_object().unwrap() {
        assert_eq!(&event["e"][name], value);
    }
    let shown = seen(&bob, &two, &ada, |person| person["nickname"] == "Ada 的").await;
    assert_eq!((&shown["bio"], &shown["status"]), (&public["bio"], &public["status"]));
    let rows = site.admin().await.unwrap().query("SELECT body FROM log.events", &[]).await.unwrap();
    let log: Vec<u8> = rows.iter().flat_map(|row| row.get::<_, Vec<u8>>(0)).collect();
    for private in ["ada@marsh.example", "+491701234567", "de-CH"] {
        assert!(!shown.to_string().contains(private) && !String::from_utf8_lossy(&log).contains(private));
    }

    // One part is taken away, another changed; the third, left alone, has run out.
    change(&ada, &two, json!({ "bio": null, "status": { "text": "back", "until": 1 } })).await;
    let shown = seen(&bob, &one, &ada, |person| person["bio"].is_null()).await;
    assert_eq!((&shown["nickname"], &shown["status"]), (&json!("Ada 的"), &Value::Null));
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_come_in_the_order_in_which_they_were_made_over_whichever_front() {
    let site = Site::builder().start().await;
    let fronts = [site.front().await.url(), site.front().await.url(), site.front().await.url()];
    let projector = site.projector().await;
    let ada = site.register(&fronts[0], "ada").await;
    let mut socket = ada.connect(&fronts[0]).await;
    for (n, front) in fronts.iter().cycle().take(30).enumerate() {
        change(&ada, front, json!({ "nickname": format!("Ada {n}") })).await;
    }
    for n in 0..30 {
        let event = socket.until(|frame| frame["e"]["type"] == "user.profile_changed").await;
        assert_eq!(event["e"]["nickname"], format!("Ada {n}"));
    }
    seen(&ada, &fronts[1], &ada, |person| person["nickname"] == "Ada 29").await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_said_of_oneself_is_refused_for_what_is_wrong_with_it() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let bob = json!({ "username": "bob", "password": "long enough", "email": "bob@marsh.example" });
    site.http.post(format!("{front}/v1/auth/register")).json(&bob).send().await.unwrap();
    let cases = [
        (json!({ "nickname": "" }), ErrorCode::NicknameInvalid),
        (json!({ "nickname": "x".repeat(51) }), ErrorCode::NicknameInvalid),
        (json!({ "nickname": "a\u{0}" }), ErrorCode::NicknameInvalid),
        (json!({ "avatar": "a b" }), ErrorCode::AvatarInvalid),
        (json!({ "bio": "x".repeat(501) }), ErrorCode::BioInvalid),
        (json!({ "status": { "text": " " } }), ErrorCode::StatusInvalid),
        (json!({ "status": { "text": "x", "until": 1_u64 << 53 } }), ErrorCode::StatusInvalid),
        (json!({ "status": { "text": "x", "emoji": "a b" } }), ErrorCode::StatusInvalid),
        (json!({ "status": { "text": "x", "mood": 1 } }), ErrorCode::RequestInvalid),
        (json!({ "email": "nowhere" }), ErrorCode::EmailInvalid),
        (json!({ "email": "BOB@marsh.example" }), ErrorCode::EmailTaken),
        (json!({ "phone": "0170 1234" }), ErrorCode::PhoneInvalid),
        (json!({ "locale": "en_GB" }), ErrorCode::LocaleInvalid),
        (json!({ "username": "eve" }), ErrorCode::RequestInvalid),
    ];
    for (body, expected) in cases {
        let request = ada.request(Method::PATCH, &format!("{front}/v1/me")).json(&body);
        assert_eq!(refused(request).await, expected, "{body:.100}");
    }
    let (_, me) = ada.get(&format!("{front}/v1/me")).await;
    assert_eq!(me.as_object().unwrap().keys().collect::<Vec<_>>(), ["created_at", "id", "username"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_all_other_sessions_on_every_front_at_once() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let ada = site.register(&one, "ada").await;
    let (other, third) = (ada.another(&two).await, ada.another(&one).await);
    let (mut kept, mut ended) =
        (ada.connect(&two).await, [other.connect(&two).await, third.connect(&one).await]);
    let url = format!("{one}/v1/me/password");
    let wrong = ada.request(Method::POST, &url).json(&json!({ "old": "not mine!", "new": "another one" }));
    assert_eq!(refused(wrong).await, ErrorCode::PasswordWrong);
    let short = ada.request(Method::POST, &url).json(&json!({ "old": ada.password, "new": "short" }));
    assert_eq!(refused(short).await, ErrorCode::PasswordInvalid);
    let change = json!({ "old": ada.password, "new": "another one" });
    assert_eq!(ada.post(&url, change).await, (StatusCode::NO_CONTENT, Value::Null));
    let changed_at = Instant::now();
    for (account, socket) in [&other, &third].into_iter().zip(&mut ended) {
        assert_ended(&one, account, socket).await;
        assert_eq!(account.get(&format!("{two}/v1/users/online")).await.0, StatusCode::UNAUTHORIZED);
    }
    assert!(changed_at.elapsed() < ENDED_WITHIN, "{:?}", changed_at.elapsed());
    kept.assert_none(|frame| frame["t"] == "bye").await;
    ada.refreshed(&two).await;
    let old = json!({ "login": "ada", "password": ada.password });
    let old = site.http.post(format!("{two}/v1/auth/login")).json(&old);
    assert_eq!(refused(old).await, ErrorCode::CredentialsWrong);
    Account::log_in(&site.http, &two, "ada", "another one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_account_is_gone_for_all_but_its_name_and_what_was_said() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let projector = site.projector().await;
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    change(&ada, &one, json!({ "nickname": "Zoë" })).await;
    let mut socket = ada.connect(&two).await;
    let url = format!("{one}/v1/me/deactivate");
    let wrong = ada.request(Method::POST, &url).json(&json!({ "password": "not mine!" }));
    assert_eq!(refused(wrong).await, ErrorCode::PasswordWrong);
    let (status, body) = ada.post(&url, json!({ "password": ada.password })).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    assert_ended(&two, &ada, &mut socket).await;
    let attempt = |login: &str, password: &str| {
        let body = json!({ "login": login, "password": password });
        answer(site.http.post(format!("{two}/v1/auth/login")).json(&body))
    };
    let closed = attempt("ada", &ada.password).await.unwrap();
    assert_eq!(closed, attempt("nobody", &ada.password).await.unwrap(), "nobody is told why");
    assert_eq!(closed.1["code"], ErrorCode::CredentialsWrong.number());
    let again = json!({ "username": "ADA", "password": "long enough" });
    let again = site.http.post(format!("{one}/v1/auth/register")).json(&again);
    assert_eq!(refused(again).await, ErrorCode::UsernameTaken);

    let is_gone = |person: &Value| person["deactivated"] == true && person["presence"]["state"] == "offline";
    assert_eq!(seen(&bob, &one, &ada, is_gone).await["nickname"], "Zoë");
    for name in ["ada", "Zo"] {
        let (_, found) = bob.get(&format!("{one}/v1/users?q={name}")).await;
        assert_eq!(found["items"], json!([]), "{name}");
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_found_by_either_name() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let projector = site.projector().await;
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    change(&bob, &front, json!({ "nickname": "ＡＤalbert" })).await;
    let found = async |q: &str| {
        let (status, list) = ada.get(&format!("{front}/v1/users?q={q}")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let name = |person: &Value| person["username"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    eventually("the nickname to be found", async || (found("ADAL").await == ["bob"]).then_some(())).await;
    assert_eq!(found("ad").await, ["ada", "bob"]);
    assert_eq!(found("B").await, ["bob"]);
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&one, "bob").await);
    let body = json!({ "login": "ada", "password": ada.password });
    let phone = site.http.post(format!("{two}/v1/auth/login")).header("user-agent", "phone/1").json(&body);
    let (_, phone) = answer(phone).await.unwrap();
    let phone = Account { token: phone["access_token"].as_str().unwrap().to_owned(), ..ada.clone() };
    let tablet = ada.another(&two).await;
    let url = format!("{one}/v1/me/sessions");
    let (_, list) = ada.get(&format!("{url}?limit=2")).await;
    let (_, rest) = ada.get(&format!("{url}?limit=2&cursor={}", list["next"].as_str().unwrap())).await;
    let sessions =
        [list["items"].as_array().unwrap().clone(), rest["items"].as_array().unwrap().clone()].concat();
    assert_eq!((sessions.len(), &rest["next"]), (3, &Value::Null));
    let current: Vec<_> = sessions.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, false, true], "the latest first");
    assert_eq!((&sessions[1]["device"], &sessions[1]["address"]), (&json!("phone/1"), &json!("127.0.0.1")));
    assert_eq!(refused(ada.request(Method::GET, &format!("{url}?cursor=x"))).await, ErrorCode::CursorInvalid);

    let mut socket = phone.connect(&two).await;
    let of_phone = format!("{url}/{}", sessions[1]["id"].as_str().unwrap());
    assert_eq!(refused(bob.request(Method::DELETE, &of_phone)).await, ErrorCode::SessionNotFound);
    assert_eq!(ada.ask(Method::DELETE, &of_phone, None).await.0, StatusCode::NO_CONTENT);
    assert_ended(&two, &phone, &mut socket).await;
    for path in [&of_phone, &format!("{url}/nonsense")] {
        assert_eq!(refused(ada.request(Method::DELETE, path)).await, ErrorCode::SessionNotFound);
    }
    let mut socket = tablet.connect(&two).await;
    assert_eq!(ada.ask(Method::DELETE, &url, None).await.0, StatusCode::NO_CONTENT);
    assert_ended(&two, &tablet, &mut socket).await;
    let (_, list) = ada.get(&url).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(bob.get(&url).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_passwords_is_held_up_by_account_and_whoever_makes_accounts_by_address() {
    let site = Site::builder().start().await;
    let limits = [("PASSWORDS_PER_MINUTE", "3"), ("REGISTRATIONS_PER_HOUR", "2")];
    let front = site.front_with(&limits).await.url();
    let ada = site.register(&front, "ada").await;
    let log_in = |login: &str| {
        let body = json!({ "login": login, "password": "wrong password" });
        answer(site.http.post(format!("{front}/v1/auth/login")).json(&body))
    };
    let why = "too many attempts at the password of this account";
    // Whether somebody has the name makes no difference.
    for name in ["ada", "nobody"] {
        for _ in 0..3 {
            assert_eq!(log_in(name).await.unwrap().1["code"], ErrorCode::CredentialsWrong.number());
        }
        let (status, refused) = log_in(&name.to_uppercase()).await.unwrap();
        assert_eq!((status, &refused["detail"]), (StatusCode::TOO_MANY_REQUESTS, &json!(why)), "{refused}");
    }
    let guess = json!({ "old": "wrong password", "new": "another one" });
    for _ in 0..3 {
        ada.post(&format!("{front}/v1/me/password"), guess.clone()).await;
    }
    let (status, refused) = ada.post(&format!("{front}/v1/me/password"), guess).await;
    assert_eq!((status, &refused["detail"]), (StatusCode::TOO_MANY_REQUESTS, &json!(why)), "{refused}");
    site.register(&front, "bob").await;
    let third = json!({ "username": "carl", "password": "long enough" });
    let (status, refused) =
        answer(site.http.post(format!("{front}/v1/auth/register")).json(&third)).await.unwrap();
    let why = "too many accounts were made from this address";
    assert_eq!((status, &refused["detail"]), (StatusCode::TOO_MANY_REQUESTS, &json!(why)), "{refused}");
}
