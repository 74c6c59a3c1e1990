//! Every kind of broken promise is planted, one at a time, in a run in which all is well.

use serde_json::json;

use super::*;
use crate::history::Received;

const ROOM: &str = "r";
const EPOCH: &str = "e0";

/// A room with Ann and Bob; both follow it, Bob over two fronts.
struct Run {
    ann: Vec<Line>,
    bob: Vec<Line>,
    dump: Dump,
}

impl Run {
    fn clean() -> Self {
        let mut run = Self { ann: vec![], bob: vec![], dump: Dump::default() };
        run.dump.epochs = vec![EPOCH.to_owned()];
        run.store("state", &json!({ "type": "room.created", "id": "x1", "by": "ann", "members": ["ann"] }));
        run.store("state", &json!({ "type": "room.member_joined", "id": "x2", "by": "bob", "user": "bob" }));
        for (number, by) in [(3, "ann"), (4, "bob"), (5, "ann")] {
            run.store(
                "timeline",
                &json!({ "type": "message.posted", "id": format!("m{number}"), "by": by,
                         "cid": format!("c{number}"), "body": format!("text {number}") }),
            );
        }
        run.fill_postgres();
        run.ann = vec![
            line("ann", Happened::Open { user: "ann".into() }),
            line("ann", sub(Some(0))),
            line("ann", subbed(2, Some(true))),
            line("ann", run.receive(1, 0)),
            line("ann", run.receive(2, 1)),
            line("ann", send(3)),
            line("ann", run.receive(3, 2)),
            line("ann", ack(3)),
            line("ann", run.receive(4, 3)),
            line("ann", send(5)),
            line("ann", ack(5)),
            line("ann", run.receive(5, 4)),
        ];
        run.bob = vec![
            line("bob", Happened::Open { user: "bob".into() }),
            line("bob", sub(None)),
            line("bob", subbed(2, None)),
            line("bob", run.receive(3, 2)),
            line("bob", send(4)),
            line("bob", Happened::Close { code: Some(4001) }),
            line("bob", Happened::Open { user: "bob".into() }),
            line("bob", sub(Some(3))),
            line("bob", subbed(4, Some(true))),
            line("bob", send(4)),
            line("bob", run.receive(4, 3)),
            line("bob", ack(4)),
            line("bob", run.receive(5, 4)),
        ];
        run
    }

    fn store(&mut self, kind: &str, body: &serde_json::Value) {
        let seq = self.dump.log.len() as u64 + 1;
        let subject = format!("room.00.{ROOM}.{kind}");
        self.dump.log.push(Stored { stream: 0, seq, subject, body: body.to_string().into_bytes() });
    }

    fn fill_postgres(&mut self) {
        let mut ignored = Report::default();
        let log = Log::read(&self.dump, &mut ignored);
        let events = &log.rooms[ROOM].events;
        let posted = events.iter().filter(|event| event.kind == "message.posted" && !event.is_repeat);
        let rows = posted.zip(1..).map(|(event, ordinal)| MessageRow {
            room: ROOM.into(),
            seq: event.seq,
            mid: event.mid.clone().unwrap(),
            author: event.by.clone().unwrap(),
            cid: event.cid.clone().unwrap(),
            ordinal,
            body: event.body.clone(),
        });
        let messages = rows.collect();
        let events = self.dump.log.iter().map(|s| EventRow { stream: 0, seq: s.seq, body: s.body.clone() });
        self.dump.events = events.collect();
        self.dump.messages = messages;
        let head = self.dump.log.len() as u64;
        self.dump.checkpoints = vec![("log.checkpoints", 0, head), ("read.checkpoints", 0, head)];
    }

    /// As a front would send it.
    fn receive(&self, seq: u64, prev: u64) -> Happened {
        let stored = &self.dump.log[usize::try_from(seq).unwrap() - 1];
        let event: serde_json::Value = serde_json::from_slice(&stored.body).unwrap();
        let frame = json!({ "room": ROOM, "seq": seq, "prev": prev, "e": event });
        Happened::Receive(Received::of(&frame))
    }

    fn judge(&self) -> Report {
        judge(&[self.ann.clone(), self.bob.clone()], &self.dump, 1)
    }
}

fn line(client: &str, happened: Happened) -> Line {
    Line { at: 0, client: client.into(), front: "f".into(), happened }
}

fn sub(after: Option<u64>) -> Happened {
    Happened::Sub { room: ROOM.into(), after, epoch: None }
}

fn subbed(head: u64, recovered: Option<bool>) -> Happened {
    Happened::Subbed { room: ROOM.into(), epoch: EPOCH.into(), head, recovered }
}

