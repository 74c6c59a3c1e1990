use std::time::Duration;

use natterjack_domain::{SessionId, UserId};
use natterjack_identity::{Origin, RefreshError};

use crate::world::{PASSWORD, World, password};

#[tokio::test]
async fn logging_out_ends_one_session() {
    let world = World::new().await;
    let phone = world.register("ada").await;
    let laptop = world.identity.login("ada", &password(PASSWORD), &Origin::default()).await.unwrap();
    assert!(world.identity.logout(phone.session).await.unwrap());
    assert!(!world.identity.logout(phone.session).await.unwrap(), "it ends once");
    assert!(!world.identity.logout(SessionId::random()).await.unwrap());
    assert!(!world.identity.session_active(phone.session).await.unwrap());
    let refused = world.identity.refresh(&phone.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::Ended)), "{refused:?}");
    world.identity.refresh(&laptop.refresh_token).await.unwrap();
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_of_one_person() {
    let world = World::new().await;
    let bob = world.register("bob").await;
    let mut sessions = vec![world.register("ada").await];
    for _ in 0..2 {
        sessions.push(world.identity.login("ada", &password(PASSWORD), &Origin::default()).await.unwrap());
    }
    world.identity.logout(sessions[2].session).await.unwrap();
    world.pass(Duration::from_secs(1));
    let mut ended = world.identity.logout_everywhere(sessions[0].user).await.unwrap();
    ended.sort();
    let mut expected = [sessions[0].session, sessions[1].session];
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(world.identity.logout_everywhere(sessions[0].user).await.unwrap(), []);
    assert_eq!(world.identity.logout_everywhere(UserId::random()).await.unwrap(), []);
    assert!(world.identity.session_active(bob.session).await.unwrap());
}

#[tokio::test]
async fn what_was_ended_is_told_as_long_as_it_matters() {
    let world = World::new().await;
    let (ada, bob) = (world.register("ada").await, world.register("bob").await);
    let start = world.now();
    world.identity.logout(ada.session).await.unwrap();
    world.pass(Duration::from_secs(30));
    let later = world.now();
    world.identity.logout(bob.session).await.unwrap();
    let all = world.identity.revoked_since(start).await.unwrap();
    assert_eq!(all, [(ada.session, start), (bob.session, later)]);
    assert_eq!(world.identity.revoked_since(later).await.unwrap(), [(bob.session, later)]);
    world.pass(world.config.access_ttl + Duration::from_mins(2));
    assert_eq!(world.identity.revoked_since(start).await.unwrap(), [], "their access tokens have expired");
}

#[tokio::test]
async fn pruning_removes_expired_sessions_only() {
    let world = World::new().await;
    let old = world.register("ada").await;
    world.pass(world.config.session_ttl);
    let fresh = world.register("bob").await;
    assert_eq!(world.identity.prune().await.unwrap(), 0, "not at once");
    world.pass(world.config.access_ttl + Duration::from_mins(2));
    assert_eq!(world.identity.prune().await.unwrap(), 1);
    let gone = world.identity.refresh(&old.refresh_token).await;
    assert!(matches!(gone, Err(RefreshError::Invalid)), "{gone:?}");
    world.identity.refresh(&fresh.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_long_or_odd_user_agent_is_cut() {
    let world = World::new().await;
    world.register("ada").await;
    let agent = format!("\0\n{}", "é".repeat(10_000));
    world
        .identity
        .login("ada", &password(PASSWORD), &Origin { user_agent: agent, address: None })
        .await
        .unwrap();
    assert_eq!(world.count("identity.sessions WHERE user_agent = repeat('é', 256)").await, 1);
}
