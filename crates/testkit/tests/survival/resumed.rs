//! Coming back on another front after a cut at any byte.

use natterjack_domain::RoomId;
use natterjack_testkit::{Account, Direction, Follower, Proxy, Site};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::setting;

/// Of everything that passes in one direction while one comes back, is told what was missed, listens and speaks.
const TOLD_BYTES: u64 = 4_500;
const SAID_BYTES: u64 = 1_200;
/// Bytes from one cut to the next, on average; 1 cuts at every byte.
const STEP: u64 = 60;

/// Cuts Bob's connection after so many more bytes in a direction, while Ada talks and he does; he comes back over the
/// other front.
struct Sweep {
    proxies: [Proxy; 2],
    bob: Follower,
    ada: Follower,
    room: RoomId,
    said: usize,
    cuts: usize,
}

impl Sweep {
    async fn cut_after(&mut self, round: usize, direction: Direction, bytes: u64) {
        let Self { proxies, bob, ada, room, .. } = self;
        let proxy = &proxies[round % 2];
        bob.disconnect();
        bob.begin_at(round);
        for n in 0..2 {
            ada.post(*room, &format!("missed {n} in round {round}")).await;
        }
        ada.run_until("its word to be taken", Follower::is_settled).await;
        proxy.hold_after(direction, bytes);
        bob.post(*room, &format!("of Bob in round {round}")).await;
        self.said += 5;
        let all = self.said;
        let talking = async {
            for n in 0..2 {
                ada.post(*room, &format!("live {n} in round {round}")).await;
            }
            ada.run_until("everything", |f| f.is_settled() && f.rooms[room].messages().len() == all).await;
        };
        let cutting = async {
            proxy.held(direction).await;
            proxy.cut();
            std::future::pending::<()>().await;
        };
        let hearing =
            bob.run_until("everything", |f| f.is_settled() && f.rooms[room].messages().len() == all);
        tokio::select! {
            _ = async { tokio::join!(talking, hearing) } => {}
            () = cutting => {}
        }
        self.cuts += usize::from(proxy.is_held(direction));
        proxy.heal();
    }
}

async fn cut_at_any_byte(direction: Direction, bytes: u64) {
    let site = Site::builder().start().await;
    let fronts = [site.front().await, site.front().await];
    let proxies =
        [Proxy::to(&fronts[0].address.to_string()).await, Proxy::to(&fronts[1].address.to_string()).await];
    let urls: Vec<String> = proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect();
    let (ada, bob): (Account, Account) =
        (site.register(&fronts[0].url(), "ada").await, site.register(&fronts[0].url(), "bob").await);
    let room = ada.create_room(&fronts[0].url(), "Marsh", "public").await;
    bob.join(&fronts[1].url(), room).await;
    let ada = Follower::new(ada, &[fronts[0].url()], &[room]);
    let mut sweep = Sweep { proxies, ada, bob: Follower::new(bob, &urls, &[room]), room, said: 0, cuts: 0 };
    sweep.ada.step().await;

    let mut rng = StdRng::seed_from_u64(3);
    let (mut at, mut round) = (0, 0);
    let step = setting("STEP", STEP);
    while at < bytes {
        sweep.cut_after(round, direction, at).await;
        at += rng.random_range(1..=2 * step - 1);
        round += 1;
    }
    assert!(sweep.cuts * 2 > round, "only {} of {round} were cut", sweep.cuts);
    assert_eq!((sweep.bob.resets, sweep.bob.seen_again), (0, 0));
    natterjack_testkit::assert_same_order(&[sweep.bob, sweep.ada]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_byte_from_the_front_is_the_last_one_resumes_on_the_other_without_gap_or_repeat() {
    cut_at_any_byte(Direction::FromTarget, TOLD_BYTES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_byte_to_the_front_is_the_last_one_resumes_on_the_other_without_gap_or_repeat() {
    cut_at_any_byte(Direction::ToTarget, SAID_BYTES).await;
}
