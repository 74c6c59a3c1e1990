use natterjack_identity::{Cost, LoginError, Origin, RegisterError};

use crate::{
    postgres::Server,
    world::{PASSWORD, World, password, registration},
};

#[tokio::test]
async fn whoever_registers_is_logged_in_and_can_log_in_again() {
    let world = World::new().await;
    let login = world.identity.register(registration("Ada", Some("Ada@Example.org"))).await.unwrap();
    assert_eq!((login.username.as_str(), login.expires_in_secs), ("ada", 900));
    assert!(!format!("{login:?}").contains(&login.refresh_token));
    let claims = world.identity.access_tokens().verify(&login.access_token, world.now()).unwrap();
    assert_eq!((claims.user, claims.session, claims.username.as_str()), (login.user, login.session, "ada"));
    assert!(world.identity.session_active(login.session).await.unwrap());

    for name in ["ada", "ADA", "ada@example.org", "ADA@EXAMPLE.ORG"] {
        let again = world.identity.login(name, &password(PASSWORD), &Origin::default()).await.unwrap();
        assert_eq!((again.user, again.username.as_str()), (login.user, "ada"), "{name}");
        assert_ne!(again.session, login.session);
    }
}

#[tokio::test]
async fn every_wrong_login_gets_the_same_answer() {
    let world = World::new().await;
    world.register("ada").await;
    for (name, secret) in [
        ("ada", "wrong password"),
        ("bob", PASSWORD),
        ("bob@example.org", PASSWORD),
        ("", PASSWORD),
        ("no such name at all", PASSWORD),
        ("a\0da", PASSWORD),
        ("a'; --", PASSWORD),
    ] {
        let refused = world.identity.login(name, &password(secret), &Origin::default()).await;
        assert!(matches!(refused, Err(LoginError::Refused)), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn a_name_and_an_address_belong_to_one_person_whatever_the_case() {
    let world = World::new().await;
    world.identity.register(registration("ada", Some("ada@example.org"))).await.unwrap();
    let name = world.identity.register(registration("ADA", None)).await;
    assert!(matches!(name, Err(RegisterError::UsernameTaken)), "{name:?}");
    let address = world.identity.register(registration("eve", Some("ADA@example.ORG"))).await;
    assert!(matches!(address, Err(RegisterError::EmailTaken)), "{address:?}");
    for table in ["accounts", "sessions", "refresh_tokens", "outbox"] {
        assert_eq!(world.count(&format!("identity.{table}")).await, 1, "nothing of a refusal in {table}");
    }
    // People without an address do not collide.
    world.register("bob").await;
    world.register("eve").await;
}

#[tokio::test]
async fn one_of_many_who_race_for_a_name_gets_it() {
    let world = World::new().await;
    let attempts = (0..8).map(|number| {
        let (identity, name) = (world.identity.clone(), if number % 2 == 0 { "ada" } else { "ADA" });
        tokio::spawn(async move { identity.register(registration(name, None)).await })
    });
    let mut registered = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => registered += 1,
            Err(error) => assert!(matches!(error, RegisterError::UsernameTaken), "{error:?}"),
        }
    }
    assert_eq!((registered, world.count("identity.outbox").await), (1, 1));
}

#[tokio::test]
async fn a_disabled_account_is_told_only_to_who_knows_its_password() {
    let world = World::new().await;
    let login = world.register("ada").await;
    world.admin().await.batch_execute("UPDATE identity.accounts SET disabled_at = now()").await.unwrap();
    let right = world.identity.login("ada", &password(PASSWORD), &Origin::default()).await;
    assert!(matches!(right, Err(LoginError::Disabled)), "{right:?}");
    let wrong = world.identity.login("ada", &password("wrong password"), &Origin::default()).await;
    assert!(matches!(wrong, Err(LoginError::Refused)), "{wrong:?}");
    assert!(!world.identity.session_active(login.session).await.unwrap());
}

#[tokio::test]
async fn a_login_renews_a_hash_made_at_another_cost() {
    let world = World::new().await;
    world.register("ada").await;
    let dearer = world.with(|config| config.hashing.cost = Cost::new(16, 2, 1).unwrap());
    for _ in 0..2 {
        dearer.login("ada", &password(PASSWORD), &Origin::default()).await.unwrap();
        assert_eq!(world.count("identity.accounts WHERE password_hash LIKE '%m=16,t=2,p=1%'").await, 1);
    }
    let wrong = dearer.login("ada", &password("wrong password"), &Origin::default()).await;
    assert!(matches!(wrong, Err(LoginError::Refused)));
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_back() {
    let world = World::new().await;
    let full = world.with(|config| {
        config.hashing.concurrency = 0;
        config.hashing.max_waiting = 0;
    });
    let register = full.register(registration("ada", None)).await;
    assert!(matches!(register, Err(RegisterError::Busy { retry_after }) if !retry_after.is_zero()));
    let login = full.login("ada", &password(PASSWORD), &Origin::default()).await;
    assert!(matches!(login, Err(LoginError::Busy { retry_after }) if !retry_after.is_zero()));
}

#[tokio::test]
async fn without_postgres_everything_is_unavailable_and_tokens_stay_good() {
    let world = World::on(std::sync::Arc::new(Server::start().await)).await;
    let login = world.register("ada").await;
    world.server.stop().await;
    let identity = &world.identity;
    let register = identity.register(registration("bob", None)).await;
    assert!(matches!(register, Err(RegisterError::Unavailable(_))), "{register:?}");
    let again = identity.login("ada", &password(PASSWORD), &Origin::default()).await;
    assert!(matches!(again, Err(LoginError::Unavailable(_))), "{again:?}");
    let refresh = identity.refresh(&login.refresh_token).await;
    assert!(matches!(refresh, Err(natterjack_identity::RefreshError::Unavailable(_))), "{refresh:?}");
    let active = identity.session_active(login.session).await;
    assert!(matches!(active, Err(natterjack_identity::SessionError::Unavailable(_))), "{active:?}");
    identity.access_tokens().verify(&login.access_token, world.now()).unwrap();

    world.server.resume().await;
    identity.refresh(&login.refresh_token).await.unwrap();
}
