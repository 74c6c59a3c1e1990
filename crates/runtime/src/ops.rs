//! The operators' HTTP endpoints, on a port of their own that the public never reaches:
//! `/healthz` (the process is alive), `/readyz` (it should be given work), `/metrics`.

mod readiness;

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{
    net::TcpListener,
    select,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::readiness::{Check, CheckReport, Readiness, Report};
use crate::{config::Reader, metrics::Exporter};

/// How often recorded samples are folded into their buckets when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long open connections may go on after the stop.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Where the endpoints are served.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub listen: SocketAddr,
}

impl Config {
    /// Reads `NATTERJACK_OPS_LISTEN`.
    pub fn read(r: &mut Reader) -> Self {
        Self { listen: r.parse("NATTERJACK_OPS_LISTEN", ([127, 0, 0, 1], 9180).into()) }
    }
}

/// The three endpoints, to be served or merged.
pub fn router(readiness: Readiness, exporter: Exporter) -> Router {
    let ready = Router::new().route("/readyz", get(readyz)).with_state(readiness);
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(exporter);
    Router::new().route("/healthz", get(async || "ok\n")).merge(ready).merge(metrics)
}

/// Serves the endpoints until `stop` is cancelled.
///
/// Let it outlive the drain (give it a token that is cancelled last), so that `/readyz` answers 503
/// while connections move elsewhere.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    exporter: Exporter,
    stop: CancellationToken,
) -> io::Result<()> {
    let app = router(readiness, exporter.clone());
    let graceful = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        sleep(CLOSE_LIMIT).await;
    };
    select! {
        served = graceful.into_future() => served,
        () = deadline => Ok(()),
        () = keep_up(exporter) => Ok(()),
    }
}

async fn keep_up(exporter: Exporter) {
    let mut ticks = interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        exporter.upkeep();
    }
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn metrics(State(exporter): State<Exporter>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exporter.render())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn readiness_follows_the_required_checks_until_the_drain() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, stop) = (Readiness::new(), CancellationToken::new());
        let exporter = crate::metrics::install().unwrap();
        let server = tokio::spawn(serve(listener, readiness.clone(), exporter, stop.clone()));
        let (nats, postgres) = (readiness.require("nats"), readiness.observe("postgres"));

        let (status, body) = fetch(address, "/readyz").await;
        assert_eq!(status, 503);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected =
            serde_json::json!({"name": "nats", "ready": false, "required": true, "reason": "starting"});
        assert_eq!(body["checks"][0], expected);

        nats.ready();
        postgres.unready("connection refused");
        assert_eq!(fetch(address, "/readyz").await.0, 200);
        readiness.drain();
        assert_eq!(fetch(address, "/readyz").await.0, 503);
        assert_eq!(fetch(address, "/healthz").await, (200, "ok\n".to_owned()));

        let (status, text) = fetch(address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("natterjack_ready{check=\"postgres\"} 0"), "{text}");

        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
