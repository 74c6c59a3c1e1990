//! The queries of the read model on what the projector made.

use natterjack_domain::{Role, Visibility, message::Reactions};
use natterjack_projection::open;
use natterjack_readmodel::{
    self as readmodel, Error, Page, events, members,
    messages::{self, From},
    people, rooms,
};

use crate::{
    script::{
        Step, created, edited, emoji, entries, mid, named, posted, reacted, registered, reply, room, ts, user,
    },
    world::{EPOCH, STREAM, World},
};

fn page(cursor: Option<&str>, limit: u32) -> Page<'_> {
    Page { cursor, limit: Some(limit) }
}

async fn chat() -> World {
    let world = World::new().await;
    let private = Step::Created { room: 1, by: 1, members: vec![1], private: true };
    let steps = [
        registered(0, "ann"),
        registered(1, "anton"),
        created(0, 0, &[0]),
        private,
        posted(0, 0, 1, "one"),
        posted(0, 0, 2, "two"),
        Step::Joined { room: 0, user: 1 },
        posted(0, 1, 3, "three"),
        edited(0, 0, 1, "eins"),
        Step::Recalled { room: 0, by: 0, mid: 2 },
        posted(0, 0, 4, "four"),
        Step::Joined { room: 0, user: 2 },
        Step::Read { user: 0, room: 0, seq: 8 },
        created(2, 2, &[2, 0]),
    ];
    world.apply_all(&entries(&steps), 4).await;
    world
}

#[tokio::test]
async fn a_room_as_each_person_sees_it() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let seen = async |n, by| rooms::room(&client, room(n), user(by)).await.unwrap();

    let ann = seen(0, 0).await.unwrap();
    assert_eq!((ann.joined, ann.unread, ann.read_seq, ann.head, ann.member_count), (true, 1, 8, 12, 3));
    assert_eq!((ann.as_of.epoch.as_str(), ann.as_of.seq), (EPOCH, 14));
    assert_eq!(ann.last_message.unwrap().body.as_deref(), Some("four"));
    assert_eq!((ann.name.as_str(), ann.visibility, ann.owner), ("Room 0", Visibility::Public, user(0)));
    // What was said before joining is not unread.
    let anton = seen(0, 1).await.unwrap();
    assert_eq!((anton.unread, anton.read_seq), (2, 0));
    assert_eq!(seen(0, 2).await.unwrap().unread, 0);
    // A visitor learns that the room is there, not what is said in it.
    let visitor = seen(0, 3).await.unwrap();
    assert_eq!((visitor.joined, visitor.unread, visitor.last_message), (false, 0, None));
    assert!(seen(1, 1).await.is_some());
    assert!(seen(1, 0).await.is_none());
    assert!(seen(9, 0).await.is_none());
}

#[tokio::test]
async fn lists_of_rooms_come_in_pages() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let first = rooms::room_list(&client, user(0), page(None, 1)).await.unwrap();
    let second = rooms::room_list(&client, user(0), page(first.next.as_deref(), 1)).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|r| r.id).collect();
    assert_eq!((ids, second.next), (vec![room(0), room(2)], None));

    let public = async |q, page| rooms::public_rooms(&client, user(1), q, page).await.unwrap();
    let first = public("ROOM", page(None, 1)).await;
    let second = public("ROOM", page(first.next.as_deref(), 5)).await;
    let found: Vec<_> = first.items.iter().chain(&second.items).map(|r| (r.id, r.joined)).collect();
    assert_eq!((found, second.next), (vec![(room(0), true), (room(2), false)], None));
    assert_eq!(public("2", Page::default()).await.items.len(), 1);
    assert_eq!(public("%", Page::default()).await.items.len(), 0);
    assert_eq!(public("\0", Page::default()).await.items.len(), 0);

    let foreign = people::people(&client, "", page(first.next.as_deref(), 1)).await;
    assert!(matches!(foreign, Err(Error::Cursor(_))), "{foreign:?}");
}

#[tokio::test]
async fn history_leads_from_the_newest_page_to_the_beginning() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let read = async |n, cursor: Option<&str>, limit| {
        messages::history(&client, room(n), user(0), From::Cursor(cursor), limit).await.unwrap()
    };
    let newest = read(0, None, Some(3)).await.unwrap();
    assert_eq!(newest.items.iter().map(|m| m.seq).collect::<Vec<_>>(), [6, 8, 11]);
    let oldest = read(0, newest.next.as_deref(), Some(3)).await.unwrap();
    assert_eq!((oldest.items.len(), &oldest.next, oldest.as_of.seq), (1, &None, 14));
    let edited = &oldest.items[0];
    assert_eq!((edited.id, edited.body.as_deref()), (mid(1), Some("eins")));
    assert_eq!((&edited.posted_at, &edited.edited_at), (&ts(5), &Some(ts(9))));
    let recalled = &newest.items[0];
    assert_eq!((&recalled.body, &recalled.recalled_at), (&None, &Some(ts(10))));

    let empty = read(2, None, None).await.unwrap();
    assert_eq!((empty.items.len(), empty.as_of.seq), (0, 14));
    assert!(read(9, None, None).await.is_none());
}

