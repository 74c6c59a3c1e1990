//! All fronts are restarted, one after the other, while people talk.

use natterjack_testkit::{Follower, FrontProcess, Site, assert_same_order};
use tokio::{sync::watch, task::JoinSet};

const PEOPLE: usize = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_fronts_are_restarted_no_send_fails_and_everything_comes_once_in_order() {
    let site = Site::builder().start().await;
    let (a, b, c) = tokio::join!(site.front_process(), site.front_process(), site.front_process());
    let fronts = [a, b, c];
    let projector = site.projector().await;
    let urls: Vec<String> = fronts.iter().map(FrontProcess::url).collect();
    let ada = site.register(&urls[0], "ada").await;
    let room = ada.create_room(&urls[0], "Marsh", "public").await;
    let (stop, stopped) = watch::channel(false);
    let mut talking = JoinSet::new();
    for n in 0..PEOPLE {
        let account = site.register(&urls[0], &format!("talker-{n}")).await;
        account.join(&urls[0], room).await;
        let mut follower = Follower::new(account, &urls, &[room]).beginning_at(n);
        let stopped = stopped.clone();
        talking.spawn(async move {
            let mut said = 0;
            // A send that failed for good, or an error that is not to be tried again, fails the follower.
            while !*stopped.borrow() {
                follower.post(room, &format!("{said} of {n}")).await;
                said += 1;
                follower.run_until("the send to be taken", Follower::is_settled).await;
            }
            (follower, said)
        });
    }
    let mut restarted = vec![];
    for front in fronts {
        // It is there again before the next one goes.
        restarted.push(front.restart(&site).await);
    }
    stop.send_replace(true);
    let (mut followers, mut said) = (vec![], 0);
    for (follower, count) in talking.join_all().await {
        followers.push(follower);
        said += count;
    }
    for follower in &mut followers {
        follower.run_until("everything", |f| f.rooms[&room].messages().len() == said).await;
        assert!(follower.reconnects > 1, "nobody drained it");
        assert_eq!((follower.resets, follower.seen_again), (0, 0));
    }
    assert_eq!(assert_same_order(&followers)[&room].len(), said);
    site.assert_replay_is_equal().await;
    projector.stop().await;
}
