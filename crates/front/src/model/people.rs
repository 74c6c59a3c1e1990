//! The fronts, and the way to them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use natterjack_database::Pool;
use natterjack_domain::{SessionId, UserId};
use natterjack_identity::{AccessTokens, Claims, Clock};
use natterjack_media::{Links, Media, Storage};
use natterjack_runtime::{config::Reader, ops::Readiness};
use time::OffsetDateTime;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use natterjack_seeds::{Rng, eventually};

use super::{
    log::Log,
    postgres,
    socket::{PipeEnd, ReadHalf, WriteHalf, pipe},
    world::{Wire, World},
};
use crate::{
    config::{HttpConfig, HubConfig, KeptConfig, PresenceConfig, SearchConfig, SocketConfig},
    hub::Hub,
    kept::{Keeper, Receipts},
    limit::Limiter,
    presence::Presence,
    projected::Projected,
    registry::Registry,
    revocation::Revocations,
    store::Store,
    ws::{Context, session},
};

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-21 12:00 UTC);
const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Fronts(Arc<Inner>);

struct Inner {
    contexts: Vec<Arc<Context>>,
    background: TaskTracker,
    stop: CancellationToken,
}

impl Fronts {
    pub fn start(world: &World, work: &mut JoinSet<()>) -> Self {
        let (background, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut rng = world.lock().rng.fork();
        let contexts = (0..=rng.index(3)).map(|front| {
            add_wires(world, front, work);
            let mut store = Store::new(pool(), 1);
            store.model = Some(world.clone());
            let hub =
                Hub::new(Log::new(world, front), store.clone(), hub_config(&mut rng), Clock::from_fn(|| NOW));
            let check = Readiness::new().observe("postgres");
            background.spawn(hub.clone().watch(stop.clone()));
            background.spawn(hub.clone().feed(stop.clone()));
            background.spawn(store.clone().watch(check, stop.clone()));
            context(hub, store, front, &mut rng)
        });
        let contexts = contexts.collect();
        work.spawn(postgres::copy(world.clone()));
        Self(Arc::new(Inner { contexts, background, stop }))
    }

    /// A connection of `user`'s to one of the fronts: the end to read from, and that to write to.
    pub fn connect(&self, user: UserId, rng: &mut Rng) -> (PipeEnd, PipeEnd) {
        let context = &self.0.contexts[rng.index(self.0.contexts.len())];
        let (from, write) = pipe(1 << (7 + rng.below(6)));
        let (read, to) = pipe(usize::MAX);
        let claims = Claims {
            user,
            session: SessionId::random(),
            username: "x".into(),
            issued_at: NOW,
            expires_at: NOW + TOKEN_LIFE,
        };
        let session =
            session::serve_over(context.clone(), ReadHalf::Pipe(read), WriteHalf::Pipe(write), claims);
        context.sessions.spawn(session);
        (from, to)
    }

    /// Once nobody is connected any more, no topic is served after a while.
    pub async fn quiet_within(self, limit: Duration) -> Result<(), String> {
        let busy = || {
            self.0.contexts.iter().find_map(|front| {
                let served = (front.hub.served_topics(), front.sessions.len(), front.appends.len());
                (served != ((0, 0), 0, 0))
                    .then(|| format!("still there: rooms and feeds, sessions, appends: {served:?}"))
            })
        };
        eventually(limit, busy).await
    }

    pub async fn stop(&self) -> Result<(), String> {
        self.0.stop.cancel();
        self.0.background.close();
        let stopped = timeout(Duration::from_secs(5), self.0.background.wait()).await;
        stopped.map_err(|_| "what runs beside the connections does not stop".into())
    }
}

fn add_wires(world: &World, front: usize, work: &mut JoinSet<()>) {
    let mut state = world.lock();
    state.wires.extend([Wire::new(), Wire::new()]);
    state.can_read.push(true);
    let epoch = state.now().epoch.clone();
    state.epochs.push(epoch);
    for wire in [2 * front, 2 * front + 1] {
        work.spawn(world.clone().carry(wire));
    }
}

/// Small, so that bounds are met with few events.
fn hub_config(rng: &mut Rng) -> HubConfig {
    HubConfig {
        tail_events: 1 + rng.index(20),
        tail_bytes: 512 + rng.index(8_000),
        tail_age: rng.millis(300, 3_000),
        idle: rng.millis(50, 1_000),
        heads_period: rng.millis(300, 1_500),
        deep_reads: 1 + rng.index(2),
        deep_read_span: [0, 10, 50, 10_000][rng.index(4)],
    }
}

fn context(hub: Hub, store: Store, front: usize, rng: &mut Rng) -> Arc<Context> {
    let mut settings = Reader::from_pairs::<String, String>([]);
    let http = HttpConfig::read(&mut settings);
    let config = SocketConfig {
        // By a real clock.
        frames_per_second: 1_000_000,
        frames_burst: 1_000_000,
        outbox_max_bytes: 512 + rng.index(4_000),
        stall_timeout: rng.millis(800, 4_000),
        ..SocketConfig::read(&mut settings)
    };
    let files = natterjack_media::Config::read(&mut settings);
    let registry = Arc::new(Registry::default());
    let projected = Projected::new(hub.log().clone(), store.clone(), Duration::from_secs(1));
    let kept = KeptConfig::read(&mut settings);
    Arc::new(Context {
        node: format!("front-{front}"),
        limiter: Arc::new(Limiter::new(&http, &config, &SearchConfig::read(&mut settings))),
        receipts: Receipts::new(hub.log().clone(), kept.receipts_members_max),
        keeper: Keeper::new(hub.clone(), store.clone(), projected.clone(), kept),
        paced: Arc::default(),
        projected,
        revocations: Revocations::new(registry.clone(), TOKEN_LIFE),
        presence: Presence::new(PresenceConfig::read(&mut settings), Clock::from_fn(|| NOW)),
        config,
        hub,
        store,
        media: Media::new(files, pool(), Storage::in_memory(), Links::new([[0; 32]])),
        tokens: tokens(),
        clock: Clock::from_fn(|| NOW),
        registry,
        draining: CancellationToken::new(),
        appends: TaskTracker::new(),
        sessions: TaskTracker::new(),
    })
}

fn tokens() -> AccessTokens {
    static TOKENS: OnceLock<AccessTokens> = OnceLock::new();
    let made = || {
        let keys = natterjack_identity::SigningKeys::generate("model").expose().parse().unwrap();
        AccessTokens::new(&keys, TOKEN_LIFE)
    };
    TOKENS.get_or_init(made).clone()
}

/// Never connects.
fn pool() -> Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    let made = || {
        natterjack_database::pool(&natterjack_database::Config::read(
            &mut Reader::from_pairs::<String, String>([]),
        ))
    };
    POOL.get_or_init(made).clone()
}
