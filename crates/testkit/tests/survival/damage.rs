//! Invariant 16: what the log has lost is found, read from elsewhere, or stops whoever needs it with an alarm. Nobody passes
//! over it in silence.

use natterjack_testkit::{ProjectorProcess, Proxy, Site, eventually};
use natterjack_wire::ErrorCode;
use serde_json::json;

use crate::{
    spoil::{blocks, flip_a_bit},
    world::{World, number, resume, world},
};

impl World {
    /// A bit of the message that says `text` is flipped while nats-server is down.
    async fn damage(&mut self, text: &str) {
        self.site.nats.stop().await;
        flip_a_bit(&self.site.nats, text);
        self.site.nats.restart().await.unwrap();
    }
}

async fn text(site: &Site, url: String) -> Option<String> {
    site.http.get(url).send().await.ok()?.text().await.ok()
}

/// The projector is not ready, and says why; its metrics and `natterjack doctor` do too.
async fn assert_halted(site: &Site, projector: &ProjectorProcess, reason: &str) {
    eventually("the projector to halt", async || {
        let metrics = text(site, format!("{}/metrics", projector.ops_url())).await?;
        metrics.contains("natterjack_projector_halted{stream=\"0\"} 1").then_some(())
    })
    .await;
    let answer = site.http.get(format!("{}/readyz", projector.ops_url())).send().await.unwrap();
    assert!(!answer.status().is_success());
    let words = answer.text().await.unwrap();
    assert!(words.contains(reason), "{words}");
    let (_, words) = site.natterjack(&["doctor"]).await;
    assert!(words.contains("FAILED   projector"), "{words}");
}

