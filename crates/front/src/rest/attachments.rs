//! Uploading files, and finding out where they can be had.

use std::{error::Error, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use natterjack_domain::{Action, FileName, RoomId};
use natterjack_media::{Course, Media, NewUpload, Part, Purpose, Upload};
use natterjack_wire::{
    ErrorCode,
    rest::{AttachmentLinks, PreviewLink, UploadState},
};
use serde::Deserialize;
use time::{OffsetDateTime, macros::format_description};
use utoipa::IntoParams;

use super::{
    extract::{AttachmentPath, Caller, Query, RoomAttachmentPath},
    problems::Problems,
};
use crate::{fault::Fault, limit::Limiter, ws};

/// Of the tus protocol, whose core this follows, with its extensions creation, expiration and termination:
/// <https://tus.io/protocols/resumable-upload>.
const TUS: &str = "1.0.0";
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const OFFSET_STREAM: &str = "application/offset+octet-stream";
/// Longest media type (RFC 6838, 4.2).
const TYPE_MAX_BYTES: usize = 255;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// The room that it is for.
    #[param(value_type = uuid::Uuid)]
    room: RoomId,
    /// The file's name, at most 255 bytes, no path.
    name: String,
    /// Its media type as far as the sender knows; else the `Content-Type`. What counts is what the file is.
    #[serde(rename = "type")]
    declared: Option<String>,
    /// `voice` for a voice message.
    #[serde(default)]
    #[param(inline)]
    purpose: PurposeQuery,
}

#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum PurposeQuery {
    #[default]
    Message,
    Voice,
}

/// Uploads a file for a room of mine: the body is the file. With `Upload-Length` and no body it begins an upload that is
/// brought by `PATCH` requests to the answer's `Location`, as in tus 1.0.0.
#[utoipa::path(post, path = "/v1/attachments", tag = "attachments",
    params(UploadQuery, ("Upload-Length" = Option<u64>, Header, description = "Bytes of all of it, when it comes later.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = UploadState), Problems))]
pub async fn begin_upload(
    State(media): State<Media>,
    State(sockets): State<Arc<ws::Context>>,
    State(limiter): State<Arc<Limiter>>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    limiter.upload(caller.user)?;
    assure_version(&headers)?;
    sockets.hub.room(query.room).await?.permit(caller.user, Action::Post).await?;
    let later: Option<u64> = number(&headers, &UPLOAD_LENGTH)?;
    // Neither a length nor chunks: there is no body (RFC 9112, 6.3).
    let none = (!headers.contains_key(header::TRANSFER_ENCODING)).then_some(0);
    let here: Option<u64> = number(&headers, &header::CONTENT_LENGTH)?.or(none);
    if later.is_some() && here.unwrap_or_default() > 0 {
        let why = "with Upload-Length the file comes later, by PATCH";
        return Err(Fault::from(ErrorCode::UploadHeaderInvalid).because(why));
    }
    let upload = media
        .create(NewUpload {
            owner: caller.user,
            room: query.room,
            name: FileName::parse(&query.name)?,
            declared: declared(query.declared, &headers),
            purpose: match query.purpose {
                PurposeQuery::Message => Purpose::Message,
                PurposeQuery::Voice => Purpose::Voice,
            },
            length: later.or(here).ok_or(ErrorCode::LengthRequired)?,
        })
        .await?;
    let upload = match later {
        Some(_) => upload,
        None => media.receive(upload, 0, stream(body), Course::Once, sockets.draining.clone()).await?,
    };
    let location = format!("/v1/attachments/{}", upload.id);
    let location = HeaderValue::try_from(location).map_err(|e| Fault::caused(ErrorCode::Internal, e))?;
    let headers = progress(&media, &upload);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], headers, Json(state(&media, upload)))
        .into_response())
}

/// How far an upload of mine is.
#[utoipa::path(get, path = "/v1/attachments/{attachment}", tag = "attachments",
    params(("attachment" = uuid::Uuid, Path)),
    responses((status = 200, body = UploadState), Problems))]
pub async fn upload(
    State(media): State<Media>,
    caller: Caller,
    AttachmentPath(id): AttachmentPath,
) -> Result<Response, Fault> {
    let upload = media.upload_of(caller.user, id).await?;
    Ok((progress(&media, &upload), Json(state(&media, upload))).into_response())
}

/// Where an upload of mine goes on: `Upload-Offset` and `Upload-Length`.
#[utoipa::path(head, path = "/v1/attachments/{attachment}", tag = "attachments",
    params(("attachment" = uuid::Uuid, Path)),
    responses((status = 200), Problems))]
pub async fn offset(
    State(media): State<Media>,
    caller: Caller,
    AttachmentPath(id): AttachmentPath,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    assure_version(&headers)?;
    let upload = media.upload_of(caller.user, id).await?;
    Ok((StatusCode::OK, progress(&media, &upload)).into_response())
}

