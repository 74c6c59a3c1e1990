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

const OWNER: u8 = 1;
const ADMIN: u8 = 2;
const MODERATOR: u8 = 3;
const MEMBER: u8 = 4;
const STRANGER: u8 = 9;
const MANY: Limits = Limits { members_max: 20, direct_max: 9, sanctions_max: 9, invites_max: 9 };

fn invite(n: u8) -> InviteId {
    InviteId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

fn gives(by: u8, who: u8, role: Role) -> Event {
    Event::RoleChanged { by: user(by), user: user(who), role }
}

/// A public room with one person of each role and a second one of each below the owner (12, 13, 14).
fn staffed() -> Room {
    given(&[
        created(Visibility::Public, &[OWNER, ADMIN, MODERATOR, MEMBER, 12, 13, 14]),
        gives(OWNER, ADMIN, Role::Admin),
        gives(OWNER, 12, Role::Admin),
        gives(OWNER, MODERATOR, Role::Moderator),
        gives(OWNER, 13, Role::Moderator),
    ])
}

fn direct(kind: Kind) -> Room {
    let members = [OWNER, ADMIN, MODERATOR, MEMBER].map(user).to_vec();
    let members = if kind == Kind::Direct { members[..2].to_vec() } else { members };
    given(&[Event::Created { by: user(OWNER), kind, name: None, visibility: Visibility::Private, members }])
}

/// Every command that takes a permission, as `by` says it; what is done to somebody is done to a member.
fn commands(by: u8, to: u8) -> Vec<(Action, Command)> {
    let (by, to) = (user(by), user(to));
    let changes = Changes { topic: Some(RoomTopic::parse("t").unwrap()), ..Changes::default() };
    let (until, reason) = (None, None);
    vec![
        (Action::Change, Command::Change { by, changes }),
        (Action::Archive, Command::Archive { by }),
        (Action::Archive, Command::Restore { by }),
        (Action::Delete, Command::Delete { by }),
        (Action::AddMember, Command::Add { by, user: user(STRANGER) }),
        (Action::Leave, Command::Leave { user: by }),
        (Action::RemoveMember, Command::Remove { by, user: to, reason: reason.clone() }),
        (Action::SetRole, Command::SetRole { by, user: to, role: Role::Moderator }),
        (Action::HandOver, Command::SetRole { by, user: to, role: Role::Owner }),
        (Action::Mute, Command::Mute { by, user: to, until, reason: reason.clone() }),
        (Action::Mute, Command::Unmute { by, user: to }),
        (Action::Ban, Command::Ban { by, user: to, until, reason }),
        (Action::Ban, Command::Unban { by, user: to }),
        (
            Action::CreateInvite,
            Command::CreateInvite { by, invite: invite(1), expires: None, uses_max: None },
        ),
        (Action::CreateInvite, Command::RevokeInvite { by, invite: invite(1) }),
    ]
}

/// Over all commands, roles and kinds: what the table permits is done, and nothing else.
#[test]
fn a_command_is_for_those_for_whom_the_table_has_it() {
    let rooms = [
        (Kind::Room, staffed()),
        (Kind::Direct, direct(Kind::Direct)),
        (Kind::GroupDirect, direct(Kind::GroupDirect)),
    ];
    for (kind, room) in rooms {
        for (by, role) in
            [(OWNER, Role::Owner), (ADMIN, Role::Admin), (MODERATOR, Role::Moderator), (MEMBER, Role::Member)]
        {
            if !room.is_member(user(by)) {
                continue;
            }
            for (action, command) in commands(by, 14) {
                let decided = room.decide(command.clone(), MANY, NOW);
                let refused = match &decided {
                    Err(Rejection::NotPermitted { role: needed }) => {
                        Some(*needed) == Some(action.rule().role)
                    }
                    Err(Rejection::NotInDirect) => kind.is_direct(),
                    _ => false,
                };
                assert_eq!(refused, !action.is_for(role, kind), "{kind:?} {role:?} {command:?}: {decided:?}");
            }
        }
    }
}

#[test]
fn strangers_do_nothing_and_learn_of_a_private_room_only_that_it_is_not_found() {
    let mut private = staffed();
    let hidden = Changes { visibility: Some(Visibility::Private), ..Changes::default() };
    private.apply(&Event::Changed { by: user(OWNER), changes: hidden });
    for (_, command) in commands(STRANGER, MEMBER) {
        let quiet = matches!(command, Command::Leave { .. });
        let public = staffed().decide(command.clone(), MANY, NOW);
        assert_eq!(public, if quiet { Ok(None) } else { Err(Rejection::NotMember) }, "{command:?}");
        assert_eq!(private.decide(command.clone(), MANY, NOW), Err(Rejection::NotFound), "{command:?}");
    }
    for action in Action::ALL {
        assert_eq!(staffed().permits(user(STRANGER), *action, NOW), Err(Rejection::NotMember));
    }
}

#[test]
fn nobody_acts_on_a_rank_that_is_not_below() {
    let room = staffed();
    let people = [
        (OWNER, Role::Owner),
        (ADMIN, Role::Admin),
        (12, Role::Admin),
        (13, Role::Moderator),
        (14, Role::Member),
    ];
    for (by, own) in people {
        for (to, other) in people {
            for (action, command) in commands(by, to) {
                let acts = matches!(
                    action,
                    Action::RemoveMember | Action::Mute | Action::Ban | Action::SetRole | Action::HandOver
                );
                let unbans = matches!(command, Command::Unban { .. });
                if !acts || unbans || !action.is_for(own, Kind::Room) || own > other {
                    continue;
                }
                // One may step down, and is what one is.
                let steps_down = by == to && (own > Role::Moderator || action == Action::HandOver);
                let decided = room.decide(command.clone(), MANY, NOW);
                let may =
                    steps_down && matches!(action, Action::SetRole | Action::HandOver) && own < Role::Owner;
                let same = by == to && action == Action::HandOver;
                assert!(
                    may || same || decided == Err(Rejection::OutOfRank),
                    "{by} {to} {command:?}: {decided:?}"
                );
            }
        }
    }
    let by = user(ADMIN);
    let raise = |user, role| room.decide(Command::SetRole { by, user, role }, MANY, NOW);
    assert_eq!(raise(user(MEMBER), Role::Admin), Err(Rejection::OutOfRank));
    assert_eq!(raise(user(MEMBER), Role::Moderator), Ok(Some(gives(ADMIN, MEMBER, Role::Moderator))));
    assert_eq!(raise(by, Role::Member), Ok(Some(gives(ADMIN, ADMIN, Role::Member))));
    assert_eq!(raise(user(STRANGER), Role::Member), Err(Rejection::NoSuchMember));
}

#[test]
fn a_room_is_handed_over_in_one_event_and_its_owner_leaves_no_other_way() {
    let mut room = staffed();
    assert_eq!(room.decide(Command::Leave { user: user(OWNER) }, MANY, NOW), Err(Rejection::LastOwner));
    let hand_over = Command::SetRole { by: user(OWNER), user: user(MEMBER), role: Role::Owner };
    room.apply(&room.clone().decide(hand_over, MANY, NOW).unwrap().unwrap());
    assert_eq!((room.role(user(OWNER)), room.role(user(MEMBER))), (Some(Role::Admin), Some(Role::Owner)));
    assert!(room.decide(Command::Leave { user: user(OWNER) }, MANY, NOW).unwrap().is_some());
    // Nobody but the owner hands over, whatever the log holds.
    room.apply(&gives(OWNER, ADMIN, Role::Owner));
    assert_eq!(room.role(user(MEMBER)), Some(Role::Owner));
}

#[test]
fn who_is_banned_is_out_and_stays_out_until_it_is_over() {
    let mut room = staffed();
    let ban = Command::Ban { by: user(MODERATOR), user: user(MEMBER), until: Some(NOW + 10), reason: None };
    room.apply(&room.clone().decide(ban, MANY, NOW).unwrap().unwrap());
    assert!(!room.is_member(user(MEMBER)));
    let join = |room: &Room, now| room.decide(Command::Join { user: user(MEMBER), invite: None }, MANY, now);
    let banned = Rejection::Banned { until: Some(NOW + 10) };
    assert_eq!(join(&room, NOW + 9), Err(banned));
    let add = Command::Add { by: user(OWNER), user: user(MEMBER) };
    assert_eq!(room.decide(add, MANY, NOW), Err(banned));
    assert_eq!(join(&room, NOW + 10), Ok(Some(joined(MEMBER, MEMBER))));
    room.apply(&joined(MEMBER, MEMBER));
    assert_eq!(room.standing(user(MEMBER)), Standing { role: Some(Role::Member), ..Standing::default() });

    let for_good = Event::MemberBanned { by: user(OWNER), user: user(MEMBER), until: None, reason: None };
    room.apply(&for_good);
    room.apply(&joined(OWNER, MEMBER));
    assert!(!room.is_member(user(MEMBER)), "whatever the log holds");
    room.apply(&Event::MemberUnbanned { by: user(OWNER), user: user(MEMBER) });
    assert_eq!(join(&room, NOW), Ok(Some(joined(MEMBER, MEMBER))));
}

#[test]
fn who_is_muted_reads_and_says_nothing_until_it_is_over_even_after_coming_back() {
    let mut room = staffed();
    let mute = Command::Mute { by: user(MODERATOR), user: user(MEMBER), until: Some(NOW + 10), reason: None };
    room.apply(&room.clone().decide(mute.clone(), MANY, NOW).unwrap().unwrap());
    assert_eq!(room.decide(mute, MANY, NOW), Ok(None), "it is so already");
    room.apply(&Event::MemberLeft { by: user(MEMBER), user: user(MEMBER), reason: None });
    room.apply(&joined(MEMBER, MEMBER));
    for action in Action::ALL {
        let may = room.permits(user(MEMBER), *action, NOW);
        let muted = action.is_for(Role::Member, Kind::Room) && !action.rule().muted;
        assert_eq!(may == Err(Rejection::Muted { until: Some(NOW + 10) }), muted, "{action:?}: {may:?}");
    }
    assert_eq!(room.permits(user(MEMBER), Action::Post, NOW + 10), Ok(()));
}

#[test]
fn in_a_read_only_room_moderators_write_and_in_an_archived_one_nobody() {
    let mut room = staffed();
    let changes = Changes { read_only: Some(true), ..Changes::default() };
    room.apply(&Event::Changed { by: user(OWNER), changes });
    assert_eq!(room.permits(user(MEMBER), Action::Post, NOW), Err(Rejection::ReadOnly));
    assert_eq!(room.permits(user(MEMBER), Action::React, NOW), Ok(()));
    assert_eq!(room.permits(user(MODERATOR), Action::Post, NOW), Ok(()));
    room.apply(&Event::Archived { by: user(OWNER) });
    for (action, command) in commands(OWNER, MEMBER) {
        let decided = room.decide(command.clone(), MANY, NOW);
        let stands = action.rule().archived;
        assert_eq!(decided == Err(Rejection::Archived), !stands, "{command:?}: {decided:?}");
    }
    let join = Command::Join { user: user(STRANGER), invite: None };
    assert_eq!(room.decide(join, MANY, NOW), Err(Rejection::Archived));
    assert_eq!(room.permits(user(OWNER), Action::Post, NOW), Err(Rejection::Archived));
    assert_eq!(room.permits(user(MEMBER), Action::Read, NOW), Ok(()));
    room.apply(&Event::Restored { by: user(OWNER) });
    assert_eq!(room.permits(user(OWNER), Action::Post, NOW), Ok(()));
}

#[test]
fn nothing_is_left_of_a_deleted_room() {
    let mut room = staffed();
    room.apply(&Event::Deleted { by: user(OWNER) });
    let deleted = room.clone();
    assert_eq!((room.members().len(), room.facts()), (0, None));
    assert_eq!(room.permits(user(OWNER), Action::Read, NOW), Err(Rejection::NotFound));
    for event in
        [joined(OWNER, OWNER), created(Visibility::Public, &[OWNER]), Event::Restored { by: user(OWNER) }]
    {
        room.apply(&event);
        assert_eq!(room, deleted, "{event:?}");
    }
    let join = Command::Join { user: user(MEMBER), invite: Some(invite(1)) };
    assert_eq!(room.decide(join, MANY, NOW), Err(Rejection::NotFound));
}

#[test]
fn an_invite_leads_into_a_private_room_as_often_and_as_long_as_it_says() {
    let mut room = given(&[created(Visibility::Private, &[OWNER])]);
    let make =
        |invite, expires, uses_max| Command::CreateInvite { by: user(OWNER), invite, expires, uses_max };
    for command in [make(invite(1), Some(NOW + 10), None), make(invite(2), None, Some(2))] {
        room.apply(&room.clone().decide(command, LIMITS, NOW).unwrap().unwrap());
    }
    let full = Rejection::TooMany { what: "invites", max: 2 };
    assert_eq!(room.decide(make(invite(3), None, None), LIMITS, NOW), Err(full));
    let join = |n, by, now: u64| (Command::Join { user: user(n), invite: Some(invite(by)) }, now);
    let try_join = |room: &Room, (command, now): (Command, u64)| room.decide(command, MANY, now);
    assert_eq!(try_join(&room, join(2, 1, NOW + 10)), Err(Rejection::InviteInvalid), "expired");
    assert_eq!(try_join(&room, join(2, 9, NOW)), Err(Rejection::InviteInvalid), "unknown");
    for n in [2, 3] {
        let event = try_join(&room, join(n, 2, NOW)).unwrap().unwrap();
        room.apply(&event);
        assert!(room.is_member(user(n)));
    }
    assert_eq!(try_join(&room, join(4, 2, NOW)), Err(Rejection::InviteInvalid), "used up");
    assert!(try_join(&room, join(4, 1, NOW)).unwrap().is_some());
    room.apply(&Event::InviteRevoked { by: user(OWNER), invite: invite(1) });
    assert_eq!(try_join(&room, join(4, 1, NOW)), Err(Rejection::InviteInvalid), "revoked");
}

#[test]
fn a_direct_room_is_of_two_or_of_a_few_and_they_stay() {
    let open = |others: &[u8]| {
        let others = others.iter().map(|n| user(*n)).collect();
        Room::default().decide(Command::OpenDirect { by: user(1), others }, LIMITS, NOW)
    };
    let size = Err(Rejection::DirectSize { max: 3 });
    assert_eq!((open(&[]), open(&[1]), open(&[2, 3, 4])), (size.clone(), size.clone(), size));
    for (others, kind) in [(&[2][..], Kind::Direct), (&[2, 3, 2][..], Kind::GroupDirect)] {
        let mut room = given(&[open(others).unwrap().unwrap()]);
        assert_eq!(room.facts().map(|facts| facts.kind), Some(kind));
        let leave = Command::Leave { user: user(2) };
        assert_eq!(room.decide(leave, LIMITS, NOW), Err(Rejection::NotInDirect));
        assert_eq!(room.role(user(1)), Some(Role::Member), "nobody has a rank");
        let before = room.clone();
        let left = Event::MemberLeft { by: user(2), user: user(2), reason: None };
        for event in [gives(1, 2, Role::Admin), left, Event::Deleted { by: user(1) }] {
            room.apply(&event);
            assert_eq!(room, before, "whatever the log holds: {event:?}");
        }
    }
}

#[test]
fn a_room_takes_as_many_as_it_says() {
    let mut room = given(&[created(Visibility::Public, &[1, 2])]);
    let change = |max| {
        let changes = Changes { members_max: Some(max), ..Changes::default() };
        Command::Change { by: user(1), changes }
    };
    for max in [1, 21] {
        let expected = Rejection::Capacity { members: 2, members_max: 20 };
        assert_eq!(room.decide(change(max), MANY, NOW), Err(expected), "{max}");
    }
    room.apply(&room.clone().decide(change(2), MANY, NOW).unwrap().unwrap());
    let join = Command::Join { user: user(3), invite: None };
    assert_eq!(room.decide(join, MANY, NOW), Err(Rejection::Full { members_max: 2 }));
    assert_eq!(room.decide(change(2), MANY, NOW), Ok(None), "it is so already");
    assert!(room.decide(change(0), MANY, NOW).unwrap().is_some());
}

/// A command by one of six people about another, of whatever kind.
fn any_command() -> impl Strategy<Value = Command> {
    let someone = || (1u8..7).prop_map(user);
    let until = || prop::option::of(0u64..200);
    let invites = || (0u8..3).prop_map(invite);
    let flag = prop::option::of(any::<bool>());
    prop_oneof![
        3 => (someone(), prop::option::of(invites())).prop_map(|(user, invite)| Command::Join { user, invite }),
        3 => (someone(), someone()).prop_map(|(by, user)| Command::Add { by, user }),
        2 => someone().prop_map(|user| Command::Leave { user }),
        2 => (someone(), someone()).prop_map(|(by, user)| Command::Remove { by, user, reason: None }),
        4 => (someone(), someone(), prop::sample::select(Role::ALL.to_vec()))
            .prop_map(|(by, user, role)| Command::SetRole { by, user, role }),
        2 => (someone(), someone(), until())
            .prop_map(|(by, user, until)| Command::Mute { by, user, until, reason: None }),
        1 => (someone(), someone()).prop_map(|(by, user)| Command::Unmute { by, user }),
        3 => (someone(), someone(), until())
            .prop_map(|(by, user, until)| Command::Ban { by, user, until, reason: None }),
        1 => (someone(), someone()).prop_map(|(by, user)| Command::Unban { by, user }),
        1 => (someone(), invites(), until(), prop::option::of(1u32..3))
            .prop_map(|(by, invite, expires, uses_max)| Command::CreateInvite { by, invite, expires, uses_max }),
        1 => (someone(), invites()).prop_map(|(by, invite)| Command::RevokeInvite { by, invite }),
        2 => (someone(), prop::option::of(0u32..8), flag).prop_map(|(by, members_max, read_only)| Command::Change {
            by,
            changes: Changes { read_only, members_max, ..Changes::default() },
        }),
        1 => someone().prop_map(|by| Command::Archive { by }),
        1 => someone().prop_map(|by| Command::Restore { by }),
        1 => someone().prop_map(|by| Command::OpenDirect { by, others: vec![user(1), user(2)] }),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_commands_breaks_what_always_holds(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        private in any::<bool>(),
        commands in prop::collection::vec((any_command(), 0u64..10), 0..120),
    ) {
        let limits = Limits { members_max: 5, direct_max: 3, sanctions_max: 2, invites_max: 2 };
        let visibility = if private || kind.is_direct() { Visibility::Private } else { Visibility::Public };
        let members: Vec<_> = [1, 2, 3][..if kind == Kind::Direct { 2 } else { 3 }].iter().map(|n| user(*n)).collect();
        let first = Event::Created { by: user(1), kind, name: None, visibility, members: members.clone() };
        let (mut room, mut now) = (given(&[first]), 0);
        for (command, passed) in commands {
            now += passed;
            let before = room.clone();
            let Ok(Some(event)) = room.decide(command, limits, now) else { continue };
            room.apply(&event);
            prop_assert_ne!(&before, &room, "an event that changes nothing: {:?}", event);
            let facts = room.facts().unwrap();
            let owners = room.members().filter(|user| room.role(*user) == Some(Role::Owner)).count();
            prop_assert_eq!(owners, usize::from(!kind.is_direct()), "one owner");
            let capacity = if facts.members_max == 0 { 5 } else { facts.members_max as usize };
            prop_assert!(room.members().len() <= capacity.min(5), "capacity");
            prop_assert!(room.members().all(|user| !room.bans.contains_key(&user)), "nobody banned is a member");
            prop_assert!(room.bans.len() <= 2 && room.mutes.len() <= 2 && room.invites.len() <= 2, "bounded");
            if kind.is_direct() {
                prop_assert_eq!(&room, &before, "direct rooms stay as they are");
            }
            let archived = before.facts().unwrap().archived;
            prop_assert!(!archived || matches!(event, Event::Restored { .. }), "{:?} in an archived room", event);
            if let (Some(on), Event::MemberLeft { by, .. } | Event::MemberMuted { by, .. } | Event::MemberBanned { by, .. }
                | Event::RoleChanged { by, .. }) = (event.concerns(), &event)
                && on != *by
            {
                prop_assert!(before.role(*by) > before.role(on), "rank: {:?}", event);
            }
            if private && let Event::MemberJoined { by, user, invite: None } = &event {
                prop_assert!(by != user && before.is_member(*by), "nobody comes into a private room alone");
            }
        }
    }
}