async fn assert_ready(site: &Site, projector: &ProjectorProcess) {
    eventually("the projector to be ready", async || {
        let answer = site.http.get(format!("{}/readyz", projector.ops_url())).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_halts_the_projector_before_it_and_nothing_is_left_out_when_it_is_put_right() {
    let mut world = world(Site::builder().start().await).await;
    let seqs = world.say(&["before", "Newts are here", "after"]).await;
    world.damage("Newts are here").await;
    let projector = world.site.projector_process_starting(&[]);
    assert_halted(&world.site, &projector, &format!("expected sequence {}", seqs[1])).await;
    // What precedes it is applied.
    let sql = "SELECT seq FROM read.checkpoints";
    let reached: i64 = world.site.admin().await.unwrap().query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(u64::try_from(reached).unwrap(), seqs[1] - 1);

    world.damage("Newts are here").await;
    assert_ready(&world.site, &projector).await;
    world.site.assert_replay_is_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_last_event_halts_the_projector_too() {
    let mut world = world(Site::builder().start().await).await;
    let seqs = world.say(&["before", "Newts are here"]).await;
    world.damage("Newts are here").await;
    let projector = world.site.projector_process_starting(&[]);
    assert_halted(&world.site, &projector, &format!("expected sequence {}", seqs[1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_deleted_by_hand_halts_the_projector_and_is_seen_by_the_doctor() {
    let world = world(Site::builder().start().await).await;
    let seqs = world.say(&["before", "gone", "after"]).await;
    let client = async_nats::connect(world.site.nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("CHAT-0").await.unwrap();
    stream.delete_message(seqs[1]).await.unwrap();
    let projector = world.site.projector_process_starting(&[]);
    assert_halted(&world.site, &projector, &format!("expected sequence {}", seqs[1])).await;
    let (_, words) = world.site.natterjack(&["doctor"]).await;
    assert!(words.contains("1 event(s) are missing"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resumes_over_a_flipped_bit_gets_the_event_from_postgres_or_is_told_that_it_is_missing() {
    let mut world = world(Site::builder().start().await).await;
    let seqs = world.say(&["before", "one", "Newts are here", "two"]).await;
    let projector = world.site.projector().await;
    world.site.projected().await;
    projector.stop().await;
    world.damage("Newts are here").await;
    // Fronts that know nothing yet read the log by subject, which passes over what cannot be read.
    let cold = world.site.front().await.url();
    let (answer, texts) = resume(&world.bob, &cold, world.room, seqs[0]).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(texts, ["one", "Newts are here", "two"]);
    world.site.postgres.stop_fast().await;
    let colder = world.site.front().await.url();
    for front in [&cold, &colder] {
        let (answer, texts) = resume(&world.ada, front, world.room, seqs[0]).await;
        let complete = answer["recovered"] == true && texts == ["one", "Newts are here", "two"];
        assert!(complete || answer["recovered"] == false, "{answer} {texts:?}");
    }
    // What follows the hole is whole.
    let (answer, texts) = resume(&world.bob, &colder, world.room, seqs[2]).await;
    assert_eq!((&answer["recovered"], texts), (&json!(true), vec!["two".to_owned()]));
}

/// A front that is cut off while an event is posted whose bytes are spoilt before it is back.
async fn cut_off_over_a_flipped_bit(spoilt: usize) {
    let site = Site::builder().start().await;
    let proxy = Proxy::to(site.nats.url().trim_start_matches("nats://")).await;
    let url = format!("nats://{}", proxy.address());
    let far = site.front_with(&[("NATS_URL", &url), ("APPEND_DEADLINE_MS", "500")]).await;
    let mut world = world(site).await;
    let projector = world.site.projector().await;
    world.say(&["before"]).await;
    let mut socket = world.bob.connect(&far.url()).await;
    let head = number(&socket.subscribe(world.room, json!({})).await["head"]);
    proxy.cut();
    let texts = ["Frogs are here", "Newts are here", "Toads are here"];
    world.say(&texts).await;
    world.site.projected().await;
    world.damage(texts[spoilt]).await;
    proxy.heal();
    // The log names what precedes an event that it gives.
    let last = world.say(&["after"]).await[0];
    let frame = socket.until(|frame| frame["t"] == "reset" || frame["seq"] == last).await;
    assert_eq!(frame["reason"], "gap_too_large", "{frame}");

    // A fresh snapshot holds everything, and following goes on from there.
    let page = format!("{}/v1/rooms/{}/messages?at_least={last}", far.url(), world.room);
    let page = eventually("the messages", async || {
        let (status, page) = world.bob.get(&page).await;
        status.is_success().then_some(page)
    })
    .await;
    let bodies: Vec<_> = page["items"].as_array().unwrap().iter().map(|m| m["body"].clone()).collect();
    for text in texts {
        assert!(bodies.contains(&json!(text)), "{bodies:?}");
    }
    let answer = eventually("the room to be followed", async || {
        let answer = socket.subscribe(world.room, json!({ "after": last })).await;
        (answer["t"] == "ok").then_some(answer)
    })
    .await;
    assert_eq!(answer["recovered"], true, "{answer}");
    let next = world.say(&["and on"]).await[0];
    let frame = socket.until(|frame| frame["t"] == "reset" || frame["seq"] == next).await;
    assert_eq!(frame["e"]["body"], "and on", "{frame}");
    // Who comes back from before the hole is given it by Postgres.
    let (answer, found) = resume(&world.ada, &far.url(), world.room, head).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(found[..3], texts);
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_with_a_flipped_bit_in_its_middle_is_a_reset() {
    cut_off_over_a_flipped_bit(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_with_a_flipped_bit_at_its_end_is_a_reset() {
    cut_off_over_a_flipped_bit(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_lost_its_end_takes_nothing_more_until_it_is_brought_back() {
    let mut world = world(Site::builder().set("PROJECTOR_RETRY_MS", 500).start().await).await;
    let projector = world.site.projector_process().await;
    world.say(&["before", "Newts are here", "after", "and after that"]).await;
    world.site.projected().await;
    let url = world.front.url();
    let mut socket = world.bob.connect(&url).await;
    socket.subscribe(world.room, json!({})).await;
    // Killed, nats-server reads its blocks when it starts, and cuts them off before what it cannot read.
    world.site.nats.kill_hard().await;
    let kept: Vec<_> =
        blocks(&world.site.nats).into_iter().map(|file| (std::fs::read(&file).unwrap(), file)).collect();
    flip_a_bit(&world.site.nats, "Newts are here");
    world.site.nats.restart().await.unwrap();

    let cold = world.site.front().await;
    for front in [&world.front, &cold] {
        eventually("the front to find out", async || {
            let log = front.readiness.report().checks.into_iter().find(|check| check.name == "log")?;
            log.reason.filter(|reason| reason.contains("its end is lost"))
        })
        .await;
        assert!(front.readiness.report().ready, "it serves those who read");
        let answer = world.ada.connect(&front.url()).await.post(world.room, "anyone?").await;
        assert_eq!(answer["code"], ErrorCode::LogRefuses.number(), "{answer}");
        let (status, _) = world.ada.get(&format!("{url}/v1/rooms/{}/messages", world.room)).await;
        assert!(status.is_success());
    }
    assert_halted(&world.site, &projector, "an older copy of the log").await;
    socket.assert_none(|frame| frame["t"] == "ev").await;

    world.site.nats.stop().await;
    for (bytes, file) in kept {
        std::fs::write(&file, bytes).unwrap();
        let _ = std::fs::remove_file(file.with_file_name("index.db"));
    }
    world.site.nats.restart().await.unwrap();
    let seq = eventually("the log to take messages again", async || {
        world.ada.connect(&url).await.post(world.room, "back").await["seq"].as_u64()
    })
    .await;
    let frame = socket.until(|frame| frame["t"] == "ev").await;
    assert_eq!(frame["seq"], seq, "nothing came in between: {frame}");
    assert_ready(&world.site, &projector).await;
    world.site.assert_replay_is_equal().await;
}
