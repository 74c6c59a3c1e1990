use std::time::Duration;

use natterjack_domain::{
    SessionId, UserId,
    profile::{self, Bio, Nickname, Profile},
};
use natterjack_identity::{Change, ChangeError, LoginError, Origin, PasswordError, RefreshError};

use crate::world::{PASSWORD, World, password, registration};

async fn again(world: &World) -> natterjack_identity::Login {
    world.identity.login("ada", &password(PASSWORD), &Origin::default()).await.unwrap()
}

#[tokio::test]
async fn a_change_leaves_what_it_does_not_name() {
    let world = World::new().await;
    let ada = world.identity.register(registration("ada", Some("ada@marsh.example"))).await.unwrap();
    let profile =
        profile::Change { nickname: Some(Nickname::parse("Ada").ok()), ..profile::Change::default() };
    let phone = Some("+491701234567".parse().ok());
    let first = Change { profile, phone, ..Change::default() };
    world.identity.change(ada.user, first).await.unwrap();
    let profile = profile::Change { bio: Some(Bio::parse("frogs").ok()), ..profile::Change::default() };
    let second = Change { profile, email: Some(None), locale: Some("de".parse().ok()), ..Change::default() };
    let changed = world.identity.change(ada.user, second).await.unwrap();
    let expected = Profile {
        nickname: Nickname::parse("Ada").ok(),
        bio: Bio::parse("frogs").ok(),
        ..Profile::default()
    };
    assert_eq!((&changed.profile, &changed.email), (&expected, &None));
    assert_eq!((changed.phone.as_deref(), changed.locale.as_deref()), (Some("+491701234567"), Some("de")));
    assert_eq!(world.identity.account(ada.user).await.unwrap(), changed);
    assert_eq!((changed.username.as_str(), changed.created_at), ("ada", world.now()));
}