/// Goes on with an upload of mine, at the offset where it is. The request that brings the last byte waits until the file
/// was looked at; an empty one at the end has that done again after an outage.
#[utoipa::path(patch, path = "/v1/attachments/{attachment}", tag = "attachments",
    params(("attachment" = uuid::Uuid, Path), ("Upload-Offset" = u64, Header)),
    request_body(content = Vec<u8>, content_type = OFFSET_STREAM),
    responses((status = 204), Problems))]
pub async fn append(
    State(media): State<Media>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    AttachmentPath(id): AttachmentPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    assure_version(&headers)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != OFFSET_STREAM) {
        return Err(ErrorCode::OffsetStreamExpected.into());
    }
    let why = || Fault::from(ErrorCode::UploadHeaderInvalid).because("Upload-Offset is missing");
    let offset: u64 = number(&headers, &UPLOAD_OFFSET)?.ok_or_else(why)?;
    let upload = media.upload_of(caller.user, id).await?;
    let draining = sockets.draining.clone();
    let upload = media.receive(upload, offset, stream(body), Course::Resumable, draining).await?;
    Ok((StatusCode::NO_CONTENT, progress(&media, &upload)).into_response())
}

/// Gives up an upload of mine that no message has.
#[utoipa::path(delete, path = "/v1/attachments/{attachment}", tag = "attachments",
    params(("attachment" = uuid::Uuid, Path)),
    responses((status = 204), Problems))]
pub async fn discard(
    State(media): State<Media>,
    caller: Caller,
    AttachmentPath(id): AttachmentPath,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    assure_version(&headers)?;
    media.discard(caller.user, id).await?;
    Ok((StatusCode::NO_CONTENT, [(TUS_RESUMABLE, TUS)]).into_response())
}

/// Where an attachment of a room of mine can be had: links for some minutes, which need no access token.
#[utoipa::path(get, path = "/v1/rooms/{room}/attachments/{attachment}", tag = "attachments",
    params(("room" = uuid::Uuid, Path), ("attachment" = uuid::Uuid, Path)),
    responses((status = 200, body = AttachmentLinks), Problems))]
pub async fn links(
    State(media): State<Media>,
    State(sockets): State<Arc<ws::Context>>,
    caller: Caller,
    RoomAttachmentPath(room, id): RoomAttachmentPath,
) -> Result<Json<AttachmentLinks>, Fault> {
    sockets.hub.room(room).await?.admit(caller.user).await?;
    let whole = media.readable(room, caller.user, id).await?;
    let life = media.config().link_ttl;
    let expires = (sockets.clock.now() + life).unix_timestamp().unsigned_abs();
    let url = |part| format!("/v1/media/{}", media.links.sign(id, part, expires));
    let previews = whole.previews.into_iter().map(|preview| PreviewLink {
        url: url(Part::Preview(preview.side)),
        width: preview.width,
        height: preview.height,
        mime: preview.mime,
        size: preview.size,
    });
    Ok(Json(AttachmentLinks {
        url: url(Part::Original),
        previews: previews.collect(),
        attachment: whole.attachment,
        expires_in_secs: life.as_secs(),
    }))
}

fn assure_version(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version != TUS => Err(ErrorCode::TusVersion.into()),
        _ => Ok(()),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => {
            Err(Fault::from(ErrorCode::UploadHeaderInvalid).because(format!("{name} has to be a number")))
        }
    }
}

fn declared(asked: Option<String>, headers: &HeaderMap) -> String {
    let header = || headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let declared = asked.or_else(header).unwrap_or_default();
    let plain =
        declared.len() <= TYPE_MAX_BYTES && declared.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if plain { declared } else { String::new() }
}

fn stream(body: Body) -> natterjack_media::Body {
    body.into_data_stream().map_err(|error| -> Box<dyn Error + Send + Sync> { error.into() }).boxed()
}

fn expires(media: &Media, upload: &Upload) -> OffsetDateTime {
    upload.touched_at + media.config().orphan_age
}

/// What tells a client of tus how far it is.
fn progress(media: &Media, upload: &Upload) -> HeaderMap {
    /// RFC 9110, 5.6.7.
    const IMF_FIXDATE: &[time::format_description::FormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let mut headers = HeaderMap::new();
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(TUS));
    headers
        .insert(UPLOAD_OFFSET, (if upload.whole.is_some() { upload.length } else { upload.received }).into());
    headers.insert(UPLOAD_LENGTH, upload.length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(date) = expires(media, upload).format(IMF_FIXDATE).ok().and_then(|date| date.parse().ok()) {
        headers.insert(UPLOAD_EXPIRES, date);
    }
    headers
}

fn state(media: &Media, upload: Upload) -> UploadState {
    UploadState {
        expires: expires(media, &upload).unix_timestamp(),
        id: upload.id,
        room: upload.room,
        offset: if upload.whole.is_some() { upload.length } else { upload.received },
        length: upload.length,
        attachment: upload.whole.map(|whole| whole.attachment),
        name: upload.name,
    }
}
