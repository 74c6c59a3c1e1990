use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_000_000;

const LIMITS: Limits = Limits { members_max: 3, direct_max: 3, sanctions_max: 2, invites_max: 2 };

fn user(n: u8) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

fn created(visibility: Visibility, members: &[u8]) -> Event {
    let members = members.iter().map(|n| user(*n)).collect();
    let name = Some(RoomName::parse("r").unwrap());
    Event::Created { by: user(1), kind: Kind::Room, name, visibility, members }
}

fn given(events: &[Event]) -> Room {
    let mut room = Room::default();
    for event in events {
        room.apply(event);
    }
    room
}

type Case = (&'static str, Vec<Event>, Command, Result<Option<Event>, Rejection>);

fn joined(by: u8, who: u8) -> Event {
    Event::MemberJoined { by: user(by), user: user(who), invite: None }
}

#[test]
fn commands_against_given_events() {
    use Visibility::{Private, Public};
    let left = |n| Event::MemberLeft { by: user(n), user: user(n), reason: None };
    let join = |n| Command::Join { user: user(n), invite: None };
    let leave = |n| Command::Leave { user: user(n) };
    let add = |by, n| Command::Add { by: user(by), user: user(n) };
    let full = Rejection::Full { members_max: 3 };
    let cases: Vec<Case> = vec![
        ("join nothing", vec![], join(2), Err(Rejection::NotFound)),
        ("join public", vec![created(Public, &[1])], join(2), Ok(Some(joined(2, 2)))),
        ("join twice", vec![created(Public, &[1, 2])], join(2), Ok(None)),
        ("join private", vec![created(Private, &[1])], join(2), Err(Rejection::NotFound)),
        ("join full", vec![created(Public, &[1, 2, 3])], join(4), Err(full)),
        ("add", vec![created(Private, &[1])], add(1, 2), Ok(Some(joined(1, 2)))),
        ("add by stranger", vec![created(Private, &[1])], add(2, 3), Err(Rejection::NotFound)),
        ("add by visitor", vec![created(Public, &[1])], add(2, 3), Err(Rejection::NotMember)),
        ("add to full", vec![created(Private, &[1, 2, 3])], add(1, 4), Err(full)),
        ("leave", vec![created(Public, &[1, 2])], leave(2), Ok(Some(left(2)))),
        ("leave twice", vec![created(Public, &[1, 2]), left(2)], leave(2), Ok(None)),
        ("leave unseen", vec![created(Private, &[1])], leave(2), Err(Rejection::NotFound)),
        ("join again", vec![created(Public, &[1, 2]), left(2)], join(2), Ok(Some(joined(2, 2)))),
    ];
    for (name, events, command, expected) in cases {
        assert_eq!(given(&events).decide(command, LIMITS, NOW), expected, "{name}");
    }
}

#[test]
fn creation_counts_each_member_once_and_the_owner_always() {
    let create = |members: &[u8]| Command::Create {
        by: user(1),
        name: RoomName::parse("r").unwrap(),
        visibility: Visibility::Private,
        members: members.iter().map(|n| user(*n)).collect(),
    };
    let room = Room::default();
    assert_eq!(room.decide(create(&[2, 2, 1]), LIMITS, NOW), Ok(Some(created(Visibility::Private, &[1, 2]))));
    assert_eq!(room.decide(create(&[2, 3, 4]), LIMITS, NOW), Err(Rejection::Full { members_max: 3 }));
    let exists = given(&[created(Visibility::Public, &[1])]);
    assert_eq!(exists.decide(create(&[]), LIMITS, NOW), Err(Rejection::Exists));
}

#[test]
fn a_second_creation_and_events_before_the_first_change_nothing() {
    let mut room = given(&[joined(2, 2)]);
    assert_eq!(room, Room::default());
    room.apply(&created(Visibility::Public, &[1]));
    let before = room.clone();
    room.apply(&created(Visibility::Private, &[1, 2]));
    assert_eq!(room, before);
}

proptest! {
    #[test]
    fn no_sequence_of_commands_overfills_a_room_or_lets_strangers_into_a_private_one(
        private in any::<bool>(),
        steps in proptest::collection::vec((0u8..3, 1u8..7, 1u8..7), 0..60),
    ) {
        let visibility = if private { Visibility::Private } else { Visibility::Public };
        let mut room = given(&[created(visibility, &[1])]);
        for (kind, a, b) in steps {
            let was_member = room.is_member(user(a));
            let command = match kind {
                0 => Command::Join { user: user(a), invite: None },
                1 => Command::Add { by: user(a), user: user(b) },
                _ => Command::Leave { user: user(a) },
            };
            if let Ok(Some(event)) = room.decide(command, LIMITS, NOW) {
                if let Event::MemberJoined { by, .. } = &event {
                    prop_assert!(!private || (was_member && *by == user(a)));
                }
                room.apply(&event);
            }
            prop_assert!(room.members().len() <= LIMITS.members_max);
        }
    }
}
