//! The streams: defined as data in `nats/streams.json`, made once, checked at every start.

use std::{sync::LazyLock, time::Duration};

use async_nats::jetstream::{
    self,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind},
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{config::Config, soundness::Found, subject::PARTITIONS};

/// Servers that have just become a cluster may leave the first questions unanswered, or not know yet of each other.
const CLUSTER_FORMS: Duration = Duration::from_secs(15);
const CREATE_RETRY: Duration = Duration::from_millis(250);

/// The oldest nats-server that is good enough: before it, durable sync costs a cluster most of its
/// throughput, and acknowledged messages could be lost when power failed.
pub const SERVER_VERSION_MIN: (u32, u32) = (2, 15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "JetStream's own settings, named as it names them")]
struct Definition {
    name_prefix: String,
    partitions: u8,
    subjects: Vec<String>,
    republish: Republish,
    storage: StorageType,
    retention: RetentionPolicy,
    discard: DiscardPolicy,
    max_messages: i64,
    max_bytes: i64,
    max_age_secs: u64,
    max_messages_per_subject: i64,
    max_message_bytes: i32,
    duplicate_window_secs: u64,
    allow_direct: bool,
    allow_atomic_publish: bool,
    deny_purge: bool,
    deny_delete: bool,
}

#[derive(Deserialize)]
struct Republish {
    source: String,
    destination: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("nats-server {found} is too old: {}.{} or newer is needed", SERVER_VERSION_MIN.0, SERVER_VERSION_MIN.1)]
    ServerTooOld { found: String },
    #[error("the stream {name} does not exist; `natterjack migrate` makes it")]
    Missing { name: String },
    #[error("the stream {name} is not as Natterjack needs it: {}", .differences.join("; "))]
    Incompatible { name: String, differences: Vec<String> },
    #[error(
        "the stream {name} exists, but NATTERJACK_STREAMS is {streams}: the number of streams is fixed for the life of an installation"
    )]
    Superfluous { name: String, streams: u16 },
    #[error("asking for the stream {name} failed")]
    Lookup {
        name: String,
        #[source]
        source: jetstream::context::GetStreamError,
    },
    #[error("making the stream {name} failed")]
    Create {
        name: String,
        #[source]
        source: jetstream::context::CreateStreamError,
    },
}

static DEFINITION: LazyLock<Definition> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../nats/streams.json"))
        .expect("nats/streams.json is checked by a test")
});

pub fn stream_name(index: u16) -> String {
    format!("{}{index}", DEFINITION.name_prefix)
}

/// The configuration of stream `index` of an installation.
pub fn stream_config(index: u16, config: &Config) -> stream::Config {
    let d = &*DEFINITION;
    let mine = (0..d.partitions).filter(|p| u16::from(*p) % config.streams == index);
    let subjects = mine
        .flat_map(|p| d.subjects.iter().map(move |s| s.replace("{partition}", &format!("{p:02x}"))))
        .collect();
    stream::Config {
        name: stream_name(index),
        subjects,
        republish: Some(stream::Republish {
            source: d.republish.source.clone(),
            destination: d.republish.destination.clone(),
            headers_only: false,
        }),
        storage: d.storage,
        retention: d.retention,
        discard: d.discard,
        max_messages: d.max_messages,
        max_bytes: d.max_bytes,
        max_age: Duration::from_secs(d.max_age_secs),
        max_messages_per_subject: d.max_messages_per_subject,
        max_message_size: d.max_message_bytes,
        duplicate_window: Duration::from_secs(d.duplicate_window_secs),
        allow_direct: d.allow_direct,
        allow_atomic_publish: d.allow_atomic_publish,
        deny_purge: d.deny_purge,
        deny_delete: d.deny_delete,
        num_replicas: config.replicas,
        ..stream::Config::default()
    }
}

/// Makes the streams that are missing and checks all of them. Idempotent; never changes an existing stream.
pub async fn provision(context: &jetstream::Context, config: &Config) -> Result<Vec<Found>, StreamError> {
    check_server(&context.client().server_info().version)?;
    for index in 0..config.streams {
        let name = stream_name(index);
        match lookup(context, &name).await? {
            Some(info) => check(&info.config, index, config)?,
            None => create(context, index, config).await?,
        }
    }
    verify(context, config).await
}

/// Succeeds when somebody else makes the same stream at the same time.
async fn create(context: &jetstream::Context, index: u16, config: &Config) -> Result<(), StreamError> {
    let begun = Instant::now();
    loop {
        match context.create_stream(stream_config(index, config)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_of_a_young_cluster(&error) && begun.elapsed() < CLUSTER_FORMS => {
                sleep(CREATE_RETRY).await;
            }
            Err(source) => return Err(StreamError::Create { name: stream_name(index), source }),
        }
    }
}

fn is_of_a_young_cluster(error: &CreateStreamError) -> bool {
    match error.kind() {
        CreateStreamErrorKind::TimedOut => true,
        CreateStreamErrorKind::JetStream(e) => e.error_code() == jetstream::ErrorCode::CLUSTER_NO_PEERS,
        _ => false,
    }
}

