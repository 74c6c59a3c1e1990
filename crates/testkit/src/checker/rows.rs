//! What Postgres holds against what the log makes.

use std::collections::{BTreeMap, HashMap};

use super::{
    Dump, EventRow, Fault, MessageRow, Report,
    log::{Log, Room},
};

pub fn check(dump: &Dump, log: &Log<'_>, report: &mut Report) {
    second_copy(dump, report);
    messages(dump, log, report);
    for (stream, head) in &log.heads {
        for table in ["log.checkpoints", "read.checkpoints"] {
            let found = dump.checkpoints.iter().find(|(name, of, _)| *name == table && of == stream);
            let reached = found.map_or(0, |(_, _, seq)| *seq);
            if reached != *head {
                report.find(Fault::Unexplained, || {
                    format!("{table} is at {reached} of stream {stream}, which is at {head}")
                });
            }
        }
    }
}

fn second_copy(dump: &Dump, report: &mut Report) {
    let mut rows: HashMap<(u16, u64), &EventRow> =
        dump.events.iter().map(|row| ((row.stream, row.seq), row)).collect();
    for stored in &dump.log {
        let (stream, seq) = (stored.stream, stored.seq);
        match rows.remove(&(stream, seq)) {
            None => report.find(Fault::Lost, || format!("log.events has no {seq} of stream {stream}")),
            Some(row) if row.body != stored.body => {
                report.find(Fault::Ghost, || format!("log.events has another {seq} of stream {stream}"));
            }
            Some(_) => {}
        }
    }
    for (stream, seq) in rows.into_keys() {
        report
            .find(Fault::Ghost, || format!("log.events has {seq} of stream {stream}, which the log has not"));
    }
}

fn messages(dump: &Dump, log: &Log<'_>, report: &mut Report) {
    let mut rows: BTreeMap<(&str, u64), &MessageRow> = BTreeMap::new();
    for row in &dump.messages {
        if rows.insert((&row.room, row.seq), row).is_some() {
            report.find(Fault::Doubled, || format!("read.messages has {} of {} twice", row.seq, row.room));
        }
    }
    for (name, room) in &log.rooms {
        for wanted in expected(name, room) {
            let (room, seq) = (&wanted.room, wanted.seq);
            match rows.remove(&(*name, seq)) {
                None => report.find(Fault::Lost, || format!("read.messages has no {seq} of {room}")),
                Some(row) if *row != wanted => {
                    report.find(Fault::Unexplained, || format!("read.messages has {row:?}, not {wanted:?}"));
                }
                Some(_) => {}
            }
        }
    }
    for row in rows.into_values() {
        let twice = dump.messages.iter().filter(|other| other.mid == row.mid).count() > 1;
        let fault = if twice { Fault::Doubled } else { Fault::Ghost };
        report.find(fault, || format!("read.messages has {row:?}, which nothing made"));
    }
}

/// The rows that a room's events make.
fn expected(name: &str, room: &Room) -> Vec<MessageRow> {
    let mut rows: Vec<MessageRow> = vec![];
    let mut places: HashMap<&str, usize> = HashMap::new();
    for event in &room.events {
        let (Some(mid), Some(by)) = (event.mid.as_deref(), event.by.as_deref()) else { continue };
        if event.kind == "message.posted" && !event.is_repeat {
            places.insert(mid, rows.len());
            rows.push(MessageRow {
                room: name.to_owned(),
                seq: event.seq,
                mid: mid.to_owned(),
                author: by.to_owned(),
                cid: event.cid.clone().unwrap_or_default(),
                ordinal: rows.len() as u64 + 1,
                body: event.body.clone(),
            });
        }
        let row = places.get(mid).map(|place| &mut rows[*place]);
        let Some(row) = row.filter(|row| row.author == by && row.body.is_some()) else { continue };
        match event.kind.as_str() {
            "message.edited" => row.body.clone_from(&event.body),
            "message.recalled" => row.body = None,
            _ => {}
        }
    }
    rows
}