#[tokio::test]
async fn people_and_members() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let names = async |q| {
        let list = people::people(&client, q, Page::default()).await.unwrap();
        list.items.into_iter().map(|p| p.username).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["ann", "anton"]);
    assert_eq!(names("ANT").await, ["anton"]);
    assert_eq!(names("x").await, [""; 0]);
    let first = people::people(&client, "an", page(None, 1)).await.unwrap();
    let second = people::people(&client, "an", page(first.next.as_deref(), 1)).await.unwrap();
    assert_eq!((second.items[0].username.as_str(), second.next), ("anton", None));
    assert_eq!(people::person(&client, user(1)).await.unwrap().unwrap().person.username, "anton");
    assert!(people::person(&client, user(9)).await.unwrap().is_none());

    let first = members::members(&client, room(0), page(None, 2)).await.unwrap().unwrap();
    let second = members::members(&client, room(0), page(first.next.as_deref(), 2)).await.unwrap().unwrap();
    let all = first.items.iter().chain(&second.items);
    let members: Vec<_> = all.map(|m| (m.person.id, m.person.username.as_str(), m.role)).collect();
    // The third one's registration has not come yet.
    let (owner, member) = (Role::Owner, Role::Member);
    assert_eq!(members, [(user(0), "ann", owner), (user(1), "anton", member), (user(2), "", member)]);
    assert_eq!((second.next, second.as_of.seq), (None, 14));
    assert!(members::members(&client, room(9), Page::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn people_are_found_by_either_name_once_and_in_pages() {
    let world = World::new().await;
    let mut steps = vec![];
    for (n, username, nickname) in [
        (0, "ann", "Ｚoé"),
        (1, "anton", "Annika"),
        (2, "bob", "ÅNGSTRÖM"),
        (3, "carl", "Ann的"),
        (4, "zeno", ""),
        (5, "anna", "gone"),
    ] {
        steps.push(registered(n, username));
        steps.push(named(n, nickname));
    }
    steps.push(Step::Closed { user: 5 });
    // Of somebody who has not registered, as far as is known.
    steps.push(named(9, "Ann Onymous"));
    world.apply_all(&entries(&steps), 3).await;
    let client = world.front.get().await.unwrap();
    let found = async |q: &str| {
        let (mut names, mut cursor) = (vec![], None);
        loop {
            let list = people::people(&client, q, page(cursor.as_deref(), 1)).await.unwrap();
            names.extend(list.items.into_iter().map(|p| p.username));
            cursor = list.next;
            if cursor.is_none() {
                return names;
            }
        }
    };
    assert_eq!(found("").await, ["ann", "anton", "bob", "carl", "zeno"]);
    assert_eq!(found("An").await, ["ann", "carl", "anton"]);
    assert_eq!(found("ＡＮＮ").await, ["ann", "anton", "carl"]);
    assert_eq!(found("a\u{30a}ng").await, ["bob"]);
    assert_eq!(found("z").await, ["zeno", "ann"]);
    assert_eq!(found("ann的").await, ["carl"]);
    assert_eq!(found("gone").await, [""; 0]);
    assert_eq!(found("\0").await, [""; 0]);

    let bob = people::person(&client, user(2)).await.unwrap().unwrap().person;
    assert_eq!((bob.nickname.as_deref(), bob.deactivated), (Some("ÅNGSTRÖM"), false));
    let anna = people::person(&client, user(5)).await.unwrap().unwrap();
    assert!(anna.person.deactivated && anna.status.is_none());
}

#[tokio::test]
async fn who_wrote_a_message() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let of = async |n| messages::message(&client, STREAM, room(0), mid(n), user(0)).await.unwrap();
    let live = of(1).await;
    let known = live.value.unwrap();
    assert_eq!((known.message.author, known.message.gone, live.as_of.seq), (user(0), false, 14));
    assert_eq!((known.posted_at, known.edited_seq), (ts(5), 9));
    assert!(of(2).await.value.unwrap().message.gone);
    assert_eq!((of(9).await.value, of(9).await.as_of.seq), (None, 14));
}

#[tokio::test]
async fn what_the_rules_need_to_know_of_reactions_and_pins() {
    let world = World::new().await;
    let steps = [
        created(0, 0, &[0]),
        posted(0, 0, 1, "x"),
        reacted(0, 1, 1, 0, true),
        reacted(0, 2, 1, 0, true),
        reacted(0, 2, 1, 1, true),
        Step::Pinned { room: 0, by: 0, mid: 1, on: true },
        reply(0, 0, 2, 1),
    ];
    world.apply_all(&entries(&steps), 3).await;
    let client = world.front.get().await.unwrap();
    let of = async |n, by| {
        let known = messages::message(&client, STREAM, room(0), mid(n), user(by)).await.unwrap();
        known.value.unwrap().message
    };
    let counts = [(emoji(0), 2), (emoji(1), 1)];
    let expected = |on: &[u8]| Reactions::new(counts.clone(), on.iter().map(|n| (user(2), emoji(*n))));
    assert_eq!(of(1, 2).await.reactions, expected(&[0, 1]));
    assert_eq!(of(1, 3).await.reactions, expected(&[]));
    assert_eq!((of(1, 0).await.pinned, of(2, 0).await.pinned), (true, false));
    assert_eq!((of(1, 0).await.thread, of(2, 0).await.thread), (None, Some(mid(1))));
    assert_eq!(messages::pin_count(&client, room(0)).await.unwrap(), 1);
    assert_eq!(messages::place(&client, mid(2)).await.unwrap(), Some((room(0), 2)));
    assert_eq!(messages::place(&client, mid(9)).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_reactions_a_page_names_the_first_ten() {
    let world = World::new().await;
    let mut steps = vec![created(0, 0, &[0]), posted(0, 0, 1, "x")];
    steps.extend((0..15).rev().map(|n| reacted(0, n, 1, 1, true)));
    steps.extend([reacted(0, 3, 1, 0, true), reacted(0, 14, 1, 1, false)]);
    world.apply_all(&entries(&steps), 4).await;
    let client = world.front.get().await.unwrap();
    let seen = async |by| {
        let page = messages::history(&client, room(0), user(by), From::Cursor(None), None).await.unwrap();
        let reactions = page.unwrap().items.remove(0).reactions;
        reactions.into_iter().map(|r| (r.emoji, r.count, r.users, r.me)).collect::<Vec<_>>()
    };
    let first = (4..14).rev().map(user).collect::<Vec<_>>();
    let of = |me_one, me_zero| {
        vec![(emoji(1).into(), 14, first.clone(), me_one), (emoji(0).into(), 1, vec![user(3)], me_zero)]
    };
    // Who is not named is known to have reacted all the same.
    assert_eq!(seen(0).await, of(true, false));
    assert_eq!(seen(3).await, of(true, true));
    assert_eq!(seen(14).await, of(false, false));
}

#[tokio::test]
async fn raw_events_come_topic_by_topic_in_order() {
    let world = chat().await;
    let client = world.front.get().await.unwrap();
    let seqs = |events: &[events::LogEvent]| events.iter().map(|e| e.seq).collect::<Vec<_>>();
    let after = async |seq, limit| events::events_after(&client, STREAM, room(0), seq, limit).await.unwrap();
    let all = after(0, 100).await;
    assert_eq!(seqs(&all.value), [3, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!((all.as_of.epoch.as_str(), all.as_of.seq), (EPOCH, 14));
    assert_eq!((&all.value[1].ts, all.value[1].known), (&ts(5), true));
    assert_eq!(seqs(&after(7, 2).await.value), [8, 9]);
    assert_eq!(after(u64::MAX, 2).await.value, []);
    // From a position between two of its events.
    let other = events::events_after(&client, STREAM, room(2), 13, 2).await.unwrap();
    assert_eq!(seqs(&other.value), [14]);

    let state = events::room_state_events(&client, STREAM, room(0)).await.unwrap();
    assert_eq!((seqs(&state.value), state.as_of.seq), (vec![3, 7, 12], 14));
    let nothing = events::room_state_events(&client, STREAM, room(9)).await.unwrap();
    assert_eq!((nothing.value.len(), nothing.as_of.seq), (0, 14));

    let feed = events::feed_after(&client, STREAM, user(0), 0, 10).await.unwrap();
    assert_eq!(seqs(&feed.value), [1, 13]);
    let nobody = events::feed_after(&client, STREAM, user(9), 0, 10).await.unwrap();
    assert_eq!((nobody.value.len(), nobody.as_of.seq), (0, 14));
}

#[tokio::test]
async fn positions_of_streams() {
    let world = World::new().await;
    let client = world.front.get().await.unwrap();
    let unseen = readmodel::checkpoint(&client, 2).await.unwrap();
    assert_eq!((unseen.epoch.as_str(), unseen.seq), ("", 0));
    open(&mut world.projector().await, 2, "e9").await.unwrap();
    let seen = readmodel::checkpoint(&client, 2).await.unwrap();
    assert_eq!((seen.epoch.as_str(), seen.seq), ("e9", 0));
}
