//! What holds for any bytes that a client sends. `fuzz/` runs it, and the tests run it over the corpus.
//!
//! It stands in the crate, and is compiled for nothing else, so that what it looks into stays private.

use std::io::{self, Read, Write};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio_tungstenite::tungstenite::{
    Error, Message as Theirs, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use crate::ws::{
    self,
    decode::{Broken, Decoder, Message},
};

const MAX_BYTES: usize = 1_000;

/// How a stream of frames ends. A close and an error are the end whatever comes after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Broken(Broken),
    /// More has to come.
    Open,
}

/// Frames mean the same in whatever pieces they come, take no more memory than they may, and mean what tungstenite takes
/// them to mean.
pub fn websocket(bytes: &[u8]) {
    let whole = decoded(bytes, <[u8]>::len);
    assert_eq!(whole, decoded(bytes, |_| 1), "byte by byte");
    assert_eq!(whole, decoded(bytes, |rest| 1 + usize::from(rest[0] % 61)), "in pieces");
    let (messages, end) = whole;
    let (theirs, their_end) = told_by_tungstenite(bytes);
    let shorter = messages.len().min(theirs.len());
    assert_eq!(messages[..shorter], theirs[..shorter]);
    match (end, their_end) {
        // It goes on where a binary message begins, and looks for UTF-8 in each fragment, we in the whole.
        (End::Broken(Broken::NotText), End::Broken(_)) => {}
        (End::Broken(Broken::NotText), _) => assert!(bytes.iter().any(|byte| byte & 0xf == 0x2), "binary"),
        (_, End::Broken(_)) => {
            assert_eq!(theirs.len(), shorter);
            let is_text = |message: &Message| matches!(message, Message::Text(_));
            assert!(!messages[shorter..].iter().any(is_text), "it refuses what is taken here");
        }
        // It wants more of a frame before it says what is wrong with it.
        (End::Broken(_), End::Open) => assert_eq!(messages.len(), theirs.len()),
        (end, their_end) => assert_eq!((end, messages.len()), (their_end, theirs.len())),
    }
}

fn decoded(bytes: &[u8], piece: fn(&[u8]) -> usize) -> (Vec<Message>, End) {
    let (mut decoder, mut messages, mut rest) = (Decoder::new(MAX_BYTES), vec![], bytes);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece(rest).min(rest.len()));
        decoder.push(now);
        rest = later;
        loop {
            match decoder.next() {
                Ok(Some(close @ Message::Close(_))) => {
                    messages.push(close);
                    return (messages, End::Closed);
                }
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(broken) => return (messages, End::Broken(broken)),
            }
        }
        // A frame that is incomplete and the fragments before it, with the room that a vector takes in advance.
        assert!(decoder.allocated() <= 2 * (2 * MAX_BYTES + 14) + now.len(), "{}", decoder.allocated());
    }
    (messages, End::Open)
}

/// Gives bytes, and takes what is answered.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn told_by_tungstenite(bytes: &[u8]) -> (Vec<Message>, End) {
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_BYTES)).max_frame_size(Some(MAX_BYTES));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(limits));
    let mut messages = vec![];
    loop {
        match socket.read() {
            Ok(Theirs::Text(text)) => messages.push(Message::Text(text.as_str().to_owned())),
            Ok(Theirs::Ping(payload)) => messages.push(Message::Ping(payload)),
            Ok(Theirs::Pong(_)) => messages.push(Message::Pong),
            // It answers a code that nobody may send by this.
            Ok(Theirs::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                return (messages, End::Broken(Broken::Malformed));
            }
            Ok(Theirs::Close(close)) => {
                messages.push(Message::Close(close.map(|close| close.code.into())));
                return (messages, End::Closed);
            }
            Err(Error::Protocol(error)) if error.to_string().contains("without closing") => {
                return (messages, End::Open);
            }
            Ok(Theirs::Binary(_) | Theirs::Frame(_)) | Err(_) => {
                return (messages, End::Broken(Broken::Malformed));
            }
        }
    }
}

/// The headers of an upgrade, one a line: whatever they are, they are read or refused.
pub fn handshake(bytes: &[u8]) {
    let headers: HeaderMap = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(&value[1..]).ok()?))
        })
        .collect();
    let _ = ws::offers_ours(&headers);
    if let Ok(accept) = ws::handshake_key(&headers) {
        assert_eq!(accept.len(), 28, "a SHA-1 in Base64");
        assert!(headers.contains_key(header::UPGRADE) && headers.contains_key(header::SEC_WEBSOCKET_KEY));
    }
    if let Some(value) = headers.get(header::AUTHORIZATION)
        && let Ok(token) = ws::bearer_token(value)
    {
        assert_eq!(value.as_bytes(), format!("Bearer {token}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay::replay("websocket", websocket);
        replay::replay("handshake", handshake);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
