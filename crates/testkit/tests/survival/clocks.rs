//! Fronts whose computers' clocks are an hour off.

use std::time::{Duration, Instant};

use natterjack_testkit::{Closed, Follower, FrontProcess, Site, assert_same_order, eventually};
use reqwest::StatusCode;
use serde_json::Value;

const MESSAGES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fronts_whose_clocks_are_an_hour_off_keep_the_order_and_throw_nobody_out() {
    let site = Site::builder().set("REFRESH_GRACE_MS", 5_000).start().await;
    let skewed = tokio::join!(site.front_process_skewed("+1h"), site.front_process_skewed("-1h"));
    let (Some(early), Some(late)) = skewed else {
        let may_be_missing = cfg!(not(target_os = "linux")) || std::env::var_os("CI").is_none();
        assert!(may_be_missing, "faketime is missing: run scripts/tools.sh --tests");
        eprintln!("skipped: faketime is missing");
        return;
    };
    let (right, projector) = (site.front_process().await, site.projector().await);
    let fronts: Vec<String> = [&right, &early, &late].map(FrontProcess::url).into();
    let ada = site.register(&fronts[0], "ada").await;
    let room = ada.create_room(&fronts[0], "Marsh", "public").await;

    let mut followers = vec![];
    for (n, front) in fronts.iter().enumerate() {
        let person = site.register(front, &format!("person-{n}")).await;
        for front in &fronts {
            assert_eq!(person.get(&format!("{front}/v1/me")).await.0, StatusCode::OK, "{n} on {front}");
            let fresh = person.another(front).await;
            // The answer to the first was lost.
            fresh.refreshed(&fronts[(n + 1) % 3]).await;
            let fresh = fresh.refreshed(&fronts[(n + 2) % 3]).await;
            for front in &fronts {
                assert_eq!(fresh.get(&format!("{front}/v1/me")).await.0, StatusCode::OK, "{n} on {front}");
            }
        }
        person.join(front, room).await;
        followers.push(Follower::new(person, &fronts, &[room]).beginning_at(n));
    }
    for round in 0..MESSAGES {
        for follower in &mut followers {
            follower.post(room, &format!("in round {round}")).await;
            follower.run_until("the send to be taken", Follower::is_settled).await;
            follower.disconnect();
        }
    }
    let all = MESSAGES * followers.len();
    for follower in &mut followers {
        follower.run_until("everything", |f| f.rooms[&room].messages().len() == all).await;
    }
    assert_same_order(&followers);

    // Who logs out over one of them is out on all, whoever hears of it and however.
    for (n, front) in fronts.iter().enumerate() {
        let person = ada.another(front).await;
        let mut sockets = vec![];
        for front in &fronts {
            sockets.push(person.connect(front).await);
        }
        let url = format!("{front}/v1/auth/logout");
        assert!(person.post(&url, Value::Null).await.0.is_success());
        let ended_at = Instant::now();
        for (socket, front) in sockets.iter_mut().zip(&fronts) {
            assert_eq!(socket.closed().await, Closed(Some(4501)));
            eventually("the session to end", async || {
                let (status, _) = person.get(&format!("{front}/v1/me")).await;
                (status == StatusCode::UNAUTHORIZED).then_some(())
            })
            .await;
        }
        assert!(ended_at.elapsed() < Duration::from_secs(2), "{n}: {:?}", ended_at.elapsed());
    }
    site.assert_replay_is_equal().await;
    projector.stop().await;
}
