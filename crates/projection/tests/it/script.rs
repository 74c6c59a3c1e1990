//! Made-up events: by hand, and at random.

use bytes::Bytes;
use natterjack_domain::{
    AttachmentId, ClientId, EventId, InviteId, MessageBody, MessageId, Reason, Role, RoomId, RoomName,
    RoomTopic, ScheduleId, UserId, Visibility,
    attachment::{Attachment, AttachmentKind},
    message::{self, Emoji, Forwarded, Mentions, Posted},
    profile::{Nickname, Profile},
    room,
    user::{
        self, DoNotDisturb, NotifyLevel,
        schedule::{self, Plan},
    },
};
use natterjack_eventlog::Subject;
use natterjack_projection::Entry;
use natterjack_wire::{Fact, StoredEvent};
use proptest::prelude::*;
use uuid::Uuid;

pub fn user(n: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x1000 + u128::from(n)))
}

pub fn room(n: u8) -> RoomId {
    RoomId::from_uuid(Uuid::from_u128(0x2000 + u128::from(n)))
}

pub fn mid(n: u8) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(0x3000 + u128::from(n)))
}

/// What happens; the numbers name rooms, people and messages.
#[derive(Debug, Clone)]
pub enum Step {
    Created {
        room: u8,
        by: u8,
        members: Vec<u8>,
        private: bool,
    },
    Joined {
        room: u8,
        user: u8,
    },
    Left {
        room: u8,
        user: u8,
    },
    /// Any other change of a room.
    State {
        room: u8,
        event: room::Event,
    },
    Posted {
        room: u8,
        by: u8,
        mid: u8,
        body: String,
        reply_to: Option<u8>,
    },
    Edited {
        room: u8,
        by: u8,
        mid: u8,
        body: String,
    },
    Recalled {
        room: u8,
        by: u8,
        mid: u8,
    },
    /// A message that bears more than words.
    Said {
        room: u8,
        by: u8,
        mid: u8,
        thread: Option<u8>,
        named: Vec<u8>,
        all: bool,
    },
    /// An edit that says whom it calls.
    Reworded {
        room: u8,
        by: u8,
        mid: u8,
        named: Vec<u8>,
    },
    Deleted {
        room: u8,
        by: u8,
        mid: u8,
    },
    Reacted {
        room: u8,
        by: u8,
        mid: u8,
        emoji: u8,
        on: bool,
    },
    Pinned {
        room: u8,
        by: u8,
        mid: u8,
        on: bool,
    },
    Registered {
        user: u8,
        username: String,
    },
    Named {
        user: u8,
        nickname: String,
    },
    Closed {
        user: u8,
    },
    Read {
        user: u8,
        room: u8,
        seq: u64,
    },
    Unread {
        user: u8,
        room: u8,
        seq: u64,
    },
    /// Anything else that a person keeps.
    Kept {
        user: u8,
        what: Keep,
    },
    /// Bytes that are no event, on a room's timeline.
    Garbage {
        room: u8,
    },
    /// An event of the future, on a room's state.
    Newer {
        room: u8,
    },
    /// An event that bears no front's mark.
    Forged {
        room: u8,
        by: u8,
        mid: u8,
    },
    /// A message on no subject of the log's.
    Foreign,
}

/// What a person keeps; the numbers name rooms, messages and schedules.
#[derive(Debug, Clone)]
pub enum Keep {
    Delivered { room: u8, seq: u64 },
    ThreadRead { room: u8, thread: u8, seq: u64 },
    ThreadFollowed { room: u8, thread: u8, on: bool },
    Draft { room: u8, thread: Option<u8>, body: Option<String> },
    Saved { room: u8, mid: u8, on: bool },
    Notify { room: u8, level: NotifyLevel },
    Quiet { until: Option<u64> },
    Scheduled { sid: u8, room: u8, at: u64 },
    Schedule { sid: u8, event: schedule::Event },
}

