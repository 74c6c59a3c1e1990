use natterjack_stack::{NatsServer, Postgres, Status, Supervised};
use rustix::process::{Pid, Signal, kill_process};

use crate::{connects, port_of, tools};

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

async fn killed_comes_back(supervised: Supervised, first: u32, port: u16) {
    let mut status = supervised.status();
    kill(first);
    let back = status.wait_for(|s| matches!(s, Status::Up { restarts: 1, .. }));
    let Status::Up { pid, .. } = *back.await.unwrap() else {
        unreachable!("waited for it");
    };
    assert_ne!(pid, first);
    assert!(connects(port).await);

    supervised.stop().await;
    assert_eq!(*status.borrow(), Status::Stopped);
    assert!(!connects(port).await);
}

#[tokio::test]
async fn nats_that_dies_is_started_again_and_stopped_when_told() {
    let server = NatsServer::temporary(&tools()).await.unwrap();
    let (pid, port) = (server.pid(), port_of(&server.url()));
    killed_comes_back(Supervised::new(server), pid, port).await;
}

#[tokio::test]
async fn postgres_that_dies_is_started_again_and_stopped_when_told() {
    let server = Postgres::temporary(&tools()).await.unwrap();
    let (pid, port) = (server.pid(), server.port());
    killed_comes_back(Supervised::new(server), pid, port).await;
}
