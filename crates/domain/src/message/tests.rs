use proptest::prelude::*;

use super::*;

fn user(n: u8) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

fn message() -> Message {
    let (id, cid) = (MessageId::from_uuid(uuid::Uuid::from_u128(77)), ClientId::random());
    Message::new(&Posted::plain(id, user(1), cid, MessageBody::parse("x", 10).unwrap()))
}

fn edit(by: u8) -> Command {
    let body = MessageBody::parse("new", 10).unwrap();
    Command::Edit { by: user(by), body, mentions: Mentions::default(), meta: None }
}

fn emoji(n: usize) -> Emoji {
    Emoji::parse(&format!(":e{n}:")).unwrap()
}

fn react(by: u8, n: usize, on: bool) -> Command {
    Command::React { by: user(by), emoji: emoji(n), on }
}

fn pin(on: bool) -> Command {
    Command::Pin { by: user(2), on }
}

/// The event that the command would be, whether it is allowed or not.
fn event(id: MessageId, command: Command) -> Event {
    match command {
        Command::Edit { by, body, mentions, meta } => Event::Edited { id, by, body, mentions, meta },
        Command::Recall { by } => Event::Recalled { id, by },
        Command::Delete { by, reason } => Event::Deleted { id, by, reason },
        Command::React { by, emoji, on } => Event::Reacted { id, by, emoji, on },
        Command::Pin { by, on: true } => Event::Pinned { id, by },
        Command::Pin { by, on: false } => Event::Unpinned { id, by },
    }
}

#[test]
fn commands_against_a_message_as_it_is() {
    const DAY: Duration = Duration::from_hours(24);
    let live = message();
    let gone = Message { gone: true, ..live.clone() };
    let pinned = Message { pinned: true, ..live.clone() };
    let with = |n: usize| (0..n).map(|n| (emoji(n), 1));
    let full =
        Message { reactions: Reactions::new(with(REACTIONS_MAX), [(user(3), emoji(0))]), ..live.clone() };
    let recall = |by| Command::Recall { by: user(by) };
    let delete = Command::Delete { by: user(2), reason: None };
    let now = Around { recall_window: Some(DAY), ..Around::default() };
    let late = Around { age: DAY + Duration::from_secs(1), ..now };
    let for_ever = Around { recall_window: None, ..late };
    let crowded = Around { pins: PINS_MAX, ..now };
    // What it comes to: the command's event, nothing, or a refusal.
    let (yes, no) = (Ok(true), Ok(false));
    let cases = [
        ("edit", &live, now, edit(1), yes),
        ("edit another's", &live, now, edit(2), Err(Rejection::NotAuthor)),
        ("edit late", &live, late, edit(1), yes),
        ("edit what is gone", &gone, now, edit(1), Err(Rejection::Gone)),
        ("recall", &live, now, recall(1), yes),
        ("recall another's", &live, now, recall(2), Err(Rejection::NotAuthor)),
        ("recall another's that is gone", &gone, now, recall(2), Err(Rejection::NotAuthor)),
        ("recall twice", &gone, late, recall(1), no),
        ("recall at the last moment", &live, Around { age: DAY, ..now }, recall(1), yes),
        ("recall too late", &live, late, recall(1), Err(Rejection::TooLate { window: DAY })),
        ("recall at any time", &live, for_ever, recall(1), yes),
        ("delete", &live, late, delete.clone(), yes),
        ("delete twice", &gone, now, delete, no),
        ("react", &live, now, react(2, 0, true), yes),
        ("react twice", &full, now, react(3, 0, true), no),
        ("take back", &full, now, react(3, 0, false), yes),
        ("take back another's", &full, now, react(4, 0, false), no),
        ("react to what is gone", &gone, now, react(2, 0, true), Err(Rejection::Gone)),
        ("take back from what is gone", &gone, now, react(2, 0, false), no),
        ("react as others did", &full, now, react(4, 1, true), yes),
        ("react in a new way", &full, now, react(4, 99, true), Err(Rejection::TooManyReactions)),
        ("pin", &live, now, pin(true), yes),
        ("pin twice", &pinned, crowded, pin(true), no),
        ("pin one too many", &live, crowded, pin(true), Err(Rejection::TooManyPins)),
        ("pin what is gone", &gone, now, pin(true), Err(Rejection::Gone)),
        ("unpin", &pinned, crowded, pin(false), yes),
        ("unpin what is not", &live, now, pin(false), no),
    ];
    for (name, message, around, command, expected) in cases {
        let decided = message.decide(command.clone(), &around);
        let expected = expected.map(|counts| counts.then(|| event(message.id, command)));
        assert_eq!(decided, expected, "{name}");
    }
}

#[test]
fn what_is_gone_is_neither_pinned_nor_reacted_to() {
    let mut message = message();
    let mut pins = 7;
    assert!(message.apply(&event(message.id, pin(true)), &mut pins));
    assert!(message.apply(&event(message.id, react(2, 0, true)), &mut pins));
    assert_eq!((pins, message.reactions.count(&emoji(0))), (8, 1));
    let deleted = event(message.id, Command::Delete { by: user(9), reason: None });
    assert!(message.apply(&deleted, &mut pins));
    assert_eq!((pins, message.pinned, message.reactions.count(&emoji(0))), (7, false, 0));
    assert!(!message.apply(&deleted, &mut pins));
}

#[test]
fn a_reaction_that_nobody_has_any_more_makes_room_for_another() {
    let mut message = message();
    for n in 0..REACTIONS_MAX {
        assert!(message.apply(&event(message.id, react(2, n, true)), &mut 0));
    }
    assert!(!message.apply(&event(message.id, react(2, 99, true)), &mut 0));
    assert!(message.apply(&event(message.id, react(2, 0, false)), &mut 0));
    assert!(message.apply(&event(message.id, react(2, 99, true)), &mut 0));
}

fn command() -> impl Strategy<Value = Command> {
    let by = || 1u8..4;
    prop_oneof![
        2 => by().prop_map(edit),
        1 => by().prop_map(|by| Command::Recall { by: user(by) }),
        1 => by().prop_map(|by| Command::Delete { by: user(by), reason: None }),
        20 => (by(), 0..REACTIONS_MAX + 3, any::<bool>()).prop_map(|(by, n, on)| react(by, n, on)),
        4 => any::<bool>().prop_map(pin),
    ]
}

proptest! {
    /// What is decided counts when it is folded, and what is not decided does not.
    #[test]
    fn deciding_and_folding_agree(commands in prop::collection::vec(command(), 0..120), pins in PINS_MAX - 2..=PINS_MAX) {
        let (mut message, mut pins) = (message(), pins);
        for command in commands {
            let around = Around { pins, ..Around::default() };
            let decided = message.decide(command.clone(), &around);
            let before = message.clone();
            let counted = message.apply(&event(message.id, command.clone()), &mut pins);
            prop_assert_eq!(matches!(decided, Ok(Some(_))), counted, "{:?} of {:?}", command, before);
            prop_assert!(counted || message == before);
            prop_assert!(pins <= PINS_MAX);
            let different = (0..REACTIONS_MAX + 3).filter(|n| message.reactions.count(&emoji(*n)) > 0).count();
            prop_assert!(different <= REACTIONS_MAX);
        }
    }
}
