//! nats-server, its clock and the streams.

use std::time::{Duration, SystemTime};

use async_nats::{Client, ConnectOptions};
use natterjack_eventlog::{Config, Log, SERVER_VERSION_MIN, stream_name};
use serde_json::Value;
use tokio::time::timeout;

use super::{Check, chain, database::clock_check};

const WITHIN: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Findings {
    pub checks: Vec<Check>,
    /// The last sequence of each stream; empty when unknown.
    pub heads: Vec<u64>,
}

pub async fn check(config: &Config) -> Findings {
    let client = match timeout(WITHIN, connect(config)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return unreachable(config, &chain(&error)),
        Err(_) => return unreachable(config, "no answer within 5 s"),
    };
    let mut findings = Findings::default();
    findings.checks.push(version(&client));
    let info = stream_info(&client, 0).await;
    findings.checks.push(clock(info.as_ref()));
    findings.checks.push(streams(config).await);
    findings.checks.push(store(&client).await);
    findings.checks.push(holes(&client, config.streams).await);
    findings.heads = heads(&client, config.streams).await.unwrap_or_default();
    findings
}

/// Nothing leaves the log by itself: each sequence is there. What a disk has spoilt since, nats-server counts as there.
async fn holes(client: &Client, streams: u16) -> Check {
    const NAME: &str = "log holes";
    let mut missing = 0;
    for stream in 0..streams {
        let Some((info, _)) = stream_info(client, stream).await else {
            return Check::skipped(NAME, "the streams cannot be asked for");
        };
        let number = |name: &str| info["state"][name].as_u64().unwrap_or(0);
        missing += number("last_seq").saturating_sub(number("messages"));
    }
    if missing == 0 {
        return Check::ok(NAME, "none that nats-server knows of");
    }
    let hint =
        "was something deleted by hand? What Postgres has a copy of is in log.events; see docs/operations.md";
    Check::failed(NAME, format!("{missing} event(s) are missing"), hint)
}

/// Whether the log gives the event that a projector needs next, and still reaches as far as the tables.
pub async fn after_checkpoints(config: &Config, checkpoints: &[u64]) -> Option<String> {
    let log = timeout(WITHIN, Log::open(config)).await.ok()?.ok()?;
    for (stream, reached) in (0..log.streams()).zip(checkpoints) {
        let last = log.last_seq(stream).await.ok()?;
        let name = stream_name(stream);
        if last < *reached {
            return Some(format!("{name} ends at {last}, but the tables reflect it up to {reached}"));
        }
        if last > *reached && log.again(stream, reached + 1).await.ok()?.is_none() {
            return Some(format!("{name} has a hole: the event at {} cannot be read", reached + 1));
        }
    }
    None
}

async fn connect(config: &Config) -> Result<Client, async_nats::ConnectError> {
    let mut options = ConnectOptions::new().name("natterjack doctor").connection_timeout(WITHIN);
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    let urls: Vec<&str> = config.url.split(',').map(str::trim).collect();
    options.connect(urls).await
}

fn unreachable(config: &Config, reason: &str) -> Findings {
    let detail = format!("{} cannot be reached: {reason}", config.url);
    let hint = "is it running, and are NATTERJACK_NATS_URL, _USER and _PASSWORD right?";
    let skip = |name| Check::skipped(name, "nats-server cannot be reached");
    let checks = vec![
        Check::failed("nats-server", detail, hint),
        skip("nats clock"),
        skip("streams"),
        skip("log store"),
        skip("log holes"),
    ];
    Findings { checks, heads: Vec::new() }
}

fn version(client: &Client) -> Check {
    const NAME: &str = "nats-server";
    let found = client.server_info().version;
    let (major, minor) = SERVER_VERSION_MIN;
    if natterjack_stack::tools::nats_is_new_enough(&found) {
        return Check::ok(NAME, format!("version {found}"));
    }
    let detail = format!("version {found} is older than {major}.{minor}");
    Check::failed(NAME, detail, "upgrade it: older ones can lose acknowledged messages when the power fails")
}

fn clock(info: Option<&(Value, SystemTime)>) -> Check {
    const NAME: &str = "nats clock";
    let Some((info, here)) = info else {
        return Check::skipped(NAME, "no stream to ask for the time");
    };
    let there = info["ts"].as_str().and_then(parse_time);
    there.map_or_else(
        || Check::skipped(NAME, "the answer holds no time"),
        |there| clock_check(NAME, there, *here),
    )
}

fn parse_time(text: &str) -> Option<SystemTime> {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).ok().map(SystemTime::from)
}

async fn streams(config: &Config) -> Check {
    const NAME: &str = "streams";
    match timeout(WITHIN, Log::open(config)).await {
        Ok(Ok(_)) => Check::ok(NAME, format!("{} stream(s), set up as they must be", config.streams)),
        Ok(Err(error)) => {
            let hint = "`natterjack migrate` makes missing streams; settings that differ are changed by hand";
            Check::failed(NAME, chain(&error), hint)
        }
        Err(_) => Check::failed(NAME, "no answer within 5 s", "does the cluster have a leader? See its /jsz"),
    }
}

/// How full the space for streams is.
async fn store(client: &Client) -> Check {
    const NAME: &str = "log store";
    let Some(info) = ask(client, "$JS.API.INFO").await else {
        return Check::failed(
            NAME,
            "JetStream does not answer",
            "is it switched on in the server's configuration?",
        );
    };
    let used = info["storage"].as_u64().unwrap_or(0);
    let limit = info["limits"]["max_storage"].as_u64();
    let detail = format!("{} MiB used", used >> 20);
    match limit {
        Some(limit) if used > limit / 10 * 9 => Check::warning(
            NAME,
            format!("{detail} of {} MiB", limit >> 20),
            "a full log refuses messages: make room",
        ),
        _ => Check::ok(NAME, detail),
    }
}

async fn heads(client: &Client, streams: u16) -> Option<Vec<u64>> {
    let mut heads = Vec::with_capacity(usize::from(streams));
    for stream in 0..streams {
        let (info, _) = stream_info(client, stream).await?;
        heads.push(info["state"]["last_seq"].as_u64()?);
    }
    Some(heads)
}

/// With the time here, half-way between question and answer.
async fn stream_info(client: &Client, stream: u16) -> Option<(Value, SystemTime)> {
    let before = SystemTime::now();
    let info = ask(client, &format!("$JS.API.STREAM.INFO.{}", stream_name(stream))).await?;
    let travelled = before.elapsed().unwrap_or_default();
    Some((info, before + travelled / 2))
}

/// `None` when there is no answer or it is an error.
async fn ask(client: &Client, subject: &str) -> Option<Value> {
    let answer = timeout(WITHIN, client.request(subject.to_owned(), "".into())).await.ok()?.ok()?;
    let value: Value = serde_json::from_slice(&answer.payload).ok()?;
    value.get("error").is_none().then_some(value)
}
