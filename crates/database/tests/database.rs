//! Roles, migrations and the pool on a real Postgres.

#![allow(clippy::unwrap_used)]

mod postgres;

use std::time::Duration;

use natterjack_database::{
    Error, MigrateError, Outage, Passwords, Role, Schema, connect, ensure_roles, migrate, migrate_schema,
    pending, pending_in, pool,
};
use natterjack_runtime::config::Secret;
use postgres::{Server, passwords};

#[tokio::test]
async fn migrations_apply_once_and_are_known() {
    let server = Server::shared().await;
    let name = server.empty_database().await;
    let mut admin = server.admin(&name).await;
    ensure_roles(&mut admin, &passwords()).await.unwrap();
    let expected = pending(&admin).await.unwrap();

    let mut migrator = connect(&server.role(Role::Migrator, &name)).await.unwrap();
    assert_eq!(migrate(&mut migrator).await.unwrap(), expected);
    assert_eq!(migrate(&mut migrator).await.unwrap(), [""; 0]);
    assert_eq!(pending(&admin).await.unwrap(), [""; 0]);
    let projector = connect(&server.role(Role::Projector, &name)).await.unwrap();
    assert_eq!(pending_in(&projector, Schema::Read, "read").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn two_migrators_do_not_collide() {
    let server = Server::shared().await;
    let name = server.empty_database().await;
    let mut first = server.admin(&name).await;
    let mut second = server.admin(&name).await;
    let (a, b) = (passwords(), passwords());
    let (a, b) = tokio::join!(ensure_roles(&mut first, &a), ensure_roles(&mut second, &b));
    a.unwrap();
    b.unwrap();
    let expected = pending(&first).await.unwrap().len();
    let (a, b) = tokio::join!(migrate(&mut first), migrate(&mut second));
    assert_eq!(a.unwrap().len() + b.unwrap().len(), expected);
}

#[tokio::test]
async fn roles_get_the_passwords_given_last() {
    let server = Server::start().await;
    let name = server.empty_database().await;
    let mut admin = server.admin(&name).await;
    ensure_roles(&mut admin, &passwords()).await.unwrap();
    let front = Secret::new("quo'te\\d");
    ensure_roles(&mut admin, &Passwords { front, ..passwords() }).await.unwrap();
    let mut config = server.role(Role::Front, &name);
    config.server.password("quo'te\\d");
    connect(&config).await.unwrap();
    let refused = connect(&server.role(Role::Front, &name)).await;
    assert!(matches!(refused, Err(Error::Unavailable(Outage::Postgres(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_migration_without_roles_says_so() {
    let server = Server::start().await;
    let name = server.empty_database().await;
    let refused = migrate(&mut server.admin(&name).await).await;
    assert!(matches!(refused, Err(MigrateError::Roles(_))), "{refused:?}");
}

#[tokio::test]
async fn rights_follow_the_schema_under_any_name_and_for_later_tables() {
    let server = Server::shared().await;
    let name = server.migrated_database().await;
    let mut migrator = connect(&server.role(Role::Migrator, &name)).await.unwrap();
    migrate_schema(&mut migrator, Schema::Read, "read_next").await.unwrap();
    assert_eq!(pending_in(&migrator, Schema::Read, "read_next").await.unwrap(), [""; 0]);
    for schema in ["identity", "log", "read", "read_next"] {
        let later = format!("CREATE TABLE {schema}.later (id bigserial PRIMARY KEY, word text)");
        migrator.batch_execute(&later).await.unwrap();
    }
    let front = connect(&server.role(Role::Front, &name)).await.unwrap();
    let projector = connect(&server.role(Role::Projector, &name)).await.unwrap();
    for (client, schema, writes, reads) in [
        (&front, "identity", true, true),
        (&front, "log", false, true),
        (&front, "read", false, true),
        (&front, "read_next", false, true),
        (&projector, "identity", false, false),
        (&projector, "log", true, true),
        (&projector, "read", true, true),
        (&projector, "read_next", true, true),
    ] {
        let write = format!("INSERT INTO {schema}.later (word) VALUES ('x'); DELETE FROM {schema}.later");
        assert_eq!(client.batch_execute(&write).await.is_ok(), writes, "write {schema}");
        let read = format!("SELECT FROM {schema}.later");
        assert_eq!(client.batch_execute(&read).await.is_ok(), reads, "read {schema}");
        let history = format!("DELETE FROM {schema}.refinery_schema_history");
        assert!(client.batch_execute(&history).await.is_err(), "history of {schema}");
        let form = format!("ALTER TABLE {schema}.later ADD COLUMN more text");
        assert!(client.batch_execute(&form).await.is_err(), "form of {schema}");
    }
    let bad = migrate_schema(&mut migrator, Schema::Read, "read; drop").await;
    assert!(matches!(bad, Err(MigrateError::Name(_))));
}

#[tokio::test]
async fn a_full_pool_refuses_in_bounded_time() {
    let server = Server::shared().await;
    let mut config = server.config("postgres");
    (config.pool_size, config.acquire_timeout) = (1, Duration::from_millis(20));
    let pool = pool(&config);
    let held = pool.get().await.unwrap();
    assert!(matches!(pool.get().await, Err(Error::Unavailable(Outage::Busy))));
    drop(held);
    drop(pool.get().await.unwrap());
}

#[tokio::test]
async fn a_long_statement_is_cut_off_and_a_duplicate_named() {
    let server = Server::shared().await;
    let mut config = server.config("postgres");
    config.statement_timeout = Duration::from_millis(50);
    let client = pool(&config).get().await.unwrap();
    let error = Error::from(client.batch_execute("SELECT pg_sleep(60)").await.unwrap_err());
    assert!(error.is_unavailable(), "{error:?}");
    let twice = "CREATE TEMPORARY TABLE t (id int CONSTRAINT only_one UNIQUE); INSERT INTO t VALUES (1), (1)";
    let error = Error::from(client.batch_execute(twice).await.unwrap_err());
    assert_eq!(error.duplicate(), Some("only_one"), "{error:?}");
    assert!(!error.is_unavailable());
}

#[tokio::test]
async fn the_pool_outlives_a_restart_of_postgres() {
    let server = Server::start().await;
    let pool = pool(&server.config("postgres"));
    let client = pool.get().await.unwrap();
    server.stop().await;
    let error = Error::from(client.batch_execute("SELECT 1").await.unwrap_err());
    assert!(error.is_unavailable(), "{error:?}");
    drop(client);
    assert!(pool.get().await.unwrap_err().is_unavailable());
    server.resume().await;
    pool.get().await.unwrap().batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_silent_postgres_is_unavailable_in_bounded_time() {
    let server = Server::start().await;
    let mut config = server.config("postgres");
    config.statement_timeout = Duration::from_millis(1);
    let pool = pool(&config);
    let client = pool.get().await.unwrap();
    server.signal("STOP").await;
    let answer =
        pool.bounded(async { Ok::<_, Error>(client.batch_execute("SELECT 1").await?) }).await.unwrap_err();
    assert!(matches!(answer, Error::Unavailable(Outage::Silent)), "{answer:?}");
    server.signal("CONT").await;
}
