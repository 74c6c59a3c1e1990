//! One connection to NATS, and what is known of its health.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use crate::{config::Config, metrics};

/// The health of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    pub connected: bool,
    /// Grows whenever messages may have been missed: after each reconnect, and when the client
    /// dropped messages because they were not taken in time.
    pub gaps: u64,
}

#[derive(Clone)]
pub(crate) struct Connection {
    pub client: Client,
    pub link: watch::Receiver<Link>,
}

/// Messages that wait for one subscriber; beyond it they are dropped, which counts as a gap.
const SUBSCRIPTION_CAPACITY: usize = 8_192;
/// A server that leaves three of them unanswered is gone, though the connection stands.
const PING_EVERY: Duration = Duration::from_secs(2);
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

pub(crate) async fn connect(
    config: &Config,
    purpose: &'static str,
) -> Result<Connection, async_nats::ConnectError> {
    let (sender, link) = watch::channel(Link::default());
    let sender = Arc::new(sender);
    let mut options = ConnectOptions::new()
        .name(format!("natterjack {purpose}"))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .connection_timeout(Duration::from_secs(3))
        .ping_interval(PING_EVERY)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            RECONNECT_DELAY_MAX.min(Duration::from_millis(20) * u32::try_from(attempt).unwrap_or(u32::MAX))
        })
        .event_callback(move |event| {
            note(&sender, purpose, &event);
            std::future::ready(())
        });
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    let servers: Vec<_> = config.url.split(',').map(str::trim).collect();
    let connection = Connection { client: options.connect(servers).await?, link };
    // The client says so a moment later.
    connection.connected().await;
    Ok(connection)
}

fn note(link: &watch::Sender<Link>, purpose: &'static str, event: &Event) {
    match event {
        Event::Connected => link.send_modify(|link| {
            let again = link.gaps > 0 || link.connected;
            if again {
                tracing::info!(purpose, "connected to nats-server again");
            }
            // The first connection is no gap, but nobody listens yet who could mind.
            link.gaps += 1;
            link.connected = true;
        }),
        Event::Disconnected => {
            // Also heard when the connection is given up on purpose.
            tracing::info!(purpose, "connection to nats-server ended");
            link.send_modify(|link| link.connected = false);
        }
        Event::Closed => link.send_modify(|link| link.connected = false),
        Event::SlowConsumer(_) => {
            metrics::slow_consumer();
            link.send_modify(|link| link.gaps += 1);
        }
        Event::LameDuckMode | Event::Draining | Event::ServerError(_) => {
            tracing::warn!(purpose, %event, "nats connection");
        }
        // One for each attempt to connect again.
        Event::ClientError(_) => tracing::debug!(purpose, %event, "nats connection"),
    }
}

impl Connection {
    /// Completes as soon as the connection stands.
    pub async fn connected(&self) {
        // The sender lives as long as the client: an error cannot be.
        let _ = self.link.clone().wait_for(|link| link.connected).await;
    }
}