impl Keep {
    fn event(&self, id: UserId) -> user::Event {
        match self.clone() {
            Self::Delivered { room: r, seq } => user::Event::Delivered { id, room: room(r), seq },
            Self::ThreadRead { room: r, thread, seq } => {
                user::Event::ThreadRead { id, room: room(r), thread: mid(thread), seq }
            }
            Self::ThreadFollowed { room: r, thread, on } => {
                user::Event::ThreadFollowed { id, room: room(r), thread: mid(thread), on }
            }
            Self::Draft { room: r, thread, body } => {
                let body = body.map(|body| MessageBody::parse(&body, 8_000).unwrap());
                user::Event::DraftSaved { id, room: room(r), thread: thread.map(mid), body }
            }
            Self::Saved { room: r, mid: m, on } => {
                user::Event::MessageSaved { id, room: room(r), mid: mid(m), on }
            }
            Self::Notify { room: r, level } => user::Event::NotifyChanged { id, room: room(r), level },
            Self::Quiet { until } => {
                user::Event::DndChanged { id, dnd: DoNotDisturb { until, ..DoNotDisturb::default() } }
            }
            Self::Scheduled { sid: s, room: r, at } => {
                let body = MessageBody::parse("later", 10).unwrap();
                let plan = Plan {
                    room: room(r),
                    at,
                    body,
                    reply_to: None,
                    thread: None,
                    mentions: Mentions::default(),
                };
                user::Event::Schedule { id, sid: sid(s), event: schedule::Event::Scheduled { plan } }
            }
            Self::Schedule { sid: s, event } => user::Event::Schedule { id, sid: sid(s), event },
        }
    }
}

pub fn sid(n: u8) -> ScheduleId {
    ScheduleId::from_uuid(Uuid::from_u128(0x4000 + u128::from(n)))
}

pub fn posted(room: u8, by: u8, mid: u8, body: &str) -> Step {
    Step::Posted { room, by, mid, body: body.into(), reply_to: None }
}

pub fn reply(room: u8, by: u8, mid: u8, thread: u8) -> Step {
    Step::Said { room, by, mid, thread: Some(thread), named: vec![], all: false }
}

pub fn reacted(room: u8, by: u8, mid: u8, emoji: u8, on: bool) -> Step {
    Step::Reacted { room, by, mid, emoji, on }
}

pub fn emoji(n: u8) -> Emoji {
    Emoji::parse(&format!(":e{n}:")).unwrap()
}

pub fn edited(room: u8, by: u8, mid: u8, body: &str) -> Step {
    Step::Edited { room, by, mid, body: body.into() }
}

pub fn created(room: u8, by: u8, members: &[u8]) -> Step {
    Step::Created { room, by, members: members.into(), private: false }
}

pub fn registered(user: u8, username: &str) -> Step {
    Step::Registered { user, username: username.into() }
}

pub fn named(user: u8, nickname: &str) -> Step {
    Step::Named { user, nickname: nickname.into() }
}

/// The entries of a stream that begins with `steps`.
pub fn entries(steps: &[Step]) -> Vec<Entry> {
    steps.iter().zip(1..).map(|(step, seq)| entry(step, seq)).collect()
}

/// The time at which the log stored the event `seq`.
pub fn ts(seq: u64) -> String {
    format!("2026-11-20T19:{:02}:{:02}.00000000{}Z", seq / 60 % 60, seq % 60, seq % 9 + 1)
}