fn send(number: u64) -> Happened {
    Happened::Send { room: ROOM.into(), cid: format!("c{number}"), body: format!("text {number}") }
}

fn ack(number: u64) -> Happened {
    Happened::Ack { room: ROOM.into(), cid: format!("c{number}"), seq: number, mid: format!("m{number}") }
}

fn left(run: &mut Run) {
    run.store("state", &json!({ "type": "room.member_left", "id": "x6", "by": "bob", "user": "bob" }));
    run.store(
        "timeline",
        &json!({ "type": "message.posted", "id": "m7", "by": "ann", "cid": "c7", "body": "text 7" }),
    );
    run.fill_postgres();
    for (seq, prev) in [(6, 5), (7, 6)] {
        run.ann.push(line("ann", run.receive(seq, prev)));
    }
    run.ann.push(line("ann", send(7)));
    run.ann.push(line("ann", ack(7)));
    run.bob.push(line("bob", Happened::Left { room: ROOM.into(), seq: 6 }));
    run.bob.push(line("bob", run.receive(6, 5)));
}

#[track_caller]
fn only(report: &Report, fault: Fault, count: u64) {
    let mut expected = Report { findings: report.findings.clone(), ..report.clone() };
    for zero in [
        &mut expected.lost,
        &mut expected.doubled,
        &mut expected.reordered,
        &mut expected.gaps,
        &mut expected.ghosts,
        &mut expected.unexplained,
    ] {
        *zero = 0;
    }
    expected.findings.clear();
    (0..count).for_each(|_| expected.find(fault, String::new));
    expected.findings.clone_from(&report.findings);
    assert_eq!(*report, expected);
}

#[test]
fn a_clean_run_is_clean() {
    let report = Run::clean().judge();
    assert!(report.is_good(), "{report}");
    assert_eq!((report.faults, report.acked, report.delivered), (1, 3, 6));
}

#[test]
fn a_message_that_never_came_is_lost() {
    let mut run = Run::clean();
    run.bob.pop();
    only(&run.judge(), Fault::Lost, 1);
    run.bob.push(line("bob", Happened::Quit));
    assert!(run.judge().is_good(), "who went is owed nothing");
}

#[test]
fn a_message_that_was_left_out_in_silence_is_lost() {
    let mut run = Run::clean();
    run.bob.retain(|line| !matches!(&line.happened, Happened::Receive(r) if r.seq == 4));
    let Some(Line { happened: Happened::Receive(last), .. }) = run.bob.last_mut() else { panic!() };
    last.prev = 3;
    only(&run.judge(), Fault::Lost, 1);
}

#[test]
fn a_message_that_came_twice_is_doubled() {
    let mut run = Run::clean();
    run.ann.push(line("ann", run.receive(4, 3)));
    only(&run.judge(), Fault::Doubled, 1);
}

#[test]
fn a_message_that_the_log_holds_twice_counts_once() {
    let mut run = Run::clean();
    run.store(
        "timeline",
        &json!({ "type": "message.posted", "id": "m4", "by": "bob", "cid": "c4", "body": "text 4" }),
    );
    run.fill_postgres();
    let Happened::Receive(repeat) = run.receive(6, 5) else { panic!() };
    let dropped = Received { dropped: true, ..repeat.clone() };
    run.ann.push(line("ann", Happened::Receive(dropped.clone())));
    run.bob.push(line("bob", Happened::Receive(dropped)));
    let report = run.judge();
    assert!(report.is_good(), "{report}");
    assert_eq!(report.repeats, 1);
    run.bob.pop();
    run.bob.push(line("bob", Happened::Receive(repeat)));
    only(&run.judge(), Fault::Doubled, 1);
}

#[test]
fn another_order_than_the_logs_is_reordered() {
    let mut run = Run::clean();
    // Five is said to follow on three, and four comes late.
    run.bob.truncate(9);
    run.bob.push(line("bob", run.receive(5, 3)));
    run.bob.push(line("bob", run.receive(4, 3)));
    run.bob.push(line("bob", ack(4)));
    let report = run.judge();
    assert_eq!((report.reordered, report.lost), (1, 1), "{report}");
}

#[test]
fn what_follows_on_something_that_never_came_is_a_gap() {
    let mut run = Run::clean();
    run.bob.truncate(9);
    let Happened::Receive(early) = run.receive(5, 4) else { panic!() };
    run.bob.push(line("bob", Happened::Receive(Received { dropped: true, ..early })));
    run.bob.push(line("bob", sub(Some(3))));
    run.bob.push(line("bob", subbed(5, Some(true))));
    run.bob.push(line("bob", run.receive(4, 3)));
    run.bob.push(line("bob", run.receive(5, 4)));
    run.bob.push(line("bob", ack(4)));
    only(&run.judge(), Fault::Gap, 1);
}