#[tokio::test]
async fn only_what_others_may_know_reaches_the_outbox_and_only_when_it_changes() {
    let world = World::new().await;
    let ada = world.register("ada").await;
    let private = Change {
        email: Some("ada@marsh.example".parse().ok()),
        phone: Some("+491701234567".parse().ok()),
        ..Change::default()
    };
    let named = || Change {
        profile: profile::Change {
            nickname: Some(Nickname::parse("Ada").ok()),
            ..profile::Change::default()
        },
        ..Change::default()
    };
    for change in [private, named(), named(), Change::default()] {
        world.identity.change(ada.user, change).await.unwrap();
    }
    let sql = "SELECT payload::text FROM identity.outbox WHERE type = 'user.profile_changed'";
    let rows = world.admin().await.query(sql, &[]).await.unwrap();
    let payloads: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(payloads, [r#"{"nickname": "Ada"}"#]);
}

#[tokio::test]
async fn an_address_in_use_is_not_taken_over_and_nothing_else_of_the_change_is_done() {
    let world = World::new().await;
    world.identity.register(registration("bob", Some("bob@marsh.example"))).await.unwrap();
    let ada = world.register("ada").await;
    let change = Change {
        email: Some("BOB@marsh.example".parse().ok()),
        locale: Some("de".parse().ok()),
        ..Change::default()
    };
    let refused = world.identity.change(ada.user, change).await;
    assert!(matches!(refused, Err(ChangeError::EmailTaken)), "{refused:?}");
    assert_eq!(world.identity.account(ada.user).await.unwrap().locale, None);
}

#[tokio::test]
async fn a_new_password_takes_the_old_one_and_ends_the_other_sessions() {
    let world = World::new().await;
    let (kept, other, bob) = (world.register("ada").await, again(&world).await, world.register("bob").await);
    let new = password("a better one");
    let wrong = world.identity.change_password(kept.user, &password("not mine"), &new, kept.session).await;
    assert!(matches!(wrong, Err(PasswordError::Wrong)), "{wrong:?}");
    let nobody = world.identity.change_password(UserId::random(), &new, &new, kept.session).await;
    assert!(matches!(nobody, Err(PasswordError::Wrong)), "{nobody:?}");
    let ended =
        world.identity.change_password(kept.user, &password(PASSWORD), &new, kept.session).await.unwrap();
    assert_eq!(ended, [other.session]);
    let refused = world.identity.login("ada", &password(PASSWORD), &Origin::default()).await;
    assert!(matches!(refused, Err(LoginError::Refused)), "{refused:?}");
    world.identity.login("ada", &new, &Origin::default()).await.unwrap();
    let refused = world.identity.refresh(&other.refresh_token).await;
    assert!(matches!(refused, Err(RefreshError::Ended)), "{refused:?}");
    for login in [kept, bob] {
        world.identity.refresh(&login.refresh_token).await.unwrap();
    }
}

#[tokio::test]
async fn who_logs_in_by_a_password_while_it_is_changed_does_not_stay() {
    let world = World::new().await;
    let ada = world.register("ada").await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let identity = world.with(|_| {});
        logins.spawn(async move { identity.login("ada", &password(PASSWORD), &Origin::default()).await });
    }
    let new = password("a better one");
    world.identity.change_password(ada.user, &password(PASSWORD), &new, ada.session).await.unwrap();
    for login in logins.join_all().await.into_iter().flatten() {
        assert!(!world.identity.session_active(login.session).await.unwrap(), "opened by the old password");
    }
}

#[tokio::test]
async fn a_closed_account_is_as_good_as_none_and_its_names_stay_taken() {
    let world = World::new().await;
    let ada = world.identity.register(registration("ada", Some("ada@marsh.example"))).await.unwrap();
    let wrong = world.identity.deactivate(ada.user, &password("not mine")).await;
    assert!(matches!(wrong, Err(PasswordError::Wrong)), "{wrong:?}");
    assert_eq!(world.identity.deactivate(ada.user, &password(PASSWORD)).await.unwrap(), [ada.session]);
    assert!(matches!(world.identity.account(ada.user).await, Err(ChangeError::Disabled)));
    assert!(matches!(world.identity.change(ada.user, Change::default()).await, Err(ChangeError::Disabled)));
    let again = world.identity.deactivate(ada.user, &password(PASSWORD)).await;
    assert!(matches!(again, Err(PasswordError::Wrong)), "{again:?}");
    assert!(world.identity.login("ada", &password(PASSWORD), &Origin::default()).await.is_err());
    assert!(world.identity.register(registration("ada", None)).await.is_err());
    assert!(world.identity.register(registration("eve", Some("ada@marsh.example"))).await.is_err());
    assert_eq!(world.count("identity.outbox WHERE type = 'user.deactivated'").await, 1);
}

#[tokio::test]
async fn open_sessions_are_listed_in_pages_and_ended_by_their_person_only() {
    let world = World::new().await;
    let address = "192.0.2.7".parse().ok();
    let origin = Origin { user_agent: "phone".into(), address };
    let first = world.register("ada").await;
    let phone = world.identity.login("ada", &password(PASSWORD), &origin).await.unwrap();
    let laptop = again(&world).await;
    let bob = world.register("bob").await;
    let list = async |before, limit| world.identity.sessions(first.user, before, limit).await.unwrap();
    let page = list(None, 2).await;
    assert_eq!(page.iter().map(|s| s.id).collect::<Vec<_>>(), [laptop.session, phone.session]);
    assert_eq!((page[1].user_agent.as_str(), page[1].address), ("phone", address));
    let rest = list(Some(page[1].id), 2).await;
    assert_eq!(rest.iter().map(|s| (s.id, s.address)).collect::<Vec<_>>(), [(first.session, None)]);

    assert!(!world.identity.end_session(bob.user, phone.session).await.unwrap());
    assert!(!world.identity.end_session(first.user, SessionId::random()).await.unwrap());
    assert!(world.identity.end_session(first.user, phone.session).await.unwrap());
    assert!(!world.identity.end_session(first.user, phone.session).await.unwrap());
    assert_eq!(world.identity.end_others(first.user, laptop.session).await.unwrap(), [first.session]);
    assert_eq!(list(None, 9).await.len(), 1);
    world.pass(world.config.session_ttl);
    assert_eq!(list(None, 9).await, []);
}

#[tokio::test]
async fn who_was_last_there_when() {
    let world = World::new().await;
    let ada = world.register("ada").await;
    let seen = async || world.identity.last_seen(ada.user).await.unwrap();
    assert_eq!(seen().await, Some(world.now()), "the session says so");
    assert_eq!(world.identity.last_seen(UserId::random()).await.unwrap(), None);
    let (earlier, later) = (world.now() - Duration::from_hours(2), world.now() - Duration::from_hours(1));
    world.identity.note_last_seen(&[(ada.user, later), (UserId::random(), later)]).await.unwrap();
    assert_eq!(seen().await, Some(later));
    world.identity.note_last_seen(&[(ada.user, earlier)]).await.unwrap();
    assert_eq!(seen().await, Some(later), "it only moves on");
}
