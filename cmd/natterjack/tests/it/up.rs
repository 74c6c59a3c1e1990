use crate::installation::{Up, directory, kill_server, make_room, public_rooms, register, run, until};

#[tokio::test]
async fn a_second_start_finds_the_data_and_a_second_program_is_refused() {
    let dir = directory();
    let first = Up::start(dir.path(), &["--fronts", "2", "--streams", "3"]).await;
    assert_eq!(first.urls.len(), 2);
    let token = register(&first.urls[0], "ada").await.unwrap();
    // The other front knows her at once.
    make_room(&first.urls[1], &token, "Kitchen").await.unwrap();

    let refused = run(dir.path(), &["up"], &[]).await;
    assert!(!refused.status.success());
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("another `natterjack up` is running"), "{words}");

    let said = first.interrupt().await;
    assert!(said.contains("The data is in"), "{said}");
    let second = Up::start(dir.path(), &[]).await;
    until("both rooms are there, each once", || async {
        let mut rooms = public_rooms(&second.urls[0], &token).await?;
        rooms.sort();
        (rooms == ["Kitchen", "Lobby"]).then_some(())
    })
    .await;
    second.interrupt().await;

    let refused = run(dir.path(), &["up", "--streams", "1"], &[]).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("has 3 stream(s)"), "{words}");
}

#[tokio::test]
async fn it_recovers_from_the_death_of_each_server_and_of_itself() {
    let dir = directory();
    let up = Up::start(dir.path(), &["--no-demo"]).await;
    let url = up.urls[0].clone();
    let token = register(&url, "ada").await.unwrap();

    kill_server(dir.path(), "nats/nats-server.pid");
    until("rooms can be made again", || make_room(&url, &token, "After NATS")).await;
    kill_server(dir.path(), "postgres/postgres.pid");
    until("people can register again", || register(&url, "bob")).await;
    let found = |rooms: Vec<String>| rooms.contains(&"After NATS".to_owned()).then_some(());
    until("the room is seen", || async { public_rooms(&url, &token).await.and_then(found) }).await;

    up.kill().await;
    let again = Up::start(dir.path(), &["--no-demo"]).await;
    until("the room is there", || async { public_rooms(&again.urls[0], &token).await.and_then(found) }).await;
    again.interrupt().await;
}

#[tokio::test]
async fn settings_that_it_makes_itself_are_refused_and_wrong_ones_reported_together() {
    let dir = directory();
    let refused = run(dir.path(), &["up"], &[("NATTERJACK_NATS_URL", "nats://elsewhere")]).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("NATTERJACK_NATS_URL") && words.contains("unset"), "{words}");

    let wrong = [("NATTERJACK_HEARTBEAT_MS", "soon"), ("NATTERJACK_HEARTBEET_MS", "1")];
    let refused = run(dir.path(), &["up"], &wrong).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("\"soon\"") && words.contains("did you mean NATTERJACK_HEARTBEAT_MS"), "{words}");
}
