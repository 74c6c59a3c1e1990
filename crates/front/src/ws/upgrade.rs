//! From an HTTP request to a WebSocket on the bare TCP connection (RFC 6455, section 4.2).

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use natterjack_identity::Claims;
use natterjack_wire::{ErrorCode, frame::SUBPROTOCOL};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Context, session};
use crate::{fault::Fault, limit::AddressSlot, serve::Slot};

/// A connection that is about to be a WebSocket.
pub(super) struct Arrival {
    pub upgraded: OnUpgrade,
    /// Who it is, when the request said so.
    pub bearer: Option<Claims>,
    pub held: Held,
}

/// What a connection takes of the front's limits, until it is dropped.
#[derive(Default)]
pub(super) struct Held {
    _slot: Option<Slot>,
    _address: Option<AddressSlot>,
}

/// `GET /v1/ws`. An `Authorization` header serves in place of the token in `hello`.
pub async fn upgrade(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Fault> {
    if context.sessions.is_closed() {
        return Err(ErrorCode::Draining.into());
    }
    let headers = request.headers();
    let key = handshake_key(headers)?;
    let bearer = match headers.get(header::AUTHORIZATION) {
        Some(value) => Some(context.verify(bearer_token(value)?)?),
        None => None,
    };
    let protocol = offers_ours(headers).then(|| HeaderValue::from_static(SUBPROTOCOL));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = context.limiter.address(peer, headers);
    let address_slot = address.map(|address| context.limiter.connection(address)).transpose()?;
    let slot = request.extensions().get::<Slot>().cloned();
    let held = Held { _slot: slot, _address: address_slot };
    let arrival = Box::new(Arrival { upgraded: hyper::upgrade::on(request), bearer, held });
    context.sessions.spawn(session::serve(context.clone(), arrival));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let out = response.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if let Some(protocol) = protocol {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

pub fn bearer_token(value: &HeaderValue) -> Result<&str, ErrorCode> {
    value.to_str().ok().and_then(|v| v.strip_prefix("Bearer ")).ok_or(ErrorCode::TokenInvalid)
}

pub(crate) fn handshake_key(headers: &HeaderMap) -> Result<HeaderValue, Fault> {
    let has = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|v: &HeaderValue| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    let expected = |detail: &str| Fault::from(ErrorCode::UpgradeExpected).because(detail);
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(expected("Connection: Upgrade and Upgrade: websocket are missing"));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(expected("Sec-WebSocket-Version has to be 13"));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|key| is_nonce(key.as_bytes()) && keys.next().is_none());
    let key = key.ok_or(expected("Sec-WebSocket-Key has to be one of 16 bytes in Base64"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|error| Fault::caused(ErrorCode::Internal, error))
}

/// 16 bytes in Base64.
fn is_nonce(key: &[u8]) -> bool {
    let digits = key.strip_suffix(b"==").unwrap_or_default();
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}

pub(crate) fn offers_ours(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    offers.flat_map(|v| v.split(',')).any(|offer| offer.trim() == SUBPROTOCOL)
}
