//! The way that clients take: a WebSocket through whatever stands in front.

use std::time::Duration;

use natterjack_wire::frame::SUBPROTOCOL;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    self,
    client::IntoClientRequest as _,
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
};

use super::{Check, chain};

const NAME: &str = "websocket";
const WITHIN: Duration = Duration::from_secs(5);

pub async fn check(public_url: &str) -> Check {
    let Some(address) = public_url.strip_prefix("http://") else {
        // No TLS in this program: what ends it stands in front.
        return Check::skipped(NAME, format!("{public_url} is not http: try it with a browser"));
    };
    let url = format!("ws://{}/v1/ws", address.trim_end_matches('/'));
    match timeout(WITHIN, upgrade(&url)).await {
        Ok(Ok(())) => Check::ok(NAME, format!("{url} upgrades to {SUBPROTOCOL}")),
        Ok(Err(detail)) => Check::failed(NAME, format!("{url}: {detail}"), HINT),
        Err(_) => Check::failed(NAME, format!("{url}: no answer within 5 s"), HINT),
    }
}

const HINT: &str = "is a front running, is NATTERJACK_PUBLIC_URL right, and does the proxy pass Upgrade, \
    Connection and Sec-WebSocket-Protocol on?";

async fn upgrade(url: &str) -> Result<(), String> {
    let told = |error: tungstenite::Error| chain(&error);
    let mut request = url.into_client_request().map_err(told)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (mut socket, response) = tokio_tungstenite::connect_async(request).await.map_err(told)?;
    let _ = socket.close(None).await;
    match response.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        Some(protocol) if protocol == SUBPROTOCOL => Ok(()),
        _ => Err(format!("something else than a front answers: it does not speak {SUBPROTOCOL}")),
    }
}
