//! What was sent against what the log holds: nothing acknowledged is missing, and nothing is there that nobody sent.

use std::collections::{HashMap, HashSet};

use super::{Fault, Report, is_transient, log::Log, settled, user_of};
use crate::history::{Happened, Line};

pub fn check(histories: &[Vec<Line>], log: &Log<'_>, report: &mut Report) {
    // Person, room and the client's own id for the message; its text.
    let mut sent: HashMap<(&str, &str, &str), &str> = HashMap::new();
    let mut acked = HashSet::new();
    for history in histories {
        let Some(user) = user_of(history) else { continue };
        let settled = settled(history);
        let mut waiting = HashSet::new();
        for Line { client, happened, .. } in history {
            match happened {
                Happened::Send { room, cid, body } => {
                    sent.insert((user, room, cid), body);
                    if !settled.contains(cid.as_str()) {
                        waiting.insert(cid.as_str());
                    }
                }
                Happened::Ack { room, cid, seq, mid } => {
                    acked.insert((user, room, cid));
                    acknowledged(log, report, (client, user), (room, cid), (*seq, mid));
                }
                Happened::Refused { room, cid: Some(cid), code } if !is_transient(*code) => {
                    waiting.remove(cid.as_str());
                    if log.never_left(room, user) {
                        let words = || format!("{client}: {cid} was refused ({code}) to a member of {room}");
                        report.find(Fault::Unexplained, words);
                    }
                }
                Happened::Quit => waiting.clear(),
                _ => {}
            }
        }
        for cid in waiting {
            report.find(Fault::Unexplained, || format!("{user} never got an answer to {cid}"));
        }
    }
    report.acked = acked.len() as u64;
    ghosts(&sent, log, report);
}

fn acknowledged(
    log: &Log<'_>,
    report: &mut Report,
    (client, user): (&str, &str),
    (room, cid): (&str, &str),
    (seq, mid): (u64, &str),
) {
    let is_it = |event: &super::log::Event| {
        event.kind == "message.posted"
            && (event.by.as_deref(), event.cid.as_deref()) == (Some(user), Some(cid))
    };
    if log.event(room, seq).is_some_and(|event| is_it(event) && event.mid.as_deref() == Some(mid)) {
        return;
    }
    let elsewhere = log.rooms.get(room).and_then(|room| room.events.iter().find(|event| is_it(event)));
    match elsewhere {
        None => report.find(Fault::Lost, || {
            format!("{client}: {cid} was acknowledged at {seq} of {room} and is not in the log")
        }),
        Some(event) => report.find(Fault::Unexplained, || {
            format!("{client}: {cid} was acknowledged as {mid} at {seq} of {room} and is {event:?}")
        }),
    }
}

fn ghosts(sent: &HashMap<(&str, &str, &str), &str>, log: &Log<'_>, report: &mut Report) {
    for (name, room) in &log.rooms {
        for event in room.events.iter().filter(|event| event.kind == "message.posted") {
            let (by, cid) = (event.by.as_deref().unwrap_or(""), event.cid.as_deref().unwrap_or(""));
            // What ends a text with spaces is cut off.
            let text = sent.get(&(by, name, cid)).map(|text| text.trim_end());
            if text.is_none() || text != event.body.as_deref() {
                report.find(Fault::Ghost, || format!("{name} holds {event:?}, sent was {text:?}"));
            }
        }
    }
}