pub fn entry(step: &Step, seq: u64) -> Entry {
    let mut known = true;
    let (subject, body) = match step {
        Step::Garbage { room: r } => (Subject::timeline(room(*r)), Bytes::from_static(b"\xff{\0")),
        Step::Newer { room: r } => {
            (Subject::state(room(*r)), Bytes::from_static(br#"{"v":2,"type":"room.merged"}"#))
        }
        Step::Foreign => return Entry::foreign(seq),
        step => {
            known = !matches!(step, Step::Forged { .. });
            let (subject, id, fact) = fact(step);
            (subject, StoredEvent::new(id, &fact).encode())
        }
    };
    Entry::new(seq, subject, ts(seq), known, body)
}

#[expect(clippy::too_many_lines, reason = "one after the other")]
pub fn fact(step: &Step) -> (Subject, EventId, Fact) {
    let text = |body: &str| MessageBody::parse(body, 8_000).unwrap();
    let id = EventId::random();
    match step {
        Step::Created { room: r, by, members, private } => {
            let name = Some(RoomName::parse(&format!("Room {r}")).unwrap());
            let visibility = if *private { Visibility::Private } else { Visibility::Public };
            let members = members.iter().map(|n| user(*n)).collect();
            let event =
                room::Event::Created { by: user(*by), kind: room::Kind::Room, name, visibility, members };
            (Subject::state(room(*r)), id, Fact::Room(event))
        }
        Step::Joined { room: r, user: u } => {
            let event = room::Event::MemberJoined { by: user(*u), user: user(*u), invite: None };
            (Subject::state(room(*r)), id, Fact::Room(event))
        }
        Step::Left { room: r, user: u } => {
            let event = room::Event::MemberLeft { by: user(*u), user: user(*u), reason: None };
            (Subject::state(room(*r)), id, Fact::Room(event))
        }
        Step::State { room: r, event } => (Subject::state(room(*r)), id, Fact::Room(event.clone())),
        Step::Posted { room: r, by, mid: m, body, reply_to } => {
            let (body, reply_to) = (text(body), reply_to.map(mid));
            let cid = ClientId::from_uuid(Uuid::from_u128(u128::from(*m)));
            let posted = Posted { reply_to, ..Posted::plain(mid(*m), user(*by), cid, body) };
            let fact = Fact::Message(message::Event::Posted(posted));
            (Subject::timeline(room(*r)), mid(*m).into(), fact)
        }
        Step::Edited { room: r, by, mid: m, body } => {
            let (mentions, meta) = (Mentions::default(), None);
            let event =
                message::Event::Edited { id: mid(*m), by: user(*by), body: text(body), mentions, meta };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Said { room: r, by, mid: m, thread, named, all } => {
            let cid = ClientId::from_uuid(Uuid::from_u128(u128::from(*m)));
            let posted = Posted {
                thread: thread.map(mid),
                mentions: mentions(named, *all),
                meta: serde_json::from_str(r#"{"sticker":"frog"}"#).unwrap(),
                forwarded: Some(Forwarded { room: room(7), mid: mid(7), author: user(7) }),
                attachments: vec![attachment()],
                ..Posted::plain(mid(*m), user(*by), cid, text("more than words"))
            };
            let fact = Fact::Message(message::Event::Posted(posted));
            (Subject::timeline(room(*r)), mid(*m).into(), fact)
        }
        Step::Reworded { room: r, by, mid: m, named } => {
            let event = message::Event::Edited {
                id: mid(*m),
                by: user(*by),
                body: text("in other words"),
                mentions: mentions(named, true),
                meta: serde_json::from_str(r#"{"code":[1,2]}"#).unwrap(),
            };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Deleted { room: r, by, mid: m } => {
            let reason = Some(Reason::parse("spam").unwrap());
            let event = message::Event::Deleted { id: mid(*m), by: user(*by), reason };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Reacted { room: r, by, mid: m, emoji: e, on } => {
            let event = message::Event::Reacted { id: mid(*m), by: user(*by), emoji: emoji(*e), on: *on };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Pinned { room: r, by, mid: m, on } => {
            let (message, by) = (mid(*m), user(*by));
            let event = if *on {
                message::Event::Pinned { id: message, by }
            } else {
                message::Event::Unpinned { id: message, by }
            };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Recalled { room: r, by, mid: m } | Step::Forged { room: r, by, mid: m } => {
            let event = message::Event::Recalled { id: mid(*m), by: user(*by) };
            (Subject::timeline(room(*r)), id, Fact::Message(event))
        }
        Step::Registered { user: u, username } => {
            let event = user::Event::Registered { id: user(*u), username: username.clone() };
            (Subject::feed(user(*u)), id, Fact::User(event))
        }
        Step::Named { user: u, nickname } => {
            let profile = Profile { nickname: Nickname::parse(nickname).ok(), ..Profile::default() };
            let event = user::Event::ProfileChanged { id: user(*u), profile };
            (Subject::feed(user(*u)), id, Fact::User(event))
        }
        Step::Closed { user: u } => {
            (Subject::feed(user(*u)), id, Fact::User(user::Event::Deactivated { id: user(*u) }))
        }
        Step::Read { user: u, room: r, seq } => {
            let event = user::Event::Read { id: user(*u), room: room(*r), seq: *seq };
            (Subject::feed(user(*u)), id, Fact::User(event))
        }
        Step::Unread { user: u, room: r, seq } => {
            let event = user::Event::MarkedUnread { id: user(*u), room: room(*r), seq: *seq };
            (Subject::feed(user(*u)), id, Fact::User(event))
        }
        Step::Kept { user: u, what } => (Subject::feed(user(*u)), id, Fact::User(what.event(user(*u)))),
        Step::Garbage { .. } | Step::Newer { .. } | Step::Foreign => panic!("{step:?} is no fact"),
    }
}

fn mentions(named: &[u8], all: bool) -> Mentions {
    Mentions::new(named.iter().map(|n| user(*n)).collect(), all, false).unwrap()
}

fn attachment() -> Attachment {
    Attachment {
        id: AttachmentId::from_uuid(Uuid::from_u128(0x4000)),
        kind: AttachmentKind::File,
        name: "notes.txt".into(),
        mime: "text/plain".into(),
        size: 7,
        width: None,
        height: None,
        duration_ms: None,
        waveform: vec![],
        blur: None,
    }
}

/// Whatever may become of a room, whether it makes sense or not.
fn states() -> impl Strategy<Value = room::Event> {
    let someone = || (0u8..4).prop_map(user);
    let until = || prop::option::of(1u64..3);
    let reason = || prop::option::of("[a-z]{1,4}".prop_map(|text| Reason::parse(&text).unwrap()));
    let roles = prop::sample::select(Role::ALL.to_vec());
    let invite = || (0u128..2).prop_map(|n| InviteId::from_uuid(Uuid::from_u128(n)));
    let change =
        (prop::option::of("[a-zé]{0,3}"), prop::option::of(0u32..3), prop::option::of(any::<bool>()));
    prop_oneof![
        2 => (someone(), someone(), prop::option::of(invite()))
            .prop_map(|(by, user, invite)| room::Event::MemberJoined { by, user, invite }),
        1 => (someone(), someone(), reason())
            .prop_map(|(by, user, reason)| room::Event::MemberLeft { by, user, reason }),
        2 => (someone(), someone(), roles).prop_map(|(by, user, role)| room::Event::RoleChanged { by, user, role }),
        1 => (someone(), someone(), until(), reason())
            .prop_map(|(by, user, until, reason)| room::Event::MemberMuted { by, user, until, reason }),
        1 => (someone(), someone()).prop_map(|(by, user)| room::Event::MemberUnmuted { by, user }),
        2 => (someone(), someone(), until(), reason())
            .prop_map(|(by, user, until, reason)| room::Event::MemberBanned { by, user, until, reason }),
        1 => (someone(), someone()).prop_map(|(by, user)| room::Event::MemberUnbanned { by, user }),
        1 => (someone(), change).prop_map(|(by, (text, number, flag))| {
            let changes = room::Changes {
                name: text.as_ref().and_then(|text| RoomName::parse(text).ok()),
                topic: text.and_then(|text| RoomTopic::parse(&text).ok()),
                slow_mode_s: number,
                members_max: number,
                read_only: flag,
                visibility: flag.map(|public| if public { Visibility::Public } else { Visibility::Private }),
                ..room::Changes::default()
            };
            room::Event::Changed { by, changes }
        }),
        1 => someone().prop_map(|by| room::Event::Archived { by }),
        1 => someone().prop_map(|by| room::Event::Restored { by }),
        1 => (someone(), invite(), until(), prop::option::of(1u32..3)).prop_map(
            |(by, invite, expires, uses_max)| room::Event::InviteCreated { by, invite, expires, uses_max }
        ),
        1 => (someone(), invite()).prop_map(|(by, invite)| room::Event::InviteRevoked { by, invite }),
        1 => someone().prop_map(|by| room::Event::Deleted { by }),
    ]
}

fn keeps() -> impl Strategy<Value = Keep> {
    let (r, m, n) = (|| 0u8..3, || 0u8..3, || 0u64..40);
    let ends = prop_oneof![
        Just(schedule::Event::Begun),
        Just(schedule::Event::Cancelled),
        n().prop_map(|seq| schedule::Event::Sent { seq }),
        (0u16..3).prop_map(|code| schedule::Event::Failed { code }),
    ];
    prop_oneof![
        1 => (r(), n()).prop_map(|(room, seq)| Keep::Delivered { room, seq }),
        1 => (r(), m(), n()).prop_map(|(room, thread, seq)| Keep::ThreadRead { room, thread, seq }),
        1 => (r(), m(), any::<bool>()).prop_map(|(room, thread, on)| Keep::ThreadFollowed { room, thread, on }),
        2 => (r(), prop::option::of(m()), prop::option::of("[a-z]{1,3}"))
            .prop_map(|(room, thread, body)| Keep::Draft { room, thread, body }),
        2 => (r(), m(), any::<bool>()).prop_map(|(room, mid, on)| Keep::Saved { room, mid, on }),
        1 => (r(), prop::sample::select(&NotifyLevel::ALL))
            .prop_map(|(room, level)| Keep::Notify { room, level }),
        1 => prop::option::of(n()).prop_map(|until| Keep::Quiet { until }),
        3 => (m(), r(), n()).prop_map(|(sid, room, at)| Keep::Scheduled { sid, room, at }),
        4 => (m(), ends).prop_map(|(sid, event)| Keep::Schedule { sid, event }),
    ]
}

/// Few rooms, people and messages, so that steps meet.
pub fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let (r, u, m) = (|| 0u8..3, || 0u8..4, || 0u8..6);
    let text = || "[a-z的]{1,6}";
    let one = prop_oneof![
        2 => (r(), u(), prop::collection::vec(u(), 0..4), any::<bool>())
            .prop_map(|(room, by, members, private)| Step::Created { room, by, members, private }),
        2 => (r(), u()).prop_map(|(room, user)| Step::Joined { room, user }),
        2 => (r(), u()).prop_map(|(room, user)| Step::Left { room, user }),
        6 => (r(), states()).prop_map(|(room, event)| Step::State { room, event }),
        8 => (r(), u(), m(), text(), prop::option::of(m())).prop_map(|(room, by, mid, body, reply_to)| {
            Step::Posted { room, by, mid, body, reply_to }
        }),
        4 => (r(), u(), m(), text()).prop_map(|(room, by, mid, body)| Step::Edited { room, by, mid, body }),
        2 => (r(), u(), m()).prop_map(|(room, by, mid)| Step::Recalled { room, by, mid }),
        4 => (r(), u(), m(), prop::option::of(m()), prop::collection::vec(u(), 0..3), any::<bool>()).prop_map(
            |(room, by, mid, thread, named, all)| Step::Said { room, by, mid, thread, named, all }
        ),
        2 => (r(), u(), m(), prop::collection::vec(u(), 0..3))
            .prop_map(|(room, by, mid, named)| Step::Reworded { room, by, mid, named }),
        1 => (r(), u(), m()).prop_map(|(room, by, mid)| Step::Deleted { room, by, mid }),
        6 => (r(), u(), m(), 0u8..3, any::<bool>())
            .prop_map(|(room, by, mid, emoji, on)| Step::Reacted { room, by, mid, emoji, on }),
        3 => (r(), u(), m(), any::<bool>()).prop_map(|(room, by, mid, on)| Step::Pinned { room, by, mid, on }),
        1 => (u(), text()).prop_map(|(user, username)| Step::Registered { user, username }),
        1 => (u(), text()).prop_map(|(user, nickname)| Step::Named { user, nickname }),
        1 => u().prop_map(|user| Step::Closed { user }),
        2 => (u(), r(), 0u64..40).prop_map(|(user, room, seq)| Step::Read { user, room, seq }),
        1 => (u(), r(), 0u64..40).prop_map(|(user, room, seq)| Step::Unread { user, room, seq }),
        4 => (u(), keeps()).prop_map(|(user, what)| Step::Kept { user, what }),
        1 => r().prop_map(|room| Step::Garbage { room }),
        1 => r().prop_map(|room| Step::Newer { room }),
        1 => (r(), u(), m()).prop_map(|(room, by, mid)| Step::Forged { room, by, mid }),
        1 => Just(Step::Foreign),
    ];
    prop::collection::vec(one, 0..count)
}
