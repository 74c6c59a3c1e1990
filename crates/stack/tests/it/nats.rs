use std::time::Duration;

use natterjack_stack::{Credentials, NatsCluster, NatsOptions, NatsServer, Port};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{connects, open_dir, port_of, tools};

/// The server's lines up to the first that begins so; `connect` is the client's greeting.
async fn talk(url: &str, connect: &str, request: &str, wanted: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port_of(url))).await.unwrap();
    let mut stream = BufReader::new(stream);
    let text = format!("CONNECT {connect}\r\n{request}PING\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return format!("closed before {wanted}");
        }
        if line.starts_with(wanted) {
            let mut body = String::new();
            if wanted == "MSG" {
                stream.read_line(&mut body).await.unwrap();
            }
            return line + &body;
        }
    }
}

async fn request(url: &str, subject: &str, body: &str) -> String {
    let size = body.len();
    let request = format!("SUB _INBOX.t 1\r\nPUB {subject} _INBOX.t {size}\r\n{body}\r\n");
    talk(url, r#"{"verbose":false}"#, &request, "MSG").await
}

async fn make_stream(url: &str, replicas: usize) -> String {
    let body = format!(r#"{{"name":"T","subjects":["t"],"storage":"file","num_replicas":{replicas}}}"#);
    request(url, "$JS.API.STREAM.CREATE.T", &body).await
}

#[tokio::test]
async fn killed_and_restarted_it_has_its_port_and_its_data() {
    let mut server = NatsServer::temporary(&tools()).await.unwrap();
    let url = server.url();
    make_stream(&url, 1).await;
    let acknowledged = request(&url, "t", "hello").await;
    assert!(acknowledged.contains("\"seq\":1"), "{acknowledged}");
    let pid = server.pid();

    server.kill_hard().await;
    assert!(!connects(port_of(&url)).await);
    server.restart().await.unwrap();

    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
    let info = request(&url, "$JS.API.STREAM.INFO.T", "").await;
    assert!(info.contains("\"messages\":1"), "{info}");
}

#[tokio::test]
async fn a_second_start_finds_data_and_port() {
    let (tools, dir) = (tools(), open_dir());
    let first = NatsServer::start(&tools, NatsOptions::new(dir.path())).await.unwrap();
    make_stream(&first.url(), 1).await;
    let url = first.url();
    first.stop().await;
    drop(first);

    let second = NatsServer::start(&tools, NatsOptions::new(dir.path())).await.unwrap();
    assert_eq!(second.url(), url);
    let info = request(&url, "$JS.API.STREAM.INFO.T", "").await;
    assert!(info.contains("\"messages\":0"), "{info}");
}

#[tokio::test]
async fn a_taken_port_is_avoided_or_reported() {
    let (tools, dir) = (tools(), open_dir());
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = |port| NatsOptions { port, ..NatsOptions::new(dir.path()) };

    let refused = NatsServer::start(&tools, options(Port::Fixed(port))).await;
    assert!(refused.unwrap_err().to_string().contains("is taken"));
    let other = NatsServer::start(&tools, options(Port::Prefer(port))).await.unwrap();
    assert_ne!(port_of(&other.url()), port);
}

#[tokio::test]
async fn it_is_configured_for_durability_and_checks_passwords() {
    let (tools, dir) = (tools(), open_dir());
    let options = NatsOptions {
        credentials: Some(Credentials { user: "app".into(), password: "1 \"odd\" \\one".into() }),
        ..NatsOptions::new(dir.path())
    };
    let server = NatsServer::start(&tools, options).await.unwrap();
    assert!(!format!("{server:?}").contains("odd"));

    let stranger = talk(&server.url(), r#"{"verbose":false}"#, "", "-ERR").await;
    assert!(stranger.contains("Authorization"), "{stranger}");
    let known = r#"{"verbose":false,"user":"app","pass":"1 \"odd\" \\one"}"#;
    assert_eq!(talk(&server.url(), known, "", "PONG").await, "PONG\r\n");
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert!(log.contains("Max Storage:     10.00 GB"), "{log}");
}

#[tokio::test]
async fn a_suspended_server_keeps_connections_and_goes_on() {
    let server = NatsServer::temporary(&tools()).await.unwrap();
    let url = server.url();
    server.suspend().await;
    let question = tokio::spawn(async move { request(&url, "$JS.API.INFO", "").await });
    let mut question = question;
    assert!(timeout(Duration::from_millis(50), &mut question).await.is_err());
    server.resume();
    assert!(question.await.unwrap().contains("api"));
}

#[tokio::test]
async fn one_directory_has_one_server() {
    let (tools, dir) = (tools(), open_dir());
    let first = NatsServer::start(&tools, NatsOptions::new(dir.path())).await.unwrap();
    // It waits for the first to go, and then runs on the same port.
    let second = tokio::spawn({
        let (tools, options) = (tools.clone(), NatsOptions::new(dir.path()));
        async move { NatsServer::start(&tools, options).await }
    });
    tokio::task::yield_now().await;
    first.kill_hard().await;
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_cluster_takes_replicated_streams_and_outlives_a_member() {
    let mut cluster = NatsCluster::temporary(&tools()).await.unwrap();
    assert_eq!(cluster.url().split(',').count(), 3);
    let made = make_stream(&cluster.members[0].url(), 3).await;
    assert!(made.contains("\"num_replicas\":3"), "{made}");

    cluster.members[2].kill_hard().await;
    let url = cluster.members[1].url();
    // Without a leader there is no answer at all.
    let ask = || async {
        let answer = timeout(Duration::from_secs(1), request(&url, "t", "x")).await;
        answer.is_ok_and(|a| a.contains("\"seq\":"))
    };
    crate::until("an acknowledgement by two of three", ask).await;
    cluster.members[2].restart().await.unwrap();
}