#[test]
fn a_reset_makes_a_gap_right() {
    let mut run = Run::clean();
    run.bob.truncate(7);
    let reset = Happened::Reset { room: Some(ROOM.into()), reason: "late_event".into() };
    for happened in [reset, sub(None), subbed(4, None), run.receive(5, 4), ack(4)] {
        run.bob.push(line("bob", happened));
    }
    let report = run.judge();
    assert!(report.is_good(), "{report}");
    assert_eq!(report.resets, 1);
}

#[test]
fn what_the_log_does_not_hold_is_a_ghost() {
    let mut run = Run::clean();
    run.store(
        "timeline",
        &json!({ "type": "message.posted", "id": "m6", "by": "ann", "cid": "c6", "body": "text 6" }),
    );
    run.bob.push(line("bob", run.receive(6, 5)));
    run.dump.log.pop();
    // It is a stranger to the room as well.
    assert_eq!(run.judge().ghosts, 1);
}

#[test]
fn what_nobody_sent_is_a_ghost() {
    let mut run = Run::clean();
    run.ann.retain(|line| line.happened != send(5));
    only(&run.judge(), Fault::Ghost, 1);
}

#[test]
fn another_text_than_the_logs_is_a_ghost() {
    let mut run = Run::clean();
    let Some(Line { happened: Happened::Receive(last), .. }) = run.bob.last_mut() else { panic!() };
    last.body = Some("text five".into());
    only(&run.judge(), Fault::Ghost, 1);
}

#[test]
fn an_acknowledgement_of_what_the_log_does_not_hold_is_a_loss() {
    let mut run = Run::clean();
    run.ann.push(line("ann", send(9)));
    run.ann.push(line("ann", ack(9)));
    only(&run.judge(), Fault::Lost, 1);
}

#[test]
fn an_acknowledgement_that_names_another_place_is_wrong() {
    let mut run = Run::clean();
    for happened in run.ann.iter_mut().map(|line| &mut line.happened) {
        if let Happened::Ack { seq, .. } = happened {
            *seq = 4;
        }
    }
    only(&run.judge(), Fault::Unexplained, 2);
}

#[test]
fn a_message_that_was_never_answered_is_wrong() {
    let mut run = Run::clean();
    run.ann.push(line("ann", send(9)));
    only(&run.judge(), Fault::Unexplained, 1);
}

#[test]
fn who_left_hears_no_more() {
    let mut run = Run::clean();
    left(&mut run);
    let report = run.judge();
    assert!(report.is_good(), "{report}");
    run.bob.push(line("bob", run.receive(7, 6)));
    only(&run.judge(), Fault::Unexplained, 1);
}

#[test]
fn who_left_hears_no_more_on_a_connection_that_did_not_hear_of_it() {
    let mut run = Run::clean();
    left(&mut run);
    run.bob.pop();
    run.bob.pop();
    run.bob.push(line("bob", run.receive(7, 6)));
    let report = run.judge();
    assert_eq!((report.unexplained, report.gaps), (1, 1), "{report}");
}

