//! The REST interface: extract, authorise, act, respond.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use natterjack_media::Media;
use natterjack_wire::ErrorCode;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::CorsLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    services::{ServeDir, ServeFile},
    set_header::SetResponseHeaderLayer,
    trace::TraceLayer,
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

mod attachments;
mod auth;
mod events;
mod extract;
mod invites;
mod kept;
mod media;
mod members;
mod messages;
mod observe;
mod people;
mod presence;
mod problems;
mod rooms;
mod schedules;
mod search;

use crate::{
    config::HttpConfig, fault::Fault, identity::Accounts, kept::Keeper, limit::Limiter, presence::Presence,
    projected::Projected, rooms::Rooms, schedules::Schedules, search::Searches, store::Store, ws,
};

/// What the handlers draw on; each takes the one thing that it needs.
#[derive(Clone, axum::extract::FromRef)]
pub struct Parts {
    pub sockets: Arc<ws::Context>,
    pub accounts: Arc<Accounts>,
    pub presence: Presence,
    pub rooms: Rooms,
    pub keeper: Keeper,
    pub schedules: Schedules,
    pub store: Store,
    pub projected: Projected,
    pub searches: Searches,
    pub media: Media,
    pub limiter: Arc<Limiter>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Natterjack",
        description = "The REST interface of a Natterjack front. Live events come over the WebSocket at /v1/ws, see \
                       docs/protocol.md. Errors are RFC 9457 problems with stable codes, see docs/errors.md.",
        license(name = "MIT")
    ),
    components(schemas(natterjack_wire::Problem)),
    modifiers(&AccessToken),
    security(("access_token" = []))
)]
struct Document;

struct AccessToken;

impl utoipa::Modify for AccessToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("access_token", SecurityScheme::Http(scheme));
    }
}

fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::logout_all))
        .routes(routes!(people::me, people::change_me))
        .routes(routes!(people::change_password))
        .routes(routes!(people::deactivate))
        .routes(routes!(people::sessions, people::end_other_sessions))
        .routes(routes!(people::end_session))
        .routes(routes!(people::search))
        .routes(routes!(people::person))
        .routes(routes!(presence::everybody))
        .routes(routes!(presence::in_room))
        .routes(routes!(rooms::list, rooms::create))
        .routes(routes!(rooms::public))
        .routes(routes!(rooms::open_direct))
        .routes(routes!(rooms::room, rooms::change, rooms::delete))
        .routes(routes!(rooms::archive))
        .routes(routes!(rooms::restore))
        .routes(routes!(rooms::join))
        .routes(routes!(rooms::leave))
        .routes(routes!(messages::history, messages::send))
        .routes(routes!(messages::pins))
        .routes(routes!(messages::threads))
        .routes(routes!(messages::thread))
        .routes(routes!(messages::message, messages::edit, messages::remove))
        .routes(routes!(messages::edits))
        .routes(routes!(messages::react, messages::unreact))
        .routes(routes!(messages::pin, messages::unpin))
        .routes(routes!(rooms::audit))
        .routes(routes!(members::members, members::add_member))
        .routes(routes!(members::remove_member))
        .routes(routes!(members::set_role))
        .routes(routes!(members::mutes))
        .routes(routes!(members::mute, members::unmute))
        .routes(routes!(members::bans))
        .routes(routes!(members::ban, members::unban))
        .routes(routes!(invites::invites, invites::create_invite))
        .routes(routes!(invites::revoke_invite))
        .routes(routes!(invites::preview_invite, invites::join_by_invite))
        .routes(routes!(kept::mark_unread))
        .routes(routes!(kept::read_all))
        .routes(routes!(kept::seen))
        .routes(routes!(kept::notifications, kept::set_notifications))
        .routes(routes!(kept::do_not_disturb, kept::set_do_not_disturb))
        .routes(routes!(kept::drafts))
        .routes(routes!(kept::followed))
        .routes(routes!(kept::follow, kept::unfollow))
        .routes(routes!(kept::saved))
        .routes(routes!(kept::save, kept::forget))
        .routes(routes!(schedules::schedule))
        .routes(routes!(schedules::scheduled))
        .routes(routes!(schedules::reschedule, schedules::unschedule))
        .routes(routes!(search::messages))
        .routes(routes!(events::events))
        .routes(routes!(attachments::begin_upload))
        .routes(routes!(attachments::upload, attachments::offset, attachments::append, attachments::discard))
        .routes(routes!(attachments::links))
        .routes(routes!(media::file))
}

/// The OpenAPI document as JSON, as it is served and kept in `docs/openapi.json`.
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    let mut json = document.to_pretty_json().expect("the document is plain data");
    json.push('\n');
    json
}

async fn asyncapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(natterjack_wire::asyncapi);
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// The whole public interface of a front.
pub fn router(parts: Parts, config: &HttpConfig, web_dir: Option<&std::path::Path>) -> Router {
    let (api, document) = routes().split_for_parts();
    let api = api
        .route("/v1/ws", get(ws::upgrade).with_state(parts.sockets.clone()))
        .route("/v1/asyncapi.json", get(asyncapi))
        .merge(SwaggerUi::new("/docs").url("/v1/openapi.json", document))
        .method_not_allowed_fallback(async || Fault::from(ErrorCode::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(config.body_max_bytes))
        .with_state(parts);
    let site = match web_dir {
        Some(dir) => api.fallback_service(
            ServeDir::new(dir)
                .precompressed_gzip()
                .append_index_html_on_directories(true)
                .fallback(ServeFile::new(dir.join("index.html"))),
        ),
        None => api.fallback(async || Fault::from(ErrorCode::NotFound)),
    };
    // All in one layer, since the router clones what is in each of its layers for each request.
    site.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(TraceLayer::new_for_http().make_span_with(observe::span).on_failure(()))
            .layer(header_layer(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
            .layer(header_layer(header::REFERRER_POLICY, "no-referrer"))
            .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(cors(config))
            .layer(middleware::from_fn(observe::count))
            .layer(middleware::from_fn_with_state(config.request_timeout, observe::limit_time))
            .layer(middleware::from_fn(observe::unknown_paths)),
    )
}

/// For the client and the viewer of the document, which brings styles of its own. The client may connect to any
/// front.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self' http: https: ws: wss:; object-src 'none'; base-uri 'none'; \
     frame-ancestors 'none'; form-action 'self'";

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn cors(config: &HttpConfig) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(config.cors_origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("tus-resumable"),
            HeaderName::from_static("upload-length"),
            HeaderName::from_static("upload-offset"),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            header::LOCATION,
            HeaderName::from_static("tus-resumable"),
            HeaderName::from_static("upload-length"),
            HeaderName::from_static("upload-offset"),
            HeaderName::from_static("upload-expires"),
        ])
        .max_age(std::time::Duration::from_hours(1))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer wants it so")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("?");
    tracing::error!(panic = words, "a request panicked");
    Fault::from(ErrorCode::Internal).into_response()
}
