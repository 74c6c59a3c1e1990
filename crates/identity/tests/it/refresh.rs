use std::time::Duration;

use natterjack_identity::RefreshError;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn tokens_rotate_within_one_session() {
    let world = World::new().await;
    let first = world.register("ada").await;
    let mut token = first.refresh_token.clone();
    for _ in 0..3 {
        world.pass(60 * SECOND);
        let next = world.identity.refresh(&token).await.unwrap();
        assert_eq!((next.user, next.session), (first.user, first.session));
        assert_ne!(next.refresh_token, token);
        let claims = world.identity.access_tokens().verify(&next.access_token, world.now()).unwrap();
        assert_eq!(claims.issued_at, world.now());
        token = next.refresh_token;
    }
}

#[tokio::test]
async fn a_replay_ends_the_session_for_both_holders() {
    let world = World::new().await;
    let first = world.register("ada").await;
    let second = world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(10 * SECOND);
    match world.identity.refresh(&first.refresh_token).await {
        Err(RefreshError::Reused { user, session }) => {
            assert_eq!((user, session), (first.user, first.session));
        }
        other => panic!("{other:?}"),
    }
    let ended = world.identity.refresh(&second.refresh_token).await;
    assert!(matches!(ended, Err(RefreshError::Ended)), "{ended:?}");
    assert!(!world.identity.session_active(first.session).await.unwrap());
    let revoked = world.identity.revoked_since(world.now()).await.unwrap();
    assert_eq!(revoked, [(first.session, world.now())]);
}

#[tokio::test]
async fn a_lost_answer_logs_nobody_out() {
    let world = World::new().await;
    let first = world.register("ada").await;
    let lost = world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(5 * SECOND);
    let lost_too = world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(4 * SECOND);
    let arrived = world.identity.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(arrived.session, first.session);
    let next = world.identity.refresh(&arrived.refresh_token).await.unwrap();
    assert_eq!(next.session, first.session);
    // Whoever still comes with an answer that was given up is one holder too many.
    for stale in [&lost, &lost_too] {
        let refused = world.identity.refresh(&stale.refresh_token).await;
        assert!(matches!(refused, Err(RefreshError::Reused { .. } | RefreshError::Ended)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_retry_does_not_prolong_the_grace() {
    let world = World::new().await;
    let first = world.register("ada").await;
    world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(9 * SECOND);
    world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(SECOND);
    let late = world.identity.refresh(&first.refresh_token).await;
    assert!(matches!(late, Err(RefreshError::Reused { .. })), "{late:?}");
}

#[tokio::test]
async fn a_used_successor_voids_the_grace() {
    let world = World::new().await;
    let first = world.register("ada").await;
    let second = world.identity.refresh(&first.refresh_token).await.unwrap();
    world.identity.refresh(&second.refresh_token).await.unwrap();
    let replay = world.identity.refresh(&first.refresh_token).await;
    assert!(matches!(replay, Err(RefreshError::Reused { .. })), "{replay:?}");
}

#[tokio::test]
async fn without_grace_concurrent_refreshes_have_one_winner() {
    let world = World::new().await;
    let strict = world.with(|config| config.reuse_grace = Duration::ZERO);
    let first = world.register("ada").await;
    let attempts = (0..6).map(|_| {
        let (identity, token) = (strict.clone(), first.refresh_token.clone());
        tokio::spawn(async move { identity.refresh(&token).await })
    });
    let (mut won, mut reused) = (0, 0);
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => won += 1,
            Err(RefreshError::Reused { .. }) => reused += 1,
            Err(error) => assert!(matches!(error, RefreshError::Ended), "{error:?}"),
        }
    }
    assert_eq!((won, reused), (1, 1));
    assert!(!world.identity.session_active(first.session).await.unwrap());
}

#[tokio::test]
async fn with_grace_concurrent_refreshes_leave_one_good_token() {
    let world = World::new().await;
    let first = world.register("ada").await;
    let attempts = (0..6).map(|_| {
        let (identity, token) = (world.identity.clone(), first.refresh_token.clone());
        tokio::spawn(async move { identity.refresh(&token).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap().unwrap().session, first.session);
    }
    assert_eq!(world.count("identity.refresh_tokens WHERE replaced_at IS NULL").await, 1);
    assert!(world.identity.session_active(first.session).await.unwrap());
}

#[tokio::test]
async fn sessions_live_on_by_use_and_expire_without() {
    let world = World::new().await;
    let first = world.register("ada").await;
    world.pass(world.config.session_ttl.checked_sub(SECOND).unwrap());
    let second = world.identity.refresh(&first.refresh_token).await.unwrap();
    world.pass(world.config.session_ttl.checked_sub(SECOND).unwrap());
    let third = world.identity.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(world.count("identity.refresh_tokens").await, 2, "tokens replaced long ago are forgotten");
    world.pass(world.config.session_ttl);
    assert!(!world.identity.session_active(first.session).await.unwrap());
    let late = world.identity.refresh(&third.refresh_token).await;
    assert!(matches!(late, Err(RefreshError::Expired)), "{late:?}");
}

#[tokio::test]
async fn what_is_no_token_is_invalid() {
    let world = World::new().await;
    let login = world.register("ada").await;
    let other = login.refresh_token.replace(|c: char| c.is_ascii_lowercase(), "x");
    for text in ["", "njr_", &login.access_token, &"x".repeat(1 << 20), &other.replacen("xxx_", "njr_", 1)] {
        let refused = world.identity.refresh(text).await;
        assert!(matches!(refused, Err(RefreshError::Invalid)), "{text:.40}: {refused:?}");
    }
    world.identity.refresh(&login.refresh_token).await.unwrap();
}

#[tokio::test]
async fn no_token_is_stored_in_the_clear() {
    let world = World::new().await;
    let login = world.register("ada").await;
    let admin = world.admin().await;
    for table in ["accounts", "sessions", "refresh_tokens", "outbox"] {
        let rows = admin.query(&format!("SELECT t::text FROM identity.{table} t"), &[]).await.unwrap();
        for row in rows {
            let row: String = row.get(0);
            assert!(!row.contains(&login.refresh_token) && !row.contains("correct horse"), "{row}");
        }
    }
}
