use std::os::unix::fs::PermissionsExt as _;

use natterjack_stack::{Durability, Port, Postgres, PostgresOptions, StartError, os_user::OsUser};
use tokio_postgres::{Client, NoTls};

use crate::{connects, needs_another_user, open_dir, port_of, tools};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn quick(dir: &std::path::Path, port: Port) -> PostgresOptions {
    PostgresOptions {
        port,
        durability: Durability::None,
        ..PostgresOptions::new(dir.join("pg"), "natterjack")
    }
}

#[tokio::test]
async fn killed_and_restarted_it_has_its_port_and_its_data() {
    let mut postgres = Postgres::temporary(&tools()).await.unwrap();
    postgres.create_database("odd \"name\"").await.unwrap();
    let url = postgres.admin_url("odd \"name\"");
    let client = connect(&url).await;
    client.batch_execute("CREATE TABLE t AS SELECT 42 AS n").await.unwrap();

    postgres.kill_hard().await;
    assert!(!connects(postgres.port()).await);
    postgres.restart().await.unwrap();

    let row = connect(&url).await.query_one("SELECT n FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_second_start_finds_data_and_port() {
    let (tools, dir) = (tools(), open_dir());
    let first = Postgres::start(&tools, quick(dir.path(), Port::Any)).await.unwrap();
    first.create_database("kept").await.unwrap();
    let url = first.admin_url("kept");
    first.stop_fast().await;
    drop(first);

    let second = Postgres::start(&tools, quick(dir.path(), Port::Any)).await.unwrap();
    assert_eq!(second.admin_url("kept"), url);
    connect(&url).await;
}

#[tokio::test]
async fn a_new_directory_gets_its_own_password_and_checksums() {
    let (tools, dir) = (tools(), open_dir());
    let options = PostgresOptions::new(dir.path().join("pg"), "p@ss/w:rd %41");
    assert!(!format!("{options:?}").contains("p@ss"));
    let postgres = Postgres::start(&tools, options).await.unwrap();
    let client = connect(&postgres.admin_url("postgres")).await;
    let row = client
        .query_one("SELECT current_setting('data_checksums'), current_setting('fsync')", &[])
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("on", "on"));
    let wrong = postgres.url("postgres", "natterjack", "postgres");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());
    assert!(!dir.path().join("pg/initdb.password").exists());
}

#[tokio::test]
async fn a_taken_port_is_avoided_or_reported() {
    let (tools, dir) = (tools(), open_dir());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();

    let refused = Postgres::start(&tools, quick(dir.path(), Port::Fixed(port))).await;
    assert!(matches!(refused, Err(StartError::PortTaken { .. })));
    let other = Postgres::start(&tools, quick(dir.path(), Port::Prefer(port))).await.unwrap();
    assert_ne!(port_of(&other.admin_url("postgres")), port);
}

#[tokio::test]
async fn it_does_not_run_as_root_and_says_when_a_directory_is_out_of_reach() {
    let postgres = Postgres::temporary(&tools()).await.unwrap();
    let Some(user) = OsUser::for_postgres().unwrap() else {
        return;
    };
    assert!(needs_another_user());
    let status = std::fs::read_to_string(format!("/proc/{}/status", postgres.pid())).unwrap();
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")).unwrap();
    assert_eq!(uid.split_whitespace().next(), Some(user.uid.to_string().as_str()));

    let private = open_dir();
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let refused = Postgres::start(&tools(), quick(private.path(), Port::Any)).await;
    assert!(matches!(refused, Err(StartError::Unreachable { .. })));
}