#[test]
fn who_comes_again_misses_nothing_from_then_on() {
    let mut run = Run::clean();
    left(&mut run);
    run.store("state", &json!({ "type": "room.member_joined", "id": "x8", "by": "bob", "user": "bob" }));
    run.fill_postgres();
    run.ann.push(line("ann", run.receive(8, 7)));
    run.bob.push(line("bob", Happened::Joined { room: ROOM.into(), seq: 8 }));
    for happened in [sub(Some(6)), subbed(8, Some(true)), run.receive(7, 6), run.receive(8, 7)] {
        run.bob.push(line("bob", happened));
    }
    let report = run.judge();
    assert!(report.is_good(), "{report}");
    run.bob.pop();
    only(&run.judge(), Fault::Lost, 1);
    // One who did not hear of the leaving before hears of it on the way.
    run.bob.truncate(13);
    run.bob.push(line("bob", Happened::Left { room: ROOM.into(), seq: 6 }));
    run.bob.push(line("bob", Happened::Joined { room: ROOM.into(), seq: 8 }));
    let missed = [(6, 5), (7, 6), (8, 7)].map(|(seq, prev)| run.receive(seq, prev));
    for happened in [sub(Some(5)), subbed(8, Some(true))].into_iter().chain(missed) {
        run.bob.push(line("bob", happened));
    }
    let report = run.judge();
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_member_is_not_turned_away() {
    let mut run = Run::clean();
    run.bob.push(line("bob", Happened::Reset { room: Some(ROOM.into()), reason: "not_member".into() }));
    only(&run.judge(), Fault::Unexplained, 1);
}

#[test]
fn a_reset_that_the_client_does_not_recover_from_loses_what_follows() {
    let mut run = Run::clean();
    run.bob.pop();
    run.bob.push(line("bob", Happened::Reset { room: Some(ROOM.into()), reason: "gap_too_large".into() }));
    only(&run.judge(), Fault::Lost, 1);
}

#[test]
fn another_epoch_in_a_log_that_was_never_replaced_is_wrong() {
    let mut run = Run::clean();
    run.dump.epochs = vec!["e1".into()];
    only(&run.judge(), Fault::Unexplained, 3);
}

#[test]
fn a_hole_in_the_log_is_a_loss() {
    let mut run = Run::clean();
    run.dump.log.retain(|stored| stored.seq != 4);
    let report = run.judge();
    assert!(report.lost >= 1 && report.findings.iter().any(|f| f.contains("hole")), "{report}");
}

#[test]
fn postgres_holds_what_the_log_makes_and_nothing_else() {
    type Plant = fn(&mut Dump);
    let plants: [(Fault, Plant); 7] = [
        (Fault::Lost, |dump| drop(dump.messages.pop())),
        (Fault::Lost, |dump| drop(dump.events.pop())),
        (Fault::Unexplained, |dump| dump.messages[0].body = Some("another".into())),
        (Fault::Unexplained, |dump| dump.messages[1].ordinal = 7),
        (Fault::Ghost, |dump| dump.events[1].body.push(b' ')),
        (Fault::Doubled, |dump| {
            let again = MessageRow { seq: 2, ..dump.messages[0].clone() };
            dump.messages.push(again);
        }),
        (Fault::Unexplained, |dump| dump.checkpoints[1].2 -= 1),
    ];
    for (fault, plant) in plants {
        let mut run = Run::clean();
        plant(&mut run.dump);
        only(&run.judge(), fault, 1);
    }
}

#[test]
fn a_stall_is_the_longest_time_in_which_nobody_got_an_answer() {
    let mut run = Run::clean();
    let times = [0, 0, 0, 0, 0, 1_000, 1_100, 1_200, 2_000, 5_000, 9_000, 9_000];
    run.ann.iter_mut().zip(times).for_each(|(line, at)| line.at = at);
    let times = [0, 0, 0, 0, 6_000, 6_000, 6_000, 6_000, 6_000, 7_000, 7_000, 7_000, 9_000];
    run.bob.iter_mut().zip(times).for_each(|(line, at)| line.at = at);
    let report = run.judge();
    assert!(report.is_good(), "{report}");
    assert_eq!((report.longest_stall_s, report.longest_wait_s), (2.0, 4.0));
}

#[test]
fn a_message_that_is_stored_again_under_another_id_is_doubled() {
    let mut run = Run::clean();
    run.store(
        "timeline",
        &json!({ "type": "message.posted", "id": "m6", "by": "bob", "cid": "c4", "body": "text 4" }),
    );
    run.fill_postgres();
    run.ann.push(line("ann", run.receive(6, 5)));
    run.bob.push(line("bob", run.receive(6, 5)));
    only(&run.judge(), Fault::Doubled, 1);
}

#[test]
fn a_member_whose_message_or_subscription_is_refused_for_good_is_wronged() {
    let refused = |cid: Option<&str>| Happened::Refused {
        room: ROOM.into(),
        cid: cid.map(str::to_owned),
        code: ErrorCode::NotMember.number(),
    };
    let mut run = Run::clean();
    run.ann.push(line("ann", send(9)));
    run.ann.push(line("ann", refused(Some("c9"))));
    only(&run.judge(), Fault::Unexplained, 1);
    let mut run = Run::clean();
    run.bob.push(line("bob", refused(None)));
    run.bob.push(line("bob", Happened::Joined { room: ROOM.into(), seq: 2 }));
    only(&run.judge(), Fault::Unexplained, 1);
}

#[test]
fn a_short_gap_that_is_not_recovered_is_told_of() {
    for recovered in [Some(false), None] {
        let mut run = Run::clean();
        run.bob[8] = line("bob", subbed(4, recovered));
        run.bob.retain(|line| !matches!(&line.happened, Happened::Receive(r) if r.seq == 4));
        only(&run.judge(), Fault::Unexplained, 1);
    }
}

#[test]
fn a_client_that_saw_nothing_at_all_is_told_of() {
    let run = Run::clean();
    let report = judge(&[run.ann.clone(), run.bob.clone(), vec![]], &run.dump, 1);
    only(&report, Fault::Unexplained, 1);
}
