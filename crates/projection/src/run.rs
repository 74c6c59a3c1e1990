//! The projector as a process.

use std::{io, sync::Arc};

use natterjack_database::pool;
use natterjack_eventlog::Log;
use natterjack_runtime::{
    lifecycle::Shutdown,
    metrics::InstallError,
    ops::{self, Readiness},
};
use tokio::{net::TcpListener, select, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::{Config, Pace},
    follow::Follower,
    health::Health,
    metrics,
    recheck::Recheck,
    search::{self, Indexer},
};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Metrics(#[from] InstallError),
    #[error("the operators' port cannot be opened")]
    Listen(#[source] io::Error),
    #[error("the operators' endpoints failed")]
    Ops(#[source] io::Error),
}

/// Projects until draining begins, with the operators' endpoints beside it. Postgres and the log may be away
/// at any time, also at the start.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let exporter = natterjack_runtime::metrics::install()?;
    let listener = TcpListener::bind(config.ops.listen).await.map_err(RunError::Listen)?;
    let readiness = Readiness::new();
    let serving = ops::serve(listener, readiness.clone(), exporter, CancellationToken::new());
    let projecting = project(&config, &readiness, &shutdown);
    select! {
        served = serving => served.map_err(RunError::Ops),
        () = projecting => Ok(()),
    }
}

/// Projects until draining begins, for a process that has its own endpoints.
pub async fn project(config: &Config, readiness: &Readiness, shutdown: &Shutdown) {
    metrics::describe();
    search::metrics::describe();
    natterjack_database::metrics::describe();
    natterjack_eventlog::metrics::describe();
    let health = Health::new(readiness, config.log.streams);
    let Some(log) = open_log(config, &health, shutdown).await else { return };
    let mut database = config.database.clone();
    // Each stream keeps one connection.
    database.pool_size = database.pool_size.max(usize::from(log.streams()));
    let pool = pool(&database);
    let recheck = Arc::new(Recheck::default());
    let mut followers = JoinSet::new();
    for stream in 0..log.streams() {
        let follower = Follower {
            stream,
            log: log.clone(),
            pool: pool.clone(),
            pace: config.pace,
            health: health.clone(),
            recheck: recheck.clone(),
            shutdown: shutdown.clone(),
        };
        followers.spawn(follower.run());
    }
    index(config, log.streams(), readiness, shutdown, &mut followers);
    let drained = async {
        shutdown.draining().await;
        readiness.drain();
    };
    tokio::join!(finished(followers), drained);
    info!("the projector has finished");
}

/// What is searched, with connections of its own.
fn index(
    config: &Config,
    streams: u16,
    readiness: &Readiness,
    shutdown: &Shutdown,
    followers: &mut JoinSet<()>,
) {
    let mut database = config.database.clone();
    database.pool_size = streams.into();
    let pool = pool(&database);
    let health = Health::of_search(readiness, streams);
    for stream in 0..streams {
        let (pool, health, shutdown) = (pool.clone(), health.clone(), shutdown.clone());
        followers.spawn(Indexer { stream, pool, pace: config.search, health, shutdown }.run());
    }
}

/// A panic of one is a panic of all: the process ends and is started again.
async fn finished(mut followers: JoinSet<()>) {
    while let Some(ended) = followers.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// `None` when draining begins before the log could be opened.
async fn open_log(config: &Config, health: &Health, shutdown: &Shutdown) -> Option<Log> {
    let mut delay = Pace::RETRY_DELAY;
    loop {
        let error = select! {
            opened = Log::open(&config.log) => match opened {
                Ok(log) => return Some(log),
                Err(error) => error,
            },
            () = shutdown.draining() => return None,
        };
        warn!(error = &error as &dyn std::error::Error, "the log cannot be opened yet");
        health.unready(&error.to_string());
        select! {
            () = sleep(delay) => {}
            () = shutdown.draining() => return None,
        }
        delay = (delay * 2).min(config.pace.retry_delay_max);
    }
}
