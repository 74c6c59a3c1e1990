//! What is seen of each request: a span, a count, a time.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use natterjack_wire::ErrorCode;
use tracing::{Span, info_span};

use crate::{fault::Fault, metrics};

/// Neither query nor headers: they may hold what does not belong into a log.
pub fn span<B>(request: &axum::http::Request<B>) -> Span {
    let id = request.headers().get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
    info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

pub async fn count(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = label(request.method());
    // Files have no route of their own, so that a scan of made-up paths does not become made-up labels.
    let route = request.extensions().get::<MatchedPath>().map_or("files", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    metrics::request(route, method, response.status().as_u16(), begun.elapsed());
    response
}

/// A request that takes too long is given up. What is streamed afterwards has its own time; so has an upload.
pub async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/v1/attachments") {
        return next.run(request).await;
    }
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| Fault::from(ErrorCode::Busy).because("it took too long").into_response())
}

fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Paths of the interface that do not exist are answered as such, not with the client's page.
pub async fn unknown_paths(request: Request, next: Next) -> Response {
    let of_interface = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if of_interface && (is_page || is_bare(&response, StatusCode::NOT_FOUND)) {
        return Fault::from(ErrorCode::NotFound).into_response();
    }
    if of_interface && is_bare(&response, StatusCode::METHOD_NOT_ALLOWED) {
        return Fault::from(ErrorCode::MethodNotAllowed).into_response();
    }
    response
}

/// An answer of the file service's own making, without a problem in it.
fn is_bare(response: &Response, status: StatusCode) -> bool {
    response.status() == status && !response.headers().contains_key(header::CONTENT_TYPE)
}
