//! From events to what is searched: pure, and the same however the events are cut into batches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use natterjack_domain::{
    MessageBody, MessageId, RoomId, UserId,
    message::{self, Message, Posted, Reactions},
    search::{Folded, Tag},
};
use natterjack_wire::Fact;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{entry::Entry, fold::Parked};

/// Names a message.
pub type Key = (RoomId, MessageId);

/// A message as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub author: UserId,
    /// Recalled or deleted: nobody finds it.
    pub gone: bool,
    /// When the log stored it, in microseconds since 1970.
    pub posted_us: i64,
    /// Of what it bears besides its text.
    pub tags: Vec<Tag>,
    /// Folded; empty once it is gone.
    pub text: String,
    /// Empty once it is gone.
    pub terms: BTreeSet<String>,
}

/// The rows of a batch's [`keys`] that there are; what they say is not needed.
pub type Known = HashMap<Key, Row>;

/// What a batch makes of the rows.
#[derive(Debug, Default)]
pub struct Changes {
    /// As they are now, whether or not they were there before.
    pub rows: BTreeMap<Key, Row>,
    pub parked: Vec<Parked>,
}

/// The rows that a batch depends on.
pub fn keys(batch: &[Entry]) -> BTreeSet<Key> {
    batch.iter().filter_map(said).map(|(room, event)| (room, event.about().0)).collect()
}

/// Folds a batch, in the order of its stream. `known` holds the rows of the batch's [`keys`].
pub fn fold(batch: &[Entry], mut known: Known) -> Changes {
    let mut changes = Changes::default();
    for entry in batch {
        if let Err(error) = &entry.fact {
            let subject = entry.subject.map(|subject| subject.to_string()).unwrap_or_default();
            changes.parked.push(Parked { seq: entry.seq, subject, error: error.clone() });
        }
        let Some((room, event)) = said(entry) else { continue };
        let (mid, _) = event.about();
        let key = (room, mid);
        let row = match (known.get(&key), event) {
            (None, message::Event::Posted(posted)) => Some(Row::posted(room, posted, micros(&entry.ts))),
            (None, _) => None,
            (Some(row), event) => row.after(room, mid, event),
        };
        let Some(row) = row else { continue };
        known.insert(key, row.clone());
        changes.rows.insert(key, row);
    }
    changes
}

impl Row {
    fn posted(room: RoomId, posted: &Posted, posted_us: i64) -> Self {
        let attachment = (!posted.attachments.is_empty()).then_some(Tag::Attachment);
        let tags = attachment.into_iter().chain(posted.thread.map(|_| Tag::Reply)).collect();
        let (text, terms) = (String::new(), BTreeSet::new());
        Self { author: posted.by, gone: false, posted_us, tags, text, terms }.saying(room, &posted.body)
    }

    /// `None` for what changes nothing of what is found: it is not the author's, came too late, or was posted again (the first
    /// of equal ids wins).
    fn after(&self, room: RoomId, id: MessageId, event: &message::Event) -> Option<Self> {
        let mut rules = Message {
            id,
            author: self.author,
            thread: None,
            gone: self.gone,
            pinned: false,
            reactions: Reactions::default(),
        };
        let counts = rules.apply(event, &mut 0);
        match event {
            message::Event::Edited { body, .. } if counts => Some(self.clone().saying(room, body)),
            message::Event::Recalled { .. } | message::Event::Deleted { .. } if counts => {
                Some(Self { gone: true, text: String::new(), terms: BTreeSet::new(), ..self.clone() })
            }
            message::Event::Posted(_)
            | message::Event::Edited { .. }
            | message::Event::Recalled { .. }
            | message::Event::Deleted { .. }
            | message::Event::Reacted { .. }
            | message::Event::Pinned { .. }
            | message::Event::Unpinned { .. } => None,
        }
    }

    fn saying(mut self, room: RoomId, body: &MessageBody) -> Self {
        let folded = Folded::of(body.as_str());
        self.terms = folded.lexemes();
        let link = has_link(body.as_str()).then_some(Tag::Link);
        let tags = [Tag::Room(room), Tag::Author(self.author)].into_iter().chain(link);
        self.terms.extend(tags.chain(self.tags.iter().copied()).map(|tag| tag.to_string()));
        self.text = folded.into_string();
        self
    }
}

/// What changes what is found.
fn said(entry: &Entry) -> Option<(RoomId, &message::Event)> {
    let (Some(room), Ok(Fact::Message(event))) = (entry.room(), &entry.fact) else { return None };
    match event {
        message::Event::Posted(_)
        | message::Event::Edited { .. }
        | message::Event::Recalled { .. }
        | message::Event::Deleted { .. } => Some((room, event)),
        message::Event::Reacted { .. } | message::Event::Pinned { .. } | message::Event::Unpinned { .. } => {
            None
        }
    }
}

fn has_link(text: &str) -> bool {
    let is_web = |at: usize| {
        let mut before = text[..at].rsplit(|c: char| !c.is_ascii_alphabetic());
        before
            .next()
            .is_some_and(|scheme| ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)))
    };
    text.match_indices("://").any(|(at, _)| is_web(at))
}

/// 1970 for what is no time.
fn micros(ts: &str) -> i64 {
    let nanos = OffsetDateTime::parse(ts, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp_nanos);
    i64::try_from(nanos / 1_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_times() {
        let links =
            [("see HTTPS://example.org", true), ("http://x", true), ("ftp://x", false), ("://", false)];
        for (text, expected) in links {
            assert_eq!(has_link(text), expected, "{text}");
        }
        assert_eq!(micros("1970-01-01T00:00:01.000002999Z"), 1_000_002);
        assert_eq!(micros("never"), 0);
    }
}
