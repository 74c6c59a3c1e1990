//! Incoming WebSocket frames (RFC 6455, section 5). Holds bytes only while a message is incomplete: most connections
//! say nothing most of the time, and what a library keeps for each of them is more than all the rest.

use bytes::Bytes;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Of a control frame.
const CONTROL_MAX_BYTES: u64 = 125;

/// Finds the messages in what a client sends.
pub struct Decoder {
    /// What has come and is not decoded yet, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// The fragments of a message whose last one has not come.
    begun: Option<Vec<u8>>,
    max_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Ping(Bytes),
    Pong,
    /// With the code that the client gave.
    Close(Option<u16>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    TooLarge,
    /// Binary, or text that is not UTF-8.
    NotText,
    Malformed,
}

struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl Decoder {
    /// `max_bytes`: the longest message.
    pub fn new(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, begun: None, max_bytes }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message that is complete. After an error there is none any more.
    pub fn next(&mut self) -> Result<Option<Message>, Broken> {
        while let Some(frame) = self.frame()? {
            if let Some(message) = self.take(frame)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Bytes of memory that it holds.
    #[cfg(any(test, fuzzing))]
    pub fn allocated(&self) -> usize {
        self.bytes.capacity() + self.begun.as_ref().map_or(0, Vec::capacity)
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Message>, Broken> {
        let Frame { fin, opcode, payload } = frame;
        let so_far = match (opcode, self.begun.take()) {
            (TEXT, None) => payload,
            (CONTINUATION, Some(mut begun)) => {
                begun.extend_from_slice(&payload);
                begun
            }
            (BINARY, None) => return Err(Broken::NotText),
            // Control frames may come between the fragments of a message.
            (PING | PONG | CLOSE, begun) => {
                self.begun = begun;
                return control(opcode, payload).map(Some);
            }
            _ => return Err(Broken::Malformed),
        };
        if !fin {
            self.begun = Some(so_far);
            return Ok(None);
        }
        String::from_utf8(so_far).map(|text| Some(Message::Text(text))).map_err(|_| Broken::NotText)
    }

    /// Takes a complete frame off the bytes; leaves nothing allocated behind the last one.
    fn frame(&mut self) -> Result<Option<Frame>, Broken> {
        let rest = &self.bytes[self.at..];
        let Some((header, len)) = self.header(rest)? else { return Ok(None) };
        let Some(payload) = rest.get(header..header + len) else { return Ok(None) };
        let [.., a, b, c, d] = rest[..header] else { return Err(Broken::Malformed) };
        let mut payload = payload.to_vec();
        unmask(&mut payload, [a, b, c, d]);
        let frame = Frame { fin: rest[0] & FIN != 0, opcode: rest[0] & 0xf, payload };
        self.at += header + len;
        if self.at == self.bytes.len() {
            self.bytes = Vec::new();
            self.at = 0;
        }
        Ok(Some(frame))
    }

    /// Lengths of a frame's header and payload, as soon as they can be told.
    fn header(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
        let [first, second, ref rest @ ..] = *bytes else { return Ok(None) };
        let (control, short) = (first & 0x8 != 0, second & !MASKED);
        if first & RESERVED != 0 || second & MASKED == 0 || control && first & FIN == 0 {
            return Err(Broken::Malformed);
        }
        let extended = match short {
            126 => rest.first_chunk().map(|len| (2, u64::from(u16::from_be_bytes(*len)))),
            127 => rest.first_chunk().map(|len| (8, u64::from_be_bytes(*len))),
            len => Some((0, u64::from(len))),
        };
        let Some((extended, len)) = extended else { return Ok(None) };
        if control && len > CONTROL_MAX_BYTES {
            return Err(Broken::Malformed);
        }
        let room = self.max_bytes - self.begun.as_ref().map_or(0, Vec::len);
        let len = usize::try_from(len).ok().filter(|len| control || *len <= room).ok_or(Broken::TooLarge)?;
        Ok(Some((2 + extended + 4, len)))
    }
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Message, Broken> {
    match (opcode, payload.as_slice()) {
        (PING, _) => Ok(Message::Ping(payload.into())),
        (PONG, _) => Ok(Message::Pong),
        (_, []) => Ok(Message::Close(None)),
        (_, [a, b, reason @ ..]) => {
            let code = u16::from_be_bytes([*a, *b]);
            let fits = may_be_sent(code) && std::str::from_utf8(reason).is_ok();
            if fits { Ok(Message::Close(Some(code))) } else { Err(Broken::Malformed) }
        }
        (_, [_]) => Err(Broken::Malformed),
    }
}

/// RFC 6455, section 7.4, and what was registered since.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[index & 3];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::{
        self, WebSocket,
        protocol::{
            Role,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    };

    use super::*;

    const MAX: usize = 1_000;

    /// What tungstenite's client writes.
    fn written(messages: impl IntoIterator<Item = tungstenite::Message>) -> Vec<u8> {
        let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(vec![]), Role::Client, None);
        for message in messages {
            client.send(message).unwrap();
        }
        client.get_ref().get_ref().clone()
    }

    fn fragment(text: &[u8], opcode: Data, fin: bool) -> tungstenite::Message {
        tungstenite::Message::Frame(Frame::message(text.to_vec(), OpCode::Data(opcode), fin))
    }

    /// All messages, when the bytes come in pieces of `piece`.
    fn decoded(bytes: &[u8], piece: usize) -> Result<Vec<Message>, Broken> {
        let mut decoder = Decoder::new(MAX);
        let mut messages = vec![];
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(message) = decoder.next()? {
                messages.push(message);
            }
        }
        assert_eq!(decoder.bytes.capacity(), 0, "an idle decoder holds nothing");
        Ok(messages)
    }

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    #[test]
    fn a_ping_between_fragments_is_answered_before_the_message_is_whole() {
        let bytes = written([
            fragment("grü".as_bytes(), Data::Text, false),
            tungstenite::Message::Ping(Bytes::from_static(b"?")),
            fragment("ß ".as_bytes(), Data::Continue, false),
            fragment("dich".as_bytes(), Data::Continue, true),
            tungstenite::Message::text("next"),
        ]);
        for piece in [1, 2, 7, bytes.len()] {
            let expected = vec![Message::Ping(Bytes::from_static(b"?")), text("grüß dich"), text("next")];
            assert_eq!(decoded(&bytes, piece), Ok(expected));
        }
    }

    #[test]
    fn a_message_has_its_limit_whole_or_in_fragments() {
        let (fits, too_long) = ("x".repeat(MAX), "x".repeat(MAX + 1));
        assert_eq!(decoded(&written([tungstenite::Message::text(&*fits)]), 64), Ok(vec![text(&fits)]));
        assert_eq!(decoded(&written([tungstenite::Message::text(&*too_long)]), 64), Err(Broken::TooLarge));
        let half = vec![b'x'; MAX / 2 + 1];
        let bytes = written([fragment(&half, Data::Text, false), fragment(&half, Data::Continue, true)]);
        assert_eq!(decoded(&bytes, 64), Err(Broken::TooLarge));
        // Told by the header alone, however long the frame claims to be.
        let mut decoder = Decoder::new(MAX);
        decoder.push(&[FIN | TEXT, MASKED | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next(), Err(Broken::TooLarge));
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let text_frame = |first: u8, second: u8| vec![first, second, 0, 0, 0, 0, b'x'];
        let cases = [
            ("not masked", vec![FIN | TEXT, 1, b'x'], Broken::Malformed),
            ("a reserved bit", text_frame(FIN | 0x40 | TEXT, MASKED | 1), Broken::Malformed),
            ("a reserved opcode", text_frame(FIN | 0x3, MASKED | 1), Broken::Malformed),
            ("a reserved control opcode", text_frame(FIN | 0xb, MASKED | 1), Broken::Malformed),
            ("a continuation of nothing", text_frame(FIN, MASKED | 1), Broken::Malformed),
            ("a ping in fragments", text_frame(PING, MASKED | 1), Broken::Malformed),
            ("a long ping", vec![FIN | PING, MASKED | 0x7e, 0, 126, 0, 0, 0, 0], Broken::Malformed),
            ("half a close code", text_frame(FIN | CLOSE, MASKED | 1), Broken::Malformed),
            ("a close code of nobody", vec![FIN | CLOSE, MASKED | 2, 0, 0, 0, 0, 3, 237], Broken::Malformed),
            ("binary", text_frame(FIN | BINARY, MASKED | 1), Broken::NotText),
            ("no UTF-8", vec![FIN | TEXT, MASKED | 1, 0, 0, 0, 0, 0xff], Broken::NotText),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(decoded(&bytes, 1), Err(expected), "{what}");
        }
        let twice = written([fragment(b"a", Data::Text, false), fragment(b"b", Data::Text, true)]);
        assert_eq!(decoded(&twice, 3), Err(Broken::Malformed), "a message within a message");
    }

    #[test]
    fn a_close_bears_its_code() {
        let close = |code: u16| {
            vec![FIN | CLOSE, MASKED | 2, 0, 0, 0, 0, code.to_be_bytes()[0], code.to_be_bytes()[1]]
        };
        assert_eq!(decoded(&close(1000), 8), Ok(vec![Message::Close(Some(1000))]));
        assert_eq!(decoded(&close(4999), 8), Ok(vec![Message::Close(Some(4999))]));
        let bare = written([tungstenite::Message::Close(None)]);
        assert_eq!(decoded(&bare, 8), Ok(vec![Message::Close(None)]));
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_understood_in_whatever_pieces_it_comes(
            texts in prop::collection::vec("\\PC{0,150}", 0..6),
            cut in 0..40_usize,
            piece in 1..300_usize,
        ) {
            let mut messages = vec![];
            for whole in &texts {
                let (head, tail) = whole.as_bytes().split_at(cut.min(whole.len()));
                messages.push(fragment(head, Data::Text, false));
                messages.push(tungstenite::Message::Pong(Bytes::new()));
                messages.push(fragment(tail, Data::Continue, true));
                messages.push(tungstenite::Message::text(whole.clone()));
            }
            let expected = texts.iter().flat_map(|whole| [Message::Pong, text(whole), text(whole)]).collect();
            prop_assert_eq!(decoded(&written(messages), piece), Ok(expected));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
            let mut decoder = Decoder::new(MAX);
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                loop {
                    match decoder.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
            }
        }
    }
}