/// Checks the server's version and every stream.
pub async fn verify(context: &jetstream::Context, config: &Config) -> Result<Vec<Found>, StreamError> {
    check_server(&context.client().server_info().version)?;
    let beyond = stream_name(config.streams);
    if lookup(context, &beyond).await?.is_some() {
        return Err(StreamError::Superfluous { name: beyond, streams: config.streams });
    }
    let mut streams = Vec::with_capacity(config.streams.into());
    for index in 0..config.streams {
        let name = stream_name(index);
        let info = lookup(context, &name).await?.ok_or(StreamError::Missing { name })?;
        check(&info.config, index, config)?;
        streams.push(Found::of(&info));
    }
    Ok(streams)
}

async fn lookup(context: &jetstream::Context, name: &str) -> Result<Option<stream::Info>, StreamError> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            _ => Err(StreamError::Lookup { name: name.into(), source: error }),
        },
    }
}

fn check(found: &stream::Config, index: u16, config: &Config) -> Result<(), StreamError> {
    let wanted = stream_config(index, config);
    let mut differences = vec![];
    let mut same = |what: &str, found: String, wanted: String| {
        if found != wanted {
            differences.push(format!("{what} is {found}, not {wanted}"));
        }
    };
    let republish = |c: &stream::Config| {
        c.republish.as_ref().map_or("off".into(), |r| format!("{} → {}", r.source, r.destination))
    };
    same("republish", republish(found), republish(&wanted));
    same("storage", format!("{:?}", found.storage), format!("{:?}", wanted.storage));
    same("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention));
    same("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard));
    same("the message limit", found.max_messages.to_string(), wanted.max_messages.to_string());
    same("the size limit", found.max_bytes.to_string(), wanted.max_bytes.to_string());
    same("the age limit", format!("{:?}", found.max_age), format!("{:?}", wanted.max_age));
    same(
        "the limit for each subject",
        found.max_messages_per_subject.to_string(),
        wanted.max_messages_per_subject.to_string(),
    );
    same("the number of replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string());
    same(
        "the size limit of a message",
        found.max_message_size.to_string(),
        wanted.max_message_size.to_string(),
    );
    same("deny_delete", found.deny_delete.to_string(), wanted.deny_delete.to_string());
    same("allow_direct", found.allow_direct.to_string(), wanted.allow_direct.to_string());
    same(
        "allow_atomic_publish",
        found.allow_atomic_publish.to_string(),
        wanted.allow_atomic_publish.to_string(),
    );
    same("deny_purge", found.deny_purge.to_string(), wanted.deny_purge.to_string());
    same(
        "the duplicate window",
        format!("{:?}", found.duplicate_window),
        format!("{:?}", wanted.duplicate_window),
    );
    let sorted = |c: &stream::Config| {
        let mut subjects = c.subjects.clone();
        subjects.sort();
        subjects
    };
    if sorted(found) != sorted(&wanted) {
        let (has, needs) = (found.subjects.len(), wanted.subjects.len());
        differences.push(format!(
            "it holds other subjects ({has}, not these {needs}): the number of streams differs"
        ));
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(StreamError::Incompatible { name: found.name.clone(), differences })
    }
}

fn check_server(version: &str) -> Result<(), StreamError> {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= SERVER_VERSION_MIN => Ok(()),
        _ => Err(StreamError::ServerTooOld { found: version.into() }),
    }
}

const _: () = assert!(PARTITIONS == 64);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use natterjack_runtime::config::Reader;

    use super::*;

    fn config(streams: &str) -> Config {
        let mut r = Reader::from_pairs([("NATTERJACK_STREAMS".to_string(), streams.to_string())]);
        let config = Config::read(&mut r);
        r.finish().unwrap();
        config
    }

    #[test]
    fn the_streams_of_an_installation_share_all_partitions_out_between_them() {
        assert_eq!(DEFINITION.partitions, PARTITIONS);
        for streams in ["1", "3", "64"] {
            let config = config(streams);
            let all: Vec<String> =
                (0..config.streams).flat_map(|i| stream_config(i, &config).subjects).collect();
            assert_eq!(all.len(), 128);
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 128);
        }
    }

    #[test]
    fn another_definition_is_named_for_what_differs() {
        let one = config("1");
        assert!(check(&stream_config(0, &one), 0, &one).is_ok());
        let other =
            stream::Config { max_age: Duration::from_mins(1), republish: None, ..stream_config(0, &one) };
        let message = check(&other, 0, &one).unwrap_err().to_string();
        assert!(message.contains("the age limit is 60s, not 0ns"), "{message}");
        assert!(message.contains("republish is off, not > → live.>"), "{message}");
        assert!(check(&stream_config(0, &config("3")), 0, &one).is_err());
    }

    #[test]
    fn old_servers_are_refused() {
        for (version, good) in
            [("2.15.1", true), ("2.16.0-RC.1", true), ("3.0.0", true), ("2.14.6", false), ("", false)]
        {
            assert_eq!(check_server(version).is_ok(), good, "{version}");
        }
    }
}
