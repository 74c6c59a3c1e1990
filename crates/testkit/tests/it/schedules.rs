//! Messages that are sent later: once, in time, whatever dies in between.

use natterjack_domain::{
    EventId, MessageBody, RoomId, ScheduleId,
    message::{self, Posted},
    user::{
        self,
        schedule::{Event, message_id},
    },
};
use natterjack_eventlog::{NewEvent, Subject, Topic};
use natterjack_testkit::{Account, Site, Socket, eventually};
use natterjack_wire::{ErrorCode, Fact};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{in_ms, told};

async fn schedule(account: &Account, front: &str, room: RoomId, at: u64, body: &str) -> String {
    let url = format!("{front}/v1/rooms/{room}/scheduled");
    let (status, answer) = account.post(&url, json!({ "at": at, "body": body })).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn scheduled(account: &Account, front: &str) -> Vec<Value> {
    let (status, list) = account.get(&format!("{front}/v1/scheduled")).await;
    assert_eq!(status, StatusCode::OK, "{list}");
    list["items"].as_array().unwrap().clone()
}

/// What is said in the room from now on, up to `last`.
async fn heard(socket: &mut Socket, last: &str) -> Vec<String> {
    let mut bodies = vec![];
    while bodies.last().is_none_or(|body| body != last) {
        let event = socket.until(|frame| frame["t"] == "ev" && frame["e"]["type"] == "message.posted").await;
        bodies.push(event["e"]["body"].as_str().unwrap().to_owned());
    }
    bodies
}

const AGES: u64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_sent_in_time_changed_or_cancelled_before_on_whichever_front() {
    let site = Site::builder().streams(3).set("SCHEDULES_MAX", 3).start().await;
    let (one, two, projector) = (site.front().await.url(), site.front().await.url(), site.projector().await);
    let ada = site.register(&one, "ada").await;
    let room = ada.create_room(&one, "Marsh", "public").await;
    let (mut phone, mut laptop) = (ada.connect(&one).await, ada.another(&two).await.connect(&two).await);
    phone.subscribe(room, json!({})).await;
    let (kept, gone) = (
        schedule(&ada, &one, room, in_ms(AGES), "later").await,
        schedule(&ada, &two, room, in_ms(AGES), "never").await,
    );
    assert_eq!(told(&mut laptop, "user.scheduled").await["sid"], json!(kept));
    let url = |sid: &str| format!("{two}/v1/scheduled/{sid}");
    assert_eq!(ada.ask(Method::DELETE, &url(&gone), None).await.0, StatusCode::OK);
    assert_eq!(ada.ask(Method::DELETE, &url(&gone), None).await.0, StatusCode::OK, "twice is no error");
    let change = json!({ "at": in_ms(1_000), "body": "now" });
    let (status, answer) = ada.ask(Method::PUT, &url(&kept), Some(change.clone())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, error) = ada.ask(Method::PUT, &url(&gone), Some(change.clone())).await;
    assert_eq!(error["code"], ErrorCode::ScheduleNotFound.number());

    assert_eq!(heard(&mut phone, "now").await, ["now"]);
    let sent = told(&mut laptop, "user.schedule_sent").await;
    assert_eq!(sent["sid"], json!(kept));
    let late = in_ms(0).saturating_sub(change["at"].as_u64().unwrap());
    println!("sent {late} ms after its time");
    let (_, error) = ada.ask(Method::DELETE, &url(&kept), None).await;
    assert_eq!(error["code"], ErrorCode::ScheduleBegun.number());
    site.projected().await;
    assert_eq!(scheduled(&ada, &one).await, Vec::<Value>::new());
    let (_, history) = ada.get(&format!("{two}/v1/rooms/{room}/messages")).await;
    assert_eq!((&history["items"][0]["body"], &history["items"][0]["seq"]), (&json!("now"), &sent["seq"]));

    for (at, code) in
        [(1, ErrorCode::ScheduleTimeInvalid), (in_ms(400 * AGES), ErrorCode::ScheduleTimeInvalid)]
    {
        let body = json!({ "at": at, "body": "x" });
        let (_, error) = ada.post(&format!("{one}/v1/rooms/{room}/scheduled"), body).await;
        assert_eq!(error["code"], code.number(), "{error}");
    }
    for n in 0..3 {
        schedule(&ada, &one, room, in_ms(AGES + n), "x").await;
    }
    let body = json!({ "at": in_ms(AGES), "body": "one too many" });
    let (_, error) = ada.post(&format!("{one}/v1/rooms/{room}/scheduled"), body).await;
    assert_eq!(error["code"], ErrorCode::TooManySchedules.number(), "{error}");
    let (_, page) = ada.get(&format!("{one}/v1/scheduled?limit=2")).await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = ada.get(&format!("{one}/v1/scheduled?cursor={next}")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_names_the_same_message() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let url = format!("{front}/v1/rooms/{room}/scheduled");
    let mut ids = vec![];
    for _ in 0..2 {
        let request = ada.request(Method::POST, &url).header("Idempotency-Key", "k");
        let request = request.json(&json!({ "at": in_ms(AGES), "body": "once" }));
        let (status, body) = natterjack_testkit::answer(request).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{body}");
        ids.push(body["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    site.projected().await;
    assert_eq!(scheduled(&ada, &front).await.len(), 1);
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_person_may_not_say_when_the_time_has_come_is_not_said() {
    let site = Site::builder().start().await;
    let (front, projector) = (site.front().await.url(), site.projector().await);
    let (ada, bob) = (site.register(&front, "ada").await, site.register(&front, "bob").await);
    let room = ada.create_room(&front, "Marsh", "public").await;
    bob.join(&front, room).await;
    let mut phone = bob.connect(&front).await;
    let sid = schedule(&bob, &front, room, in_ms(1_500), "too late").await;
    bob.post(&format!("{front}/v1/rooms/{room}/leave"), Value::Null).await;
    let failed = told(&mut phone, "user.schedule_failed").await;
    assert_eq!((&failed["sid"], &failed["code"]), (&json!(sid), &json!(ErrorCode::NotMember.number())));
    site.projected().await;
    let items = scheduled(&bob, &front).await;
    assert_eq!((&items[0]["stage"], &items[0]["code"]), (&json!("failed"), &failed["code"]));
    let (status, _) = bob.ask(Method::DELETE, &format!("{front}/v1/scheduled/{sid}"), None).await;
    assert_eq!(status, StatusCode::OK);
    site.projected().await;
    assert_eq!(scheduled(&bob, &front).await, Vec::<Value>::new());
    assert_eq!(ada.get(&format!("{front}/v1/rooms/{room}/messages")).await.1["items"], json!([]));
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

/// What stands in the room, by the read models: there need not be a front to ask.
async fn posted(site: &Site) -> Vec<String> {
    let client = site.admin().await.unwrap();
    let rows = client.query("SELECT body FROM read.messages ORDER BY seq", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fronts_that_are_killed_while_they_send_lose_nothing_and_say_nothing_twice() {
    const COUNT: usize = 80;
    let site = Site::builder().start().await;
    let (first, projector) = (site.front_process().await, site.projector().await);
    let front = first.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let mut people = vec![ada];
    for n in 0..3 {
        let person = site.register(&front, &format!("bob{n}")).await;
        person.join(&front, room).await;
        people.push(person);
    }
    // All at one time, while the fronts are about to die.
    let at = in_ms(10_000);
    for n in 0..COUNT {
        schedule(&people[n % people.len()], &front, room, at, &format!("{n}")).await;
    }
    assert!(in_ms(0) < at, "the machine is too slow for this test");
    let second = site.front_process().await;
    eventually("some to be sent", async || (!posted(&site).await.is_empty()).then_some(())).await;
    first.kill().await;
    let before = posted(&site).await.len();
    eventually("another front to go on", async || (posted(&site).await.len() > before).then_some(())).await;
    second.kill().await;
    let third = site.front_process().await;
    eventually("all to be sent", async || (posted(&site).await.len() >= COUNT).then_some(())).await;
    for person in &people {
        eventually("nothing to be left", async || {
            scheduled(person, &third.url()).await.is_empty().then_some(())
        })
        .await;
    }
    let mut all = posted(&site).await;
    all.sort_by_key(|body| body.parse::<usize>().unwrap());
    assert_eq!(all, (0..COUNT).map(|n| n.to_string()).collect::<Vec<_>>());
    site.assert_replay_is_equal().await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_due_while_nobody_was_there_is_sent_and_what_was_sent_is_found() {
    let site = Site::builder().start().await;
    let (first, projector) = (site.front_process().await, site.projector().await);
    let front = first.url();
    let ada = site.register(&front, "ada").await;
    let room = ada.create_room(&front, "Marsh", "public").await;
    let sid = schedule(&ada, &front, room, in_ms(1_500), "meanwhile").await;
    first.kill().await;
    // A front that died after the message, before it could say so.
    let sid: ScheduleId = sid.parse().unwrap();
    let log = site.log().await;
    let schedule = |event| Fact::User(user::Event::Schedule { id: ada.user, sid, event });
    let begun = NewEvent::new(Subject::feed(ada.user), EventId::random(), &schedule(Event::Begun));
    log.append(begun).await.unwrap();
    let id = message_id(room, ada.user, sid);
    let body = MessageBody::parse("meanwhile", 100).unwrap();
    let said = Posted::plain(id, ada.user, sid.cid(), body);
    let said =
        NewEvent::new(Subject::timeline(room), id.into(), &Fact::Message(message::Event::Posted(said)));
    let seq = log.append(said).await.unwrap().seq;
    let second = site.front_process().await;
    eventually("it to be settled", async || {
        let client = site.admin().await.unwrap();
        let sql = "SELECT seq FROM read.schedules WHERE stage = 'sent'";
        let row = client.query_opt(sql, &[]).await.unwrap()?;
        assert_eq!(row.get::<_, Option<i64>>(0), i64::try_from(seq).ok());
        Some(())
    })
    .await;
    let timeline = log.heads(Topic::Room(room)).await.unwrap().timeline;
    assert_eq!(timeline, seq, "it was not said again");
    assert_eq!(posted(&site).await, ["meanwhile"]);
    drop(second);
    projector.stop().await;
}
