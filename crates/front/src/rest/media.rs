//! Giving files out to whoever holds a link.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use natterjack_media::{Found, Media, Part};
use natterjack_wire::ErrorCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{extract::Query, problems::Problems};
use crate::{fault::Fault, ws};

/// What a browser may show by itself, in a page of nobody's. All else is saved: what runs scripts above all.
const INLINE: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];
const NEVER_RUN: &str = "application/octet-stream";
/// Nothing in a file may do anything in the reader's name, whatever it turns out to be.
const POLICY: &str = "sandbox; default-src 'none'";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// To be saved, not shown.
    #[serde(default)]
    download: bool,
}

/// A file, by a link that was given out for it. Answers ranges (one) and `If-None-Match`.
#[utoipa::path(get, path = "/v1/media/{link}", tag = "attachments", security(()),
    params(("link" = String, Path), FileQuery, ("Range" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"), (status = 304), Problems))]
pub async fn file(
    State(media): State<Media>,
    State(sockets): State<Arc<ws::Context>>,
    Path(link): Path<String>,
    Query(query): Query<FileQuery>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let now = sockets.clock.now().unix_timestamp().unsigned_abs();
    let (id, part) = media.links.verify(&link, now)?;
    let found = media.find(id, part).await?;
    let tag = format!("\"{}\"", found.tag);
    let about = about(&found, query.download, &tag)?;
    if matches(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let range = match wanted(&headers, found.size, &tag) {
        Wanted::All => None,
        Wanted::Range(range) => Some(range),
        Wanted::Nothing => {
            let mut response = Fault::from(ErrorCode::RangeInvalid).into_response();
            let all = HeaderValue::try_from(format!("bytes */{}", found.size));
            response.headers_mut().insert(header::CONTENT_RANGE, all.map_err(internal)?);
            return Ok(response);
        }
    };
    let bytes = media.read(&found, range.clone()).await?;
    let mut response = (about, Body::from_stream(bytes)).into_response();
    let length = range.as_ref().map_or(found.size, |range| range.end - range.start);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    if let Some(Range { start, end }) = range {
        let which = HeaderValue::try_from(format!("bytes {start}-{}/{}", end - 1, found.size));
        response.headers_mut().insert(header::CONTENT_RANGE, which.map_err(internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn internal(error: axum::http::header::InvalidHeaderValue) -> Fault {
    Fault::caused(ErrorCode::Internal, error)
}

fn about(found: &Found, download: bool, tag: &str) -> Result<HeaderMap, Fault> {
    let mime = found.mime.as_str();
    let played = mime.starts_with("audio/") || mime.starts_with("video/");
    let inline = !download && (INLINE.contains(&mime) || played);
    // A type that runs is not even named.
    let runs = ["html", "xml", "svg", "script"].iter().any(|word| mime.contains(word));
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        headers.insert(name, HeaderValue::try_from(value).map_err(internal)?);
        Ok::<_, Fault>(())
    };
    set(header::CONTENT_TYPE, if runs { NEVER_RUN } else { mime })?;
    set(header::CONTENT_DISPOSITION, &disposition(inline, &name(found)))?;
    set(header::CONTENT_SECURITY_POLICY, POLICY)?;
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    set(header::CACHE_CONTROL, "private, max-age=86400, immutable")?;
    set(header::ACCEPT_RANGES, "bytes")?;
    set(header::ETAG, tag)?;
    Ok(headers)
}

fn name(found: &Found) -> String {
    match found.part {
        Part::Original => found.name.clone(),
        Part::Preview(_) => format!("preview.{}", if found.mime == "image/webp" { "webp" } else { "jpg" }),
    }
}

/// RFC 6266, with a name in ASCII for who does not know the other (RFC 8187).
fn disposition(inline: bool, name: &str) -> String {
    /// `attr-char` of RFC 8187, 3.2.1, is what stays.
    const CODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    let how = if inline { "inline" } else { "attachment" };
    let plain =
        |c: char| if (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    if ascii == name {
        return format!("{how}; filename=\"{ascii}\"");
    }
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(name, CODED))
}

/// `If-None-Match` (RFC 9110, 13.1.2).
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Range(Range<u64>),
    /// None of its bytes.
    Nothing,
}

/// `Range` (RFC 9110, 14.2): one range of bytes. What is anything else is answered with all of them.
fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Of another file, it would be a part that does not fit.
    if text(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Wanted::All;
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::All };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    match (number(first), number(last)) {
        (Some(None), Some(Some(count))) if first.is_empty() => match count.min(size) {
            0 => Wanted::Nothing,
            count => Wanted::Range(size - count..size),
        },
        (Some(Some(first)), Some(last_number))
            if last.is_empty() || last_number.is_some_and(|last| last >= first) =>
        {
            let end = last_number.map_or(size, |last| last.saturating_add(1).min(size));
            if first < size { Wanted::Range(first..end) } else { Wanted::Nothing }
        }
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_all_else_is_everything() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Range(0..1)),
            ("bytes=0-99", Wanted::Range(0..10)),
            ("bytes=3-", Wanted::Range(3..10)),
            ("bytes=-3", Wanted::Range(7..10)),
            ("bytes=-99", Wanted::Range(0..10)),
            ("bytes=9-9", Wanted::Range(9..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=0-18446744073709551615", Wanted::Range(0..10)),
            ("items=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(&asked(header::RANGE, range), 10, "\"t\""), expected, "{range}");
        }
        let mut both = asked(header::RANGE, "bytes=1-2");
        both.insert(header::IF_RANGE, "\"t\"".parse().unwrap());
        assert_eq!(wanted(&both, 10, "\"t\""), Wanted::Range(1..3));
        assert_eq!(wanted(&both, 10, "\"u\""), Wanted::All);
    }

    #[test]
    fn a_tag_that_is_known_is_not_sent_again() {
        for (known, same) in [
            ("\"t\"", true),
            ("W/\"t\"", true),
            ("\"a\", \"t\"", true),
            ("*", true),
            ("\"a\"", false),
            ("t", false),
        ] {
            assert_eq!(matches(&asked(header::IF_NONE_MATCH, known), "\"t\""), same, "{known}");
        }
        assert!(!matches(&HeaderMap::new(), "\"t\""));
    }

    #[test]
    fn a_name_of_any_letters_fits_into_a_header() {
        assert_eq!(disposition(true, "a b.png"), "inline; filename=\"a b.png\"");
        let quoted = disposition(false, "a\"b\\.txt");
        assert_eq!(quoted, "attachment; filename=\"a_b_.txt\"; filename*=UTF-8''a%22b%5C.txt");
        let euro = disposition(false, "€ rates.txt");
        assert_eq!(euro, "attachment; filename=\"_ rates.txt\"; filename*=UTF-8''%E2%82%AC%20rates.txt");
    }
}
