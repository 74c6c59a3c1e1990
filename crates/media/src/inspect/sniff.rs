//! The type of a file by its first bytes.

/// How much is looked at.
pub const HEAD_BYTES: usize = 8_192;

const UNKNOWN: &str = "application/octet-stream";

/// The media type; `application/octet-stream` for what is not known.
pub fn sniff(head: &[u8]) -> &'static str {
    if let Some(kind) = ebml(head) {
        return kind;
    }
    let found = infer::get(head).map_or(UNKNOWN, |found| found.mime_type());
    match found {
        "audio/m4a" => "audio/mp4",
        "audio/opus" => "audio/ogg",
        "audio/x-wav" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "audio/x-aiff" => "audio/aiff",
        "video/x-m4v" => "video/mp4",
        // Text, which `infer` takes for what it looks like in its first bytes.
        "text/html" | "text/xml" | "text/plain" | UNKNOWN => text(head).unwrap_or(found),
        found => found,
    }
}

/// `WebM` and Matroska, which say so within their header, wherever their writer put it.
fn ebml(head: &[u8]) -> Option<&'static str> {
    let header = head.strip_prefix(b"\x1a\x45\xdf\xa3")?;
    let header = &header[..header.len().min(128)];
    let holds = |name: &[u8]| header.windows(name.len()).any(|part| part == name);
    match (holds(b"webm"), holds(b"matroska")) {
        (true, _) => Some("video/webm"),
        (_, true) => Some("video/x-matroska"),
        _ => None,
    }
}

/// Text is UTF-8 without control characters. What a browser would run is called by its name wherever it begins.
fn text(head: &[u8]) -> Option<&'static str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end within a character.
        Err(error) if error.error_len().is_none() && head.len() == HEAD_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}')) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let holds = |tag: &str| text.contains(tag);
    Some(match text.as_str() {
        t if t.starts_with('<') && holds("<svg") => "image/svg+xml",
        t if t.starts_with('<')
            && ["<!doctype html", "<html", "<script", "<body", "<head", "<iframe"]
                .iter()
                .any(|tag| holds(tag)) =>
        {
            "text/html"
        }
        t if t.starts_with("<?xml") => "text/xml",
        _ => "text/plain",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_what_the_bytes_are() {
        for (head, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"fLaC\0\0\0\x22", "audio/flac"),
            (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg"),
            (b"%PDF-1.7", "application/pdf"),
            (b"MZ\x90\0", "application/vnd.microsoft.portable-executable"),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "application/x-executable"),
            (b"#!/bin/sh\n", "text/x-shellscript"),
            (b"hello, \xe4\xb8\x96\xe7\x95\x8c\n", "text/plain"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
            (b"<?xml version='1.0'?>\n<SVG onload='x()'/>", "image/svg+xml"),
            (b"  \n<!-- x --><html><body>", "text/html"),
            (b"<script>alert(1)</script>", "text/html"),
            (b"<?xml version='1.0'?><note/>", "text/xml"),
            (b"\0\x01\x02\x03", UNKNOWN),
            (b"\xff\xfe\xfd", UNKNOWN),
        ] {
            assert_eq!(sniff(head), expected, "{:?}", String::from_utf8_lossy(head));
        }
    }
}
