//! The subjects of the log, and how they are spread over partitions and streams.

use std::{fmt, str::FromStr};

use natterjack_domain::{RoomId, UserId};

/// Number of logical partitions. It stands in every stored subject and never changes.
pub const PARTITIONS: u8 = 64;

/// What a group of subjects is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Room(RoomId),
    User(UserId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What a room's rules depend on.
    State,
    /// What is said in a room.
    Timeline,
    /// A person's own events.
    Feed,
}

/// `room.<pp>.<room>.state`, `room.<pp>.<room>.timeline` or `user.<pp>.<user>.feed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub topic: Topic,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a subject of the log")]
pub struct InvalidSubject;

impl Topic {
    pub const fn partition(&self) -> u8 {
        match self {
            Self::Room(id) => id.partition(),
            Self::User(id) => id.partition(),
        }
    }

    /// The stream that holds this topic, of `streams` streams.
    pub const fn stream(&self, streams: u16) -> u16 {
        self.partition() as u16 % streams
    }

    /// Where everything that is live about the topic is heard: republished events and ephemeral signals.
    pub fn live(&self) -> String {
        format!("live.{self}.*")
    }

    /// Where ephemeral signals are sent.
    pub fn ephemeral(&self) -> String {
        format!("live.{self}.eph")
    }

    /// Matches every stored subject of the topic.
    pub fn all_kinds(&self) -> String {
        format!("{self}.*")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(id) => write!(f, "room.{:02x}.{id}", id.partition()),
            Self::User(id) => write!(f, "user.{:02x}.{id}", id.partition()),
        }
    }
}

impl Subject {
    pub const fn state(room: RoomId) -> Self {
        Self { topic: Topic::Room(room), kind: Kind::State }
    }

    pub const fn timeline(room: RoomId) -> Self {
        Self { topic: Topic::Room(room), kind: Kind::Timeline }
    }

    pub const fn feed(user: UserId) -> Self {
        Self { topic: Topic::User(user), kind: Kind::Feed }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::State => "state",
            Kind::Timeline => "timeline",
            Kind::Feed => "feed",
        };
        write!(f, "{}.{kind}", self.topic)
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let mut tokens = text.split('.');
        let mut next = || tokens.next().ok_or(InvalidSubject);
        let (domain, partition, id, kind) = (next()?, next()?, next()?, next()?);
        let subject = match (domain, kind) {
            ("room", "state") => Self::state(id.parse().map_err(|_| InvalidSubject)?),
            ("room", "timeline") => Self::timeline(id.parse().map_err(|_| InvalidSubject)?),
            ("user", "feed") => Self::feed(id.parse().map_err(|_| InvalidSubject)?),
            _ => return Err(InvalidSubject),
        };
        let partition_fits = u8::from_str_radix(partition, 16) == Ok(subject.topic.partition());
        if tokens.next().is_some() || partition.len() != 2 || !partition_fits {
            return Err(InvalidSubject);
        }
        Ok(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back_and_anything_else_does_not() {
        let (room, user) = (RoomId::random(), UserId::random());
        for subject in [Subject::state(room), Subject::timeline(room), Subject::feed(user)] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        let pp = format!("{:02x}", room.partition());
        let other = format!("{:02x}", (room.partition() + 1) % 64);
        for bad in [
            String::new(),
            "room".into(),
            format!("room.{pp}.{room}"),
            format!("room.{pp}.{room}.feed"),
            format!("room.{pp}.{room}.state.x"),
            format!("room.{other}.{room}.state"),
            format!("room.{pp}.*.state"),
            format!("live.room.{pp}.{room}.state"),
        ] {
            assert_eq!(bad.parse::<Subject>(), Err(InvalidSubject), "{bad}");
        }
    }

    #[test]
    fn every_partition_belongs_to_exactly_one_stream() {
        for streams in [1, 3, 64] {
            let topic = Topic::Room(RoomId::random());
            assert_eq!(topic.stream(streams), u16::from(topic.partition()) % streams);
        }
    }
}
