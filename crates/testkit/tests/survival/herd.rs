//! Everybody comes back at once.

use natterjack_testkit::{Account, Follower, FrontProcess, Site};
use tokio::task::JoinSet;

use crate::setting;

const PEOPLE: usize = 20;
/// Connections of each person.
const TABS: u64 = 15;
const ROOMS: usize = 3;
const MISSED: usize = 5;

/// What a front asks Postgres whether anybody is there or not: how it is, and what is to be sent now.
const BY_ITSELF: [&str; 2] = [r#"query="probe""#, r#"query="due_people""#];

/// What a front has asked Postgres for somebody.
async fn statements(site: &Site, front: &FrontProcess) -> f64 {
    let url = format!("{}/metrics", front.ops_url());
    let text = site.http.get(url).send().await.unwrap().text().await.unwrap();
    let asked = text.lines().filter(|line| line.starts_with("natterjack_readmodel_queries_total"));
    let asked = asked.filter(|line| !BY_ITSELF.iter().any(|own| line.contains(own)));
    asked.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sockets_of_a_dead_front_resume_on_another_and_ask_nothing_of_postgres() {
    let site = Site::builder().set("CONNECTIONS_PER_USER", 1_000).start().await;
    let (doomed, heir) = tokio::join!(site.front_process(), site.front_process());
    let projector = site.projector().await;
    let urls = [doomed.url(), heir.url()];
    let mut people: Vec<Account> = vec![];
    let mut rooms = vec![];
    for n in 0..PEOPLE {
        people.push(site.register(&urls[0], &format!("person-{n}")).await);
    }
    for n in 0..ROOMS {
        let room = people[0].create_room(&urls[0], &format!("Room {n}"), "public").await;
        for person in &people[1..] {
            person.join(&urls[0], room).await;
        }
        rooms.push(room);
    }
    let mut settling = JoinSet::new();
    for person in &people {
        for _ in 0..setting("TABS", TABS) {
            let mut tab = Follower::new(person.clone(), &urls, &rooms);
            settling.spawn(async move {
                let joined = |f: &Follower| f.rooms.values().all(|room| room.events.len() >= PEOPLE);
                tab.run_until("everybody's joining", joined).await;
                tab
            });
        }
    }
    let tabs = settling.join_all().await;
    site.projected().await;
    doomed.kill().await;
    let mut speaker = people[0].connect(&urls[1]).await;
    for n in 0..MISSED {
        for room in &rooms {
            assert_eq!(speaker.post(*room, &format!("missed {n}")).await["t"], "ok");
        }
    }
    let before = statements(&site, &heir).await;
    let mut returning = JoinSet::new();
    for mut tab in tabs {
        returning.spawn(async move {
            let told = |f: &Follower| f.rooms.values().all(|room| room.messages().len() == MISSED);
            tab.run_until("what was missed", told).await;
            tab
        });
    }
    let tabs = returning.join_all().await;
    assert!(statements(&site, &heir).await <= before, "Postgres was asked");
    assert!(tabs.iter().all(|tab| tab.reconnects > 1 && tab.resets == 0 && tab.seen_again == 0));
    projector.stop().await;
}
