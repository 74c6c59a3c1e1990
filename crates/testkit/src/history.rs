//! What a client did and saw, written down while it happens, to be judged afterwards.
//!
//! A history is a file of JSON lines, one object each, flat, in the order in which things happened to the client.
//! Every line has
//!
//! | Field | |
//! |---|---|
//! | `at` | milliseconds since the run began, by one clock for all clients of the run |
//! | `client` | one view of the chat: a name that no other history has |
//! | `front` | where it was connected, or wanted to be; any name |
//! | `do` | what happened, and with it the fields below |
//!
//! | `do` | Fields | |
//! |---|---|---|
//! | `open` | `user` | welcomed on a new connection, as this person (an id) |
//! | `close` | `code?` | the connection ended, by whomever |
//! | `sub` | `room, after?, epoch?` | asked to follow a room; without `after` from now on |
//! | `subbed` | `room, epoch, head, recovered?` | the answer. `recovered: false`: the view of the room begins anew at `head` |
//! | `send` | `room, cid, body` | a message, at each try; tries have the same `cid` |
//! | `ack` | `room, cid, seq, mid` | `ok` came for it |
//! | `refused` | `room, cid?, code` | `err` came: for the message `cid`, or, without, for `sub` |
//! | `receive` | `room, seq, prev, type?, mid?, cid?, by?, body?, dropped?` | an `ev` frame, each that comes |
//! | `reset` | `room?, reason` | the server says to begin anew |
//! | `joined`, `left` | `room, seq` | the client joined or left by itself: the position that REST answered |
//! | `quit` | | the client goes for good before the end of the run: nothing more is expected of it |
//!
//! Of `receive`: `type`, `cid`, `by`, `body` are those of the event `e`, where it has them; `mid` is the message that it
//! is about: the event's `id` for `message.posted`, its `mid` for edits and recalls. `dropped: true` says that
//! the client did not count the event, by the rule of `docs/protocol.md` (seen already, a repeat of a message, beyond a gap): a
//! client that records only what it shows leaves it out. Where nothing is to be said of a field it is left out or null.
//!
//! A client that does not `quit` is expected to have, at the end of the run, everything of each room that it follows.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    time::Instant,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: u64,
    pub client: String,
    pub front: String,
    #[serde(flatten)]
    pub happened: Happened,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Happened {
    Open {
        user: String,
    },
    Close {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
    Sub {
        room: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<String>,
    },
    Subbed {
        room: String,
        epoch: String,
        head: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
    },
    Send {
        room: String,
        cid: String,
        body: String,
    },
    Ack {
        room: String,
        cid: String,
        seq: u64,
        mid: String,
    },
    Refused {
        room: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<String>,
        code: u16,
    },
    Receive(Received),
    Reset {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        reason: String,
    },
    Joined {
        room: String,
        seq: u64,
    },
    Left {
        room: String,
        seq: u64,
    },
    Quit,
}

/// An event as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub room: String,
    pub seq: u64,
    pub prev: u64,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

impl Received {
    /// Reads an `ev` frame.
    pub fn of(frame: &serde_json::Value) -> Self {
        let event = &frame["e"];
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let kind = text("type");
        let mid = if kind.as_deref() == Some("message.posted") { text("id") } else { text("mid") };
        Self {
            room: frame["room"].as_str().unwrap_or_default().to_owned(),
            seq: frame["seq"].as_u64().unwrap_or_default(),
            prev: frame["prev"].as_u64().unwrap_or_default(),
            kind,
            mid,
            cid: text("cid"),
            by: text("by"),
            body: text("body"),
            dropped: false,
        }
    }
}

/// Writes one client's history.
pub struct Recorder {
    began: Instant,
    client: String,
    out: BufWriter<File>,
}

impl Recorder {
    /// `began`: when the run began.
    pub fn create(path: &Path, client: &str, began: Instant) -> io::Result<Self> {
        Ok(Self { began, client: client.to_owned(), out: BufWriter::new(File::create(path)?) })
    }

    /// Each line is in the file before the next thing happens: a history is worth most when its writer dies.
    pub fn note(&mut self, front: &str, happened: Happened) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = Line { at, client: self.client.clone(), front: front.to_owned(), happened };
        let written = serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from);
        let written = written.and_then(|()| writeln!(self.out)).and_then(|()| self.out.flush());
        written.expect("the history can be written");
    }
}

/// Reads a history. A last line that was cut off by the death of its writer does not count.
pub fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let texts: Vec<String> = BufReader::new(file).lines().collect::<io::Result<_>>()?;
    let mut lines = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match serde_json::from_str(text) {
            Ok(line) => lines.push(line),
            Err(error) if index + 1 == texts.len() && error.is_eof() => {}
            Err(error) => anyhow::bail!("{}:{}: {error}", path.display(), index + 1),
        }
    }
    Ok(lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_flat_and_reads_back() {
        let given = json!({
            "at": 5, "client": "c1", "front": "f", "do": "receive", "room": "r", "seq": 7, "prev": 3,
            "type": "message.posted", "mid": "m", "cid": "c", "by": "u", "body": "hello"
        });
        let line: Line = serde_json::from_value(given.clone()).unwrap();
        assert!(matches!(&line.happened, Happened::Receive(r) if r.seq == 7 && !r.dropped));
        assert_eq!(serde_json::to_value(&line).unwrap(), given);
        let short: Line =
            serde_json::from_str(r#"{"at":1,"client":"c","front":"f","do":"close","code":null}"#).unwrap();
        assert_eq!(short.happened, Happened::Close { code: None });
    }

    #[test]
    fn a_recorded_history_reads_back_up_to_where_its_writer_died() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c1.jsonl");
        let mut recorder = Recorder::create(&path, "c1", Instant::now()).unwrap();
        recorder.note("f", Happened::Open { user: "u".into() });
        recorder.note("f", Happened::Quit);
        recorder.out.get_mut().write_all(br#"{"at":3,"client":"c1","fr"#).unwrap();
        let lines = read(&path).unwrap();
        let happened: Vec<_> = lines.into_iter().map(|line| line.happened).collect();
        assert_eq!(happened, [Happened::Open { user: "u".into() }, Happened::Quit]);
    }
}
