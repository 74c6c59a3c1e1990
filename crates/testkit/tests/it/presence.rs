//! Who is there, as seen over several fronts, while these come and go.

use std::time::{Duration, Instant};

use natterjack_domain::UserId;
use natterjack_testkit::{Account, Direction, FrontProcess, Proxy, Site, Socket, eventually};
use natterjack_wire::ErrorCode;
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn be(socket: &mut Socket, state: &str) {
    socket.send(&json!({ "t": "presence", "state": state })).await.unwrap();
}

async fn watch(socket: &mut Socket, people: &[&Account]) {
    let people: Vec<_> = people.iter().map(|account| account.user).collect();
    socket.send(&json!({ "t": "presence", "watch": people })).await.unwrap();
}

/// Waits until the connection is told that `user` is in this state.
async fn told(socket: &mut Socket, user: UserId, state: &str) -> Value {
    let is = |seen: &Value| seen["user"] == json!(user) && seen["state"] == state;
    let of =
        |frame: &Value| frame["presence"].as_array().and_then(|seen| seen.iter().find(|s| is(s)).cloned());
    let frame = socket.until(|frame| of(frame).is_some()).await;
    of(&frame).unwrap()
}

/// Waits until all of `fronts` say that exactly these people are there.
async fn all_agree(by: &Account, fronts: &[&str], people: &[&Account]) {
    let mut expected: Vec<_> = people.iter().map(|account| json!(account.user)).collect();
    expected.sort_by_key(Value::to_string);
    for front in fronts {
        eventually(&format!("{front} to know who is there"), async || {
            let (status, list) = by.get(&format!("{front}/v1/users/online")).await;
            assert_eq!(status, StatusCode::OK, "{list}");
            let items: Vec<_> = list["items"].as_array()?.iter().map(|seen| seen["user"].clone()).collect();
            (items == expected).then(|| assert_eq!(list["count"], expected.len()))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_as_present_as_the_most_present_device_and_hidden_by_one_that_hides() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let mut bobs = bob.connect(&two).await;
    watch(&mut bobs, &[&ada]).await;
    told(&mut bobs, ada.user, "offline").await;
    let mut phone = ada.connect(&one).await;
    let since = told(&mut bobs, ada.user, "online").await["since"].as_u64().unwrap();
    assert!(since > 1_700_000_000_000, "{since}");
    be(&mut phone, "away").await;
    told(&mut bobs, ada.user, "away").await;
    let mut laptop = ada.another(&two).await.connect(&two).await;
    told(&mut bobs, ada.user, "online").await;
    be(&mut laptop, "busy").await;
    told(&mut bobs, ada.user, "busy").await;
    be(&mut phone, "invisible").await;
    told(&mut bobs, ada.user, "offline").await;
    all_agree(&ada, &[&one, &two], &[&bob]).await;
    be(&mut laptop, "online").await;
    be(&mut phone, "away").await;
    told(&mut bobs, ada.user, "online").await;
    drop(laptop);
    told(&mut bobs, ada.user, "away").await;
    drop(phone);
    told(&mut bobs, ada.user, "offline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_hidden_was_never_seen_and_who_comes_back_at_once_was_never_away() {
    let site = Site::builder().set("PRESENCE_LINGER_MS", 60_000).start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let carl = site.register(&one, "carl").await;
    let mut bobs = bob.connect(&two).await;
    watch(&mut bobs, &[&ada, &carl]).await;
    told(&mut bobs, ada.user, "offline").await;
    let mut hidden = Socket::open(&one).await.unwrap();
    let hello = json!([{ "t": "hello", "token": ada.token }, { "t": "presence", "state": "invisible" }]);
    hidden.send(&hello).await.unwrap();
    hidden.until(|frame| frame["t"] == "welcome").await;
    // What is said later over the same front is heard later.
    let carls = carl.connect(&one).await;
    told(&mut bobs, carl.user, "online").await;
    drop(carls);
    let mut carls = carl.connect(&one).await;
    be(&mut carls, "busy").await;
    let of = |frame: &Value, user: UserId| {
        let seen = frame["presence"].as_array().into_iter().flatten();
        seen.filter(|s| s["user"] == json!(user)).map(|s| s["state"].clone()).next()
    };
    loop {
        let frame = bobs.next().await.unwrap();
        assert_eq!(of(&frame, ada.user), None, "{frame}");
        match of(&frame, carl.user) {
            Some(state) if state == "busy" => break,
            Some(state) => assert_eq!(state, "online"),
            None => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_there_is_listed_in_pages_for_the_site_and_for_members_of_a_room() {
    let site = Site::builder().start().await;
    let (one, two) = (site.front().await.url(), site.front().await.url());
    let mut people = vec![];
    for (n, front) in [&one, &two, &one, &two].into_iter().enumerate() {
        people.push(site.register(front, &format!("person-{n}")).await);
    }
    people.sort_by_key(|account| account.user);
    let room = people[0].create_room(&one, "Marsh", "public").await;
    people[1].join(&two, room).await;
    people[2].join(&two, room).await;
    let _sockets =
        [people[0].connect(&one).await, people[1].connect(&two).await, people[3].connect(&one).await];
    all_agree(&people[0], &[&one, &two], &[&people[0], &people[1], &people[3]]).await;
    for front in [&one, &two] {
        let (_, first) = people[2].get(&format!("{front}/v1/users/online?limit=2")).await;
        let next = first["next"].as_str().unwrap();
        let (_, second) = people[2].get(&format!("{front}/v1/users/online?limit=2&cursor={next}")).await;
        assert_eq!((&first["count"], &second["items"][0]["user"]), (&json!(3), &json!(people[3].user)));
        assert_eq!((&first["items"][0]["state"], &second["next"]), (&json!("online"), &Value::Null));
        let url = format!("{front}/v1/rooms/{room}/online");
        let (status, first) = people[2].get(&format!("{url}?limit=1")).await;
        assert_eq!((status, &first["count"]), (StatusCode::OK, &json!(2)), "{first}");
        let (_, second) =
            people[2].get(&format!("{url}?limit=1&cursor={}", first["next"].as_str().unwrap())).await;
        assert_eq!((&second["items"][0]["user"], &second["next"]), (&json!(people[1].user), &Value::Null));
        let (_, refused) = people[3].get(&url).await;
        assert_eq!(refused["code"], ErrorCode::NotMember.number());
        let (_, refused) = people[2].get(&format!("{url}?cursor=nonsense")).await;
        assert_eq!(refused["code"], ErrorCode::CursorInvalid.number());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_watches_so_many_and_is_told_of_no_others() {
    let site = Site::builder().set("PRESENCE_WATCH_MAX", 2).start().await;
    let front = site.front().await.url();
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let carl = site.register(&front, "carl").await;
    let mut adas = ada.connect(&front).await;
    let many: Vec<_> = (0..3).map(|_| UserId::random()).collect();
    adas.send(&json!({ "t": "presence", "watch": many })).await.unwrap();
    let refused = adas.until(|frame| frame["t"] == "err").await;
    assert_eq!(refused["code"], ErrorCode::TooManyWatched.number());
    watch(&mut adas, &[&bob]).await;
    told(&mut adas, bob.user, "offline").await;
    watch(&mut adas, &[&carl]).await;
    told(&mut adas, carl.user, "offline").await;
    let _bobs = bob.connect(&front).await;
    let _carls = carl.connect(&front).await;
    let is_of = |user: UserId| move |frame: &Value| frame.to_string().contains(&user.to_string());
    told(&mut adas, carl.user, "online").await;
    adas.assert_none(is_of(bob.user)).await;
    // A status is told when it changes, and only then.
    let status = json!({ "text": "in the marsh" });
    carl.ask(reqwest::Method::PATCH, &format!("{front}/v1/me"), Some(json!({ "status": status }))).await;
    let frame = adas.until(|frame| frame["presence"][0]["status"].is_object()).await;
    assert_eq!(
        (&frame["presence"][0]["status"], &frame["presence"][0]["state"]),
        (&status, &json!("online"))
    );
}

struct Three {
    site: Site,
    doomed: FrontProcess,
    one: String,
    two: String,
    ada: Account,
    bob: Account,
    adas: Socket,
    bobs: Socket,
}

/// Ada on a front that can be killed, Bob on one of two others, who watches her.
async fn three() -> Three {
    let site = Site::builder().start().await;
    let (doomed, one, two) = (site.front_process().await, site.front().await.url(), site.front().await.url());
    let (ada, bob) = (site.register(&one, "ada").await, site.register(&two, "bob").await);
    let (adas, mut bobs) = (ada.connect(&doomed.url()).await, bob.connect(&one).await);
    watch(&mut bobs, &[&ada]).await;
    told(&mut bobs, ada.user, "online").await;
    all_agree(&bob, &[&one, &two, &doomed.url()], &[&ada, &bob]).await;
    Three { site, doomed, one, two, ada, bob, adas, bobs }
}

async fn last_seen(by: &Account, front: &str, of: &Account) -> Option<u64> {
    let (_, person) = by.get(&format!("{front}/v1/users/{}", of.user)).await;
    person["presence"]["last_seen"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_on_a_front_that_was_killed_is_gone_on_all_others_and_it_is_noted_when() {
    let Three { site, doomed, one, two, ada, bob, adas, mut bobs } = three().await;
    let projector = site.projector().await;
    site.known(&[&ada]).await;
    let before = last_seen(&bob, &one, &ada).await;
    assert_eq!(before, None, "she is there");
    let killed_at = Instant::now();
    doomed.kill().await;
    told(&mut bobs, ada.user, "offline").await;
    all_agree(&bob, &[&one, &two], &[&bob]).await;
    // Five heartbeats of 300 ms; a whole site is started meanwhile by other tests.
    assert!(killed_at.elapsed() < Duration::from_secs(20), "{:?}", killed_at.elapsed());
    drop(adas);
    let written = "SELECT FROM identity.last_seen WHERE account_id = $1";
    let client = site.admin().await.unwrap();
    eventually("the time to be noted", async || {
        client.query_opt(written, &[ada.user.as_uuid()]).await.unwrap()
    })
    .await;
    assert!(last_seen(&bob, &two, &ada).await.is_some());
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_on_a_front_that_is_stopped_comes_back_with_it() {
    let Three { site: _site, doomed, one, two, ada, bob, mut adas, mut bobs } = three().await;
    doomed.suspend().await;
    told(&mut bobs, ada.user, "offline").await;
    all_agree(&bob, &[&one, &two], &[&bob]).await;
    doomed.resume();
    told(&mut bobs, ada.user, "online").await;
    all_agree(&bob, &[&one, &two, &doomed.url()], &[&ada, &bob]).await;
    be(&mut adas, "away").await;
    told(&mut bobs, ada.user, "away").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_ends_or_starts_again_knows_and_is_known() {
    let Three { site, doomed, one, two, ada, bob, adas, mut bobs } = three().await;
    let again = doomed.restart(&site).await;
    told(&mut bobs, ada.user, "offline").await;
    drop(adas);
    all_agree(&bob, &[&one, &two, &again.url()], &[&bob]).await;
    let _adas = ada.connect(&again.url()).await;
    told(&mut bobs, ada.user, "online").await;
    all_agree(&bob, &[&one, &two, &again.url()], &[&ada, &bob]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_was_cut_off_knows_all_that_happened_meanwhile() {
    let site = Site::builder().set("CUT_OFF_TIMEOUT_MS", 86_400_000).start().await;
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let near = site.front().await.url();
    let far = site.front_with(&[("NATS_URL", &format!("nats://{}", proxy.address()))]).await.url();
    let (ada, bob) = (site.register(&near, "ada").await, site.register(&near, "bob").await);
    let carl = site.register(&near, "carl").await;
    let (adas, mut bobs) = (ada.connect(&near).await, bob.connect(&far).await);
    watch(&mut bobs, &[&ada, &carl]).await;
    told(&mut bobs, ada.user, "online").await;
    let cuts: [&dyn Fn(); 2] = [&|| proxy.cut(), &|| {
        proxy.hold(Direction::FromTarget);
        proxy.hold(Direction::ToTarget);
    }];
    let mut adas = Some(adas);
    for cut in cuts {
        cut();
        // Nobody hears of the other.
        let near_ones: Vec<_> = adas.iter().map(|_| &ada).collect();
        all_agree(&ada, &[&near], &near_ones).await;
        all_agree(&ada, &[&far], &[&bob]).await;
        let carls = carl.connect(&near).await;
        adas.take();
        proxy.heal();
        all_agree(&ada, &[&near, &far], &[&bob, &carl]).await;
        told(&mut bobs, carl.user, "online").await;
        drop(carls);
        told(&mut bobs, carl.user, "offline").await;
    }
}
