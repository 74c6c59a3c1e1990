//! Putting a front together, and taking it down.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use natterjack_database::Pool;
use natterjack_eventlog::OpenError;
use natterjack_identity::{Clock, Identity};
use natterjack_media::{Links, Media, Storage};
use natterjack_runtime::{
    lifecycle::Shutdown,
    metrics::InstallError,
    ops::{self, Check, Readiness},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    select,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    hub::Hub,
    identity::Accounts,
    kept::{Keeper, Receipts},
    limit::Limiter,
    outside::Log,
    presence::Presence,
    projected::Projected,
    registry::Registry,
    relay,
    rest::{self, Parts},
    revocation::Revocations,
    rooms::Rooms,
    schedules::Schedules,
    search::Searches,
    serve as http,
    store::Store,
    ws,
};

/// How often what readiness shows is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// A load balancer gets this long to see that the front drains, before it takes no more connections.
const UNREADY_LEAD: Duration = Duration::from_millis(250);
const TIDY_EVERY: Duration = Duration::from_mins(5);
/// Connections that wait to be accepted. Those of a front that died come all at once, and who finds no place tries again
/// only after a second.
const BACKLOG: u32 = 4_096;
const OPEN_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the log is not usable")]
    Log(#[from] OpenError),
    #[error(transparent)]
    Metrics(#[from] InstallError),
    #[error("attachments cannot be stored")]
    Storage(#[from] natterjack_media::OpenError),
    #[error("{address} cannot be listened on")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Runs a front with the operators' endpoints beside it, which outlive the drain so that it can be watched.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let exporter = natterjack_runtime::metrics::install()?;
    crate::metrics::describe();
    let send_bytes = config.http.send_buffer_bytes;
    let bind = |address| listen(address, send_bytes).map_err(|source| RunError::Listen { address, source });
    let (listener, ops_listener) = (bind(config.listen)?, bind(config.ops.listen)?);
    tracing::info!(listen = %config.listen, ops = %config.ops.listen, node = config.node, "front");
    let readiness = Readiness::new();
    let watched = ops::serve(ops_listener, readiness.clone(), exporter, CancellationToken::new());
    select! {
        served = serve(config, listener, readiness, shutdown) => served,
        _ = watched => Ok(()),
    }
}

/// `send_bytes`: what the kernel keeps for each connection that does not read, where it would take megabytes.
fn listen(address: SocketAddr, send_bytes: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections have it from the listener.
    socket.set_send_buffer_size(send_bytes)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the shutdown drains and everything under way is finished. Waits for nats-server as long as
/// it takes; Postgres may be away. Streams that are missing or not as they must be are an error.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let nats = readiness.require("nats");
    let pool = natterjack_database::pool(&config.database);
    let media = media(&config, &pool)?;
    let (postgres, writable) = (readiness.observe("postgres"), readiness.observe("log"));
    let Some(log) = open(&config, &nats, &shutdown).await? else { return Ok(()) };
    let clock = Clock::common();
    let identity = Identity::with_clock(config.identity.clone(), pool.clone(), clock.clone());
    let store = Store::new(pool, log.streams());
    let registry = Arc::new(Registry::default());
    let token_life = Duration::from_secs(identity.access_tokens().ttl_secs());
    let revocations = Revocations::new(registry.clone(), token_life);
    let hub = Hub::new(log.clone(), store.clone(), config.hub.clone(), clock.clone());
    select! {
        () = shutdown.draining() => return Ok(()),
        () = hub.connected() => {}
    }
    revocations.catch_up(&identity).await;
    let projected = Projected::new(log.clone(), store.clone(), config.http.read_wait);
    let keeper = Keeper::new(hub.clone(), store.clone(), projected.clone(), config.kept.clone());
    let limiter = Arc::new(Limiter::new(&config.http, &config.socket, &config.search));
    let presence = Presence::new(config.presence.clone(), clock.clone());
    let sockets = Arc::new(ws::Context {
        node: config.node.clone(),
        config: config.socket.clone(),
        hub: hub.clone(),
        presence: presence.clone(),
        store: store.clone(),
        projected: projected.clone(),
        keeper: keeper.clone(),
        receipts: Receipts::new(log.clone(), config.kept.receipts_members_max),
        paced: Arc::default(),
        media: media.clone(),
        tokens: identity.access_tokens().clone(),
        clock,
        registry: registry.clone(),
        revocations: revocations.clone(),
        limiter: limiter.clone(),
        draining: CancellationToken::new(),
        appends: TaskTracker::new(),
        sessions: TaskTracker::new(),
    });

    // These serve the connections until the last of them is closed, beyond the drain.
    let stop = CancellationToken::new();
    let background = TaskTracker::new();
    background.spawn(hub.clone().watch(stop.clone()));
    background.spawn(hub.clone().feed(stop.clone()));
    background.spawn(projected.clone().listen(stop.clone()));
    background.spawn(revocations.clone().listen(log.clone(), identity.clone(), stop.clone()));
    background.spawn(presence.clone().run(log.clone(), identity.clone(), stop.clone()));
    background.spawn(relay::run(log.clone(), identity.clone(), stop.clone()));
    background.spawn({
        let (log, stop) = (log.clone(), stop.clone());
        async move { stop.run_until_cancelled(log.hear()).await.unwrap_or_default() }
    });
    let checks = LogChecks { nats, writable };
    let patience = config.socket.cut_off_timeout;
    background.spawn(watch_log(log.clone(), hub.clone(), checks, registry.clone(), patience, stop.clone()));
    background.spawn(store.clone().watch(postgres, stop.clone()));
    let schedules = Schedules::new(sockets.clone());
    background.spawn(schedules.clone().run(config.database.clone(), stop.clone()));
    background.spawn(media.clone().collect_until(stop.clone()));
    background.spawn(tidy(limiter.clone(), identity.clone(), stop.clone()));

    let parts = Parts {
        searches: Searches::new(hub.clone(), store.clone(), &config.search),
        accounts: Arc::new(Accounts::new(identity, revocations, limiter.clone(), log)),
        presence,
        rooms: Rooms::new(hub, &config.rooms),
        keeper,
        schedules,
        store,
        projected,
        media,
        limiter,
        sockets: sockets.clone(),
    };
    let app = rest::router(parts, &config.http, config.web_dir.as_deref());
    let closing = sockets.draining.clone();
    let serving = http::run(listener, app, &config.http, &closing, &shutdown);
    let draining = async {
        shutdown.draining().await;
        readiness.drain();
        sleep(UNREADY_LEAD).await;
        closing.cancel();
        sockets.sessions.close();
        registry.drain(config.socket.drain_window).await;
        sockets.sessions.wait().await;
        sockets.appends.close();
        sockets.appends.wait().await;
    };
    tokio::join!(serving, async {
        select! {
            () = draining => {}
            () = shutdown.stopping() => {}
        }
    });
    stop.cancel();
    background.close();
    let _ = timeout(Duration::from_secs(1), background.wait()).await;
    Ok(())
}

/// `None` when the shutdown came first.
async fn open(config: &Config, nats: &Check, shutdown: &Shutdown) -> Result<Option<Log>, RunError> {
    loop {
        let opened = select! {
            () = shutdown.draining() => return Ok(None),
            opened = Log::open(&config.log) => opened,
        };
        match opened {
            Ok(log) => return Ok(Some(log)),
            Err(error) if error.may_pass() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "waiting for nats-server");
                nats.unready(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        sleep(OPEN_RETRY).await;
    }
}

fn media(config: &Config, pool: &Pool) -> Result<Media, RunError> {
    let links = Links::new(config.identity.keys.derive("links to attachments"));
    Ok(Media::new(config.media.clone(), pool.clone(), Storage::open(&config.media)?, links))
}

/// What readiness says of the log.
struct LogChecks {
    nats: Check,
    writable: Check,
}

/// A front whose log takes no events still serves those who read. Clients of one that has been cut off for longer than
/// `patience` are told to go to another one: here they would take it that nobody says anything.
async fn watch_log(
    log: Log,
    hub: Hub,
    LogChecks { nats, writable }: LogChecks,
    registry: Arc<Registry>,
    patience: Duration,
    stop: CancellationToken,
) {
    let mut every = interval(HEALTH_EVERY);
    log.is_heard_soon().await;
    let mut heard = Instant::now();
    loop {
        select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if log.is_heard() {
            heard = Instant::now();
        } else if heard.elapsed() > patience && !log.is_heard_soon().await {
            registry.send_away();
        }
        if log.is_writable() && hub.is_connected() && log.is_heard() {
            nats.ready();
        } else {
            nats.unready("not connected");
        }
        match log.trouble() {
            None => writable.ready(),
            Some(trouble) => writable.unready(trouble.to_string()),
        }
    }
}

/// Forgets what has run out.
async fn tidy(limiter: Arc<Limiter>, identity: Identity, stop: CancellationToken) {
    let mut every = interval(TIDY_EVERY);
    loop {
        select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        limiter.prune();
        if let Err(error) = identity.prune().await {
            tracing::debug!(%error, "sessions that ran out are kept for now");
        }
    }
}
