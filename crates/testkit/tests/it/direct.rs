//! Direct rooms, one for each pair and each set of people, and invites into rooms.

use std::collections::HashSet;

use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Site, refused};
use natterjack_wire::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn open(account: Account, front: String, users: Value) -> (RoomId, u64) {
    let (status, body) = account.post(&format!("{front}/v1/rooms/direct"), json!({ "users": users })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    (body["room"].as_str().unwrap().parse().unwrap(), body["position"]["seq"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_have_one_direct_room_whoever_opens_it_and_however_often() {
    let site = Site::builder().streams(3).start().await;
    let (one, two, _projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    site.known(&[&ada, &bob]).await;
    let mut opened = JoinSet::new();
    for n in 0..6 {
        let (from, front, to) = if n % 2 == 0 { (&ada, &one, &bob) } else { (&bob, &two, &ada) };
        opened.spawn(open(from.clone(), front.clone(), json!([to.user])));
    }
    let opened = opened.join_all().await;
    let rooms: HashSet<RoomId> = opened.iter().map(|(room, _)| *room).collect();
    assert_eq!(rooms, HashSet::from([RoomId::direct(ada.user, bob.user)]));
    let room = opened[0].0;
    let text = ada.request(Method::GET, &format!("{one}/v1/rooms/{room}/events")).send().await.unwrap();
    assert_eq!(text.text().await.unwrap().lines().count(), 1, "it was made once");
    site.projected().await;

    let list = async |account: &Account| account.get(&format!("{two}/v1/rooms")).await.1["items"].clone();
    let creator = ada.get(&format!("{one}/v1/rooms/{room}")).await.1["owner"].clone();
    let (maker, other) = if creator == json!(ada.user) { (&ada, &bob) } else { (&bob, &ada) };
    let listed = list(maker).await;
    assert_eq!((&listed[0]["kind"], &listed[0]["name"]), (&json!("direct"), &json!("")));
    assert_eq!(listed[0]["people"], json!([{ "id": other.user, "username": other.username }]));
    assert_eq!(list(other).await, json!([]), "nothing was said in it");
    maker.connect(&one).await.post(room, "hello").await;
    site.projected().await;
    let listed = list(other).await;
    assert_eq!(
        (&listed[0]["people"][0]["username"], &listed[0]["unread"]),
        (&json!(maker.username), &json!(1))
    );

    for (method, path) in
        [(Method::POST, "/leave"), (Method::PATCH, ""), (Method::DELETE, ""), (Method::POST, "/archive")]
    {
        let request = ada.request(method, &format!("{one}/v1/rooms/{room}{path}")).json(&json!({}));
        assert_eq!(refused(request).await, ErrorCode::NotInDirect, "{path}");
    }
    let add = ada.request(Method::POST, &format!("{one}/v1/rooms/{room}/members"));
    assert_eq!(refused(add.json(&json!({ "user": ada.user }))).await, ErrorCode::NotInDirect);
    site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_people_have_the_same_group_and_it_is_bounded() {
    let site = Site::builder().set("DIRECT_MAX", 3).start().await;
    let (front, _projector) = (site.front().await.url(), site.projector().await);
    let mut people = vec![];
    for name in ["ada", "bob", "eve", "mallory"] {
        people.push(site.register(&front, name).await);
    }
    let [ada, bob, eve, mallory] = &people[..] else { panic!("four") };
    site.known(&[ada, bob, eve, mallory]).await;
    let (room, _) = open(ada.clone(), front.clone(), json!([bob.user, eve.user])).await;
    assert_eq!(open(eve.clone(), front.clone(), json!([bob.user, ada.user, bob.user])).await.0, room);
    assert_ne!(open(eve.clone(), front.clone(), json!([bob.user])).await.0, room);
    site.projected().await;
    let (_, summary) = bob.get(&format!("{front}/v1/rooms/{room}")).await;
    assert_eq!((&summary["kind"], &summary["visibility"]), (&json!("group_direct"), &json!("private")));
    assert_eq!(summary["people"].as_array().unwrap().len(), 2);
    let not_me = mallory.request(Method::GET, &format!("{front}/v1/rooms/{room}"));
    assert_eq!(refused(not_me).await, ErrorCode::RoomNotFound);
    for (users, expected) in [
        (json!([]), ErrorCode::DirectSize),
        (json!([ada.user]), ErrorCode::DirectSize),
        (json!([bob.user, eve.user, mallory.user]), ErrorCode::DirectSize),
        (json!([RoomId::random()]), ErrorCode::UserNotFound),
    ] {
        let request = ada.request(Method::POST, &format!("{front}/v1/rooms/direct"));
        assert_eq!(refused(request.json(&json!({ "users": users }))).await, expected, "{users}");
    }
    site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_leads_into_a_private_room_once_and_its_token_is_nowhere() {
    let site = Site::builder().start().await;
    let (one, two, _projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let (bob, eve) = (site.register(&two, "bob").await, site.register(&two, "eve").await);
    let room = ada.create_room(&one, "Secrets", "private").await;
    let url = format!("{one}/v1/rooms/{room}/invites");
    let (status, made) = ada.post(&url, json!({ "uses_max": 1 })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = made["token"].as_str().unwrap();

    let link = |token: &str| format!("{two}/v1/invites/{token}");
    let (_, preview) = bob.get(&link(token)).await;
    assert_eq!(
        (&preview["name"], &preview["member_count"], &preview["joined"]),
        (&json!("Secrets"), &json!(1), &json!(false))
    );
    let (status, joined) = bob.post(&link(token), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{joined}");
    for method in [Method::GET, Method::POST] {
        assert_eq!(
            refused(eve.request(method.clone(), &link(token))).await,
            ErrorCode::InviteInvalid,
            "used up: {method}"
        );
        assert_eq!(refused(eve.request(method, &link("bm9uc2Vuc2U"))).await, ErrorCode::InviteInvalid);
    }
    let expired = ada.post(&url, json!({ "expires": 1_000 })).await.1;
    let expired = expired["token"].as_str().unwrap();
    assert_eq!(refused(eve.request(Method::POST, &link(expired))).await, ErrorCode::InviteInvalid, "expired");
    let (_, open) = ada.post(&url, json!({})).await;
    let (_, list) = ada.get(&url).await;
    let valid: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|invite| invite["valid"] == true).collect();
    assert_eq!((valid.len(), valid.iter().filter(|valid| **valid).count()), (2, 1));
    let id = open["invite"].as_str().unwrap();
    let (status, _) = ada.ask(Method::DELETE, &format!("{url}/{id}"), None).await;
    assert_eq!(status, StatusCode::OK);
    let revoked = open["token"].as_str().unwrap();
    assert_eq!(refused(eve.request(Method::POST, &link(revoked))).await, ErrorCode::InviteInvalid, "revoked");
    assert_eq!(refused(bob.request(Method::GET, &url)).await, ErrorCode::RoleTooLow);

    let text = ada.request(Method::GET, &format!("{one}/v1/rooms/{room}/events")).send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains(made["invite"].as_str().unwrap()) && !text.contains(token), "{text}");
    site.assert_replay_is_equal().await;
}
