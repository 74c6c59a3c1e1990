//! Accepting connections: HTTP/1.1 on bare TCP, with limits on time and number.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use natterjack_runtime::lifecycle::Shutdown;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::config::HttpConfig;

/// After an error of accept, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// What a connection reads ahead; a request's head has to fit.
const READ_BUFFER_BYTES: usize = 16_384;

/// Counts as one of the front's connections until the last clone is dropped. An upgraded connection takes one along.
#[derive(Clone)]
pub struct Slot(#[expect(dead_code, reason = "held, not used")] Arc<OwnedSemaphorePermit>);

/// Serves until `closing`, then finishes the requests that are under way. An upgraded connection is not a request any
/// more.
pub async fn run(
    listener: TcpListener,
    app: Router,
    config: &HttpConfig,
    closing: &CancellationToken,
    shutdown: &Shutdown,
) {
    let slots = Arc::new(Semaphore::new(config.connections_max));
    let connections = TaskTracker::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(READ_BUFFER_BYTES)
        .pipeline_flush(true);
    loop {
        let accepted = select! {
            () = closing.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(app.clone().map_request(
            move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(slot.clone());
                request.map(axum::body::Body::new)
            },
        ));
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let closing = closing.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let served = select! {
                served = connection.as_mut() => served,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, %peer, "a connection failed");
            }
        });
    }
    drop(listener);
    connections.close();
    select! {
        () = connections.wait() => {}
        () = shutdown.stopping() => {}
    }
}

type Accepted = (TcpStream, SocketAddr, Slot);

/// Waits for a free slot before it accepts: more connections wait in the kernel.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, Slot(Arc::new(slot))))
}
