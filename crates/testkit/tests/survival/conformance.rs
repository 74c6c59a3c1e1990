//! The server against RFC 6455, in the cases of Autobahn's testsuite (its chapters in brackets) and some of our own, byte by
//! byte over real sockets. Autobahn expects an echo: here a `ping` of our protocol is answered by `ok` where a message has
//! been taken, and any other JSON by `err` with its `id`, on a connection that goes on.
//!
//! | Cases | Expected | RFC 6455 |
//! |---|---|---|
//! | Framing [1, 9]: 0 to 65,536 bytes, whole and in pieces | taken | 5.2 |
//! | A length written longer than it need be | taken: nothing depends on it, and refusing it helps nobody | 5.2 |
//! | Binary messages [1.2] | refused: the protocol is text | 5.6, 7.4.1 |
//! | Pings and pongs [2] | each ping its pong, in order; a pong is a sign of life | 5.5.2, 5.5.3 |
//! | Pings over 125 bytes or in fragments [2, 5] | refused | 5.5 |
//! | Reserved bits [3] and opcodes [4] | refused; what came before is answered | 5.2 |
//! | Fragments [5]: in any number, control frames between them | one message | 5.4 |
//! | Continuation of nothing, a message within a message [5] | refused | 5.4 |
//! | UTF-8 [6], cut anywhere | taken | 5.6, 8.1 |
//! | Not UTF-8 [6], cut anywhere | refused, once the message is whole (Autobahn's "non-strict": no time is prescribed) | 8.1 |
//! | Close [7]: no code, codes that may be sent, a reason | answered with the same code; then the end | 5.5.1, 7.4 |
//! | Close: half a code, other codes, a reason that is not UTF-8, over 125 bytes [7] | refused | 7.4.2 |
//! | Frames after the close [7.1] | not answered | 5.5.1 |
//! | No close, also within a message | the connection ends as the client's end does, without a word | 7.1.1 |
//! | Limits [9, 10]: a message of 65,537 bytes, whole, in fragments, announced | refused, by the header alone | 10.4 |
//! | Frames of a client without a mask | refused | 5.1 |
//! | Frames of the server | whole, without mask and reserved bits, in the shortest form (checked of every frame here) | 5.1, 5.2 |
//! | The opening | `101`, or `426` which says what would do | 4.2.1, 4.2.2, 4.4 |
//! | Compression offered [12, 13] | not taken up: the extension is left out of the answer | 9.1 |
//!
//! *Refused* is: `err` with its code, `bye`, a close with 4502 where the RFC would have 1002, 1003, 1007 or 1009 (it allows
//! codes of one's own, and by the code a client knows whether to come back: `docs/protocol.md`), and nothing more.

use futures_util::future::join_all;
use natterjack_testkit::{Account, PATIENCE, Site};
use natterjack_wire::ErrorCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

const UPGRADE: &str = "Host: pond\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const LONGEST: usize = 65_536;
/// The number of the ping that ends a case.
const LAST: u64 = 999;

/// A client's frame; its first byte, its payload.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    announced(first, payload.len(), payload, [0x37, 0xfa, 0x21, 0x3d])
}

/// The same, with a length that need not be the payload's.
fn announced(first: u8, len: usize, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => frame.push(MASKED | len),
        (_, Ok(len)) => frame.extend([&[MASKED + 126][..], &len.to_be_bytes()].concat()),
        _ => frame.extend([&[MASKED + 127][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A `ping` of our protocol, filled up to `len` bytes.
fn ping_text(n: u64, len: usize) -> String {
    let text = json!({ "t": "ping", "n": n }).to_string();
    let padding = " ".repeat(len.saturating_sub(text.len()));
    text + &padding
}

fn ping(n: u64) -> Vec<u8> {
    frame(FIN | TEXT, ping_text(n, 0))
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, [&code.to_be_bytes(), reason].concat())
}

/// What a server says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Ok(u64),
    Err(u16),
    Pong(Vec<u8>),
    Bye,
    Close(u16),
    /// The connection has ended.
    End,
}

struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// A connection to `front` and the head of its answer to `request`.
    async fn ask(front: &str, request: &str) -> (Self, String) {
        let stream = TcpStream::connect(front.trim_start_matches("http://")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream };
        wire.stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, wire.stream.read_u8()).await.expect("an answer").unwrap());
        }
        (wire, String::from_utf8(head).unwrap())
    }

    /// After hello and welcome.
    async fn open(front: &str, who: &Account) -> Self {
        let (mut wire, head) = Self::ask(front, &format!("GET /v1/ws HTTP/1.1\r\n{UPGRADE}\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        wire.say(&frame(FIN | TEXT, json!({ "t": "hello", "token": who.token }).to_string())).await;
        let (_, welcome) = wire.frame().await.expect("a welcome");
        assert!(welcome.starts_with(br#"{"t":"welcome""#));
        wire
    }

    /// Fails quietly: the front may have hung up.
    async fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame: its opcode, its payload. Each has the form that a server's frame has to have.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let (len, least) = match self.stream.read_u8().await.ok()? {
                126 => (u64::from(self.stream.read_u16().await.ok()?), 126),
                127 => (self.stream.read_u64().await.ok()?, 65_536),
                len => (u64::from(len), 0),
            };
            assert!(len >= least && len < 1 << 20, "the shortest form of {len}, and no mask");
            assert_eq!(first & 0xf0, FIN, "whole, and no reserved bits");
            let mut payload = vec![0; usize::try_from(len).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((first & 0xf, payload))
        };
        timeout(PATIENCE, read).await.expect("the server goes on or hangs up")
    }

    async fn hear(&mut self) -> Said {
        loop {
            let Some((opcode, payload)) = self.frame().await else { return Said::End };
            match opcode {
                TEXT => {
                    let text: Value = serde_json::from_slice(&payload).unwrap();
                    let number = |name: &str| text[name].as_u64().unwrap();
                    match text["t"].as_str().unwrap() {
                        "ok" => return Said::Ok(number("id")),
                        "err" => return Said::Err(u16::try_from(number("code")).unwrap()),
                        "bye" => return Said::Bye,
                        _ => {}
                    }
                }
                PING => {}
                PONG => return Said::Pong(payload),
                CLOSE => return Said::Close(u16::from_be_bytes(payload.try_into().unwrap())),
                _ => panic!("a server's frame of type {opcode}"),
            }
        }
    }

    /// Says the pieces; gives what is heard up to the answer to [`LAST`], or the end. Answers a close.
    async fn converse(&mut self, pieces: &[Vec<u8>]) -> Vec<Said> {
        for piece in pieces {
            self.say(piece).await;
        }
        self.say(&ping(LAST)).await;
        let mut heard = vec![];
        loop {
            let said = self.hear().await;
            if said == Said::Ok(LAST) {
                return heard;
            }
            heard.push(said.clone());
            match said {
                Said::Close(code) => {
                    self.say(&close(code, b"")).await;
                    let _ = self.stream.shutdown().await;
                }
                Said::End => return heard,
                _ => {}
            }
        }
    }
}

struct Case {
    what: String,
    pieces: Vec<Vec<u8>>,
    expected: Vec<Said>,
}

fn case(what: impl Into<String>, frames: impl IntoIterator<Item = Vec<u8>>, expected: Vec<Said>) -> Case {
    Case { what: what.into(), pieces: frames.into_iter().collect(), expected }
}

impl Case {
    /// The same bytes in pieces of `len`.
    fn in_pieces(mut self, len: usize) -> Self {
        let bytes = self.pieces.concat();
        self.pieces = bytes.chunks(len).map(<[u8]>::to_vec).collect();
        self.what = format!("{} in pieces of {len}", self.what);
        self
    }
}

fn refused(code: ErrorCode) -> Vec<Said> {
    vec![Said::Err(code.number()), Said::Bye, Said::Close(4502), Said::End]
}

fn malformed() -> Vec<Said> {
    refused(ErrorCode::FrameMalformed)
}

fn closed(code: u16) -> Vec<Said> {
    vec![Said::Close(code), Said::End]
}

/// Each case on a connection of its own.
async fn hold(cases: Vec<Case>) {
    let site = Site::builder().start().await;
    let front =
        site.front_with(&[("CONNECTIONS_PER_USER", "100"), ("CONNECTIONS_PER_ADDRESS", "100")]).await.url();
    let ada = site.register(&front, "ada").await;
    for cases in cases.chunks(50) {
        join_all(cases.iter().map(async |case| {
            let mut wire = Wire::open(&front, &ada).await;
            assert_eq!(wire.converse(&case.pieces).await, case.expected, "{}", case.what);
        }))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_any_length_are_taken_in_whatever_pieces_and_masks_they_come() {
    let mut cases = vec![];
    for len in [18, 125, 126, 127, 128, 65_535, LONGEST] {
        let whole =
            || case(format!("{len} bytes"), [frame(FIN | TEXT, ping_text(1, len))], vec![Said::Ok(1)]);
        cases.push(whole());
        cases.push(whole().in_pieces(997));
        if len < 1_000 {
            cases.push(whole().in_pieces(1));
        }
    }
    let not_json = Said::Err(ErrorCode::FrameMalformed.number());
    cases.push(case("nothing", [frame(FIN | TEXT, "")], vec![not_json.clone()]));
    cases.push(case("one byte", [frame(FIN | TEXT, " ")], vec![not_json]));
    let text = ping_text(1, 0);
    for mask in [[0; 4], [0xff; 4], [0, 0, 0, 1]] {
        let masked = announced(FIN | TEXT, text.len(), text.as_bytes(), mask);
        cases.push(case(format!("the mask {mask:?}"), [masked], vec![Said::Ok(1)]));
    }
    let len = u8::try_from(text.len()).unwrap();
    for prefix in [&[0xfe, 0, len][..], &[0xff, 0, 0, 0, 0, 0, 0, 0, len]] {
        let long = [&[FIN | TEXT][..], prefix, &[0; 4], text.as_bytes()].concat();
        cases.push(case("a length written longer than it need be", [long], vec![Said::Ok(1)]));
    }
    let many = (1..=100).map(ping).collect::<Vec<_>>().concat();
    cases.push(case("a hundred at once", [many], (1..=100).map(Said::Ok).collect()));
    hold(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ping_has_its_pong_and_a_control_frame_is_short_and_whole() {
    let any: Vec<u8> = (0..=255).collect();
    let mut cases = vec![];
    for payload in [&any[..0], &any[..1], &any[130..255], b"\xfe\xff\x00"] {
        let pong = vec![Said::Pong(payload.to_vec())];
        let whole =
            || case(format!("a ping of {}", payload.len()), [frame(FIN | PING, payload)], pong.clone());
        cases.push(whole());
        cases.push(whole().in_pieces(1));
        let what = format!("a pong of {} that nobody asked for", payload.len());
        cases.push(case(what, [frame(FIN | PONG, payload), frame(FIN | PING, payload)], pong));
    }
    let numbered = |n: u8| frame(FIN | PING, [n]);
    let pongs: Vec<_> = (0..10).map(|n| Said::Pong(vec![n])).collect();
    cases.push(case("ten pings", (0..10).map(numbered), pongs.clone()));
    cases.push(case("ten pings in one", [(0..10).map(numbered).collect::<Vec<_>>().concat()], pongs.clone()));
    cases.push(case("ten pings", (0..10).map(numbered), pongs).in_pieces(1));
    for opcode in [PING, PONG] {
        cases.push(case("over 125 bytes", [frame(FIN | opcode, &any[..126])], malformed()));
        cases.push(case("in fragments", [frame(opcode, "a"), frame(FIN | CONTINUATION, "b")], malformed()));
        cases.push(case("without an end", [frame(opcode, "")], malformed()));
    }
    hold(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reserved_is_refused_and_what_came_before_is_answered() {
    let after = |n: u64, rest: Vec<Said>| [vec![Said::Ok(n)], rest].concat();
    let mut cases = vec![];
    for bits in 1..=7_u8 {
        for opcode in [TEXT, PING, CLOSE] {
            let bad = frame(FIN | bits << 4 | opcode, if opcode == CLOSE { "" } else { "x" });
            cases.push(case(format!("bits {bits} of {opcode}"), [bad.clone()], malformed()));
            let what = format!("bits {bits} of {opcode} after a message");
            let said = [ping(1), bad, frame(FIN | PING, "no pong for this")];
            cases.push(case(what.clone(), said.clone(), after(1, malformed())));
            cases.push(case(what, said, after(1, malformed())).in_pieces(1));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "x"] {
            let bad = frame(FIN | opcode, payload);
            cases.push(case(format!("opcode {opcode}"), [bad.clone()], malformed()));
            cases.push(case(format!("opcode {opcode} after"), [ping(1), bad], after(1, malformed())));
        }
    }
    let not_text = || refused(ErrorCode::NotText);
    cases.push(case("binary", [frame(FIN | BINARY, ping_text(1, 0))], not_text()));
    cases.push(case("binary, empty", [frame(FIN | BINARY, "")], not_text()));
    cases.push(case("binary in fragments", [frame(BINARY, "a"), frame(FIN, "b")], not_text()));
    let bare = |first: u8, payload: &str| {
        [&[first, u8::try_from(payload.len()).unwrap()], payload.as_bytes()].concat()
    };
    for (what, first, payload) in [("text", TEXT, "{}"), ("ping", PING, ""), ("close", CLOSE, "")] {
        cases.push(case(format!("{what} without a mask"), [bare(FIN | first, payload)], malformed()));
    }
    cases.push(case(
        "a message, then one without a mask",
        [ping(1), bare(FIN | TEXT, "x")],
        after(1, malformed()),
    ));
    hold(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_make_one_message_and_keep_their_order() {
    let text = ping_text(7, 0);
    let (a, rest) = text.split_at(5);
    let (b, c) = rest.split_at(6);
    let (first, middle, last) = (frame(TEXT, a), frame(CONTINUATION, b), frame(FIN | CONTINUATION, c));
    let whole = frame(FIN | CONTINUATION, rest);
    let between = frame(FIN | PING, "?");
    let pong = || Said::Pong(b"?".to_vec());
    let (empty, end) = (frame(CONTINUATION, ""), frame(FIN | CONTINUATION, ""));
    let taken = || vec![Said::Ok(7)];
    let mut cases = vec![
        case("two", [first.clone(), whole.clone()], taken()),
        case("three", [first.clone(), middle.clone(), last.clone()], taken()),
        case("empty ones", [frame(TEXT, ""), empty.clone(), frame(CONTINUATION, &text), empty, end], taken()),
        case("a pong between", [first.clone(), frame(FIN | PONG, "?"), whole.clone()], taken()),
        case("a ping between", [first.clone(), between.clone(), whole.clone()], vec![pong(), Said::Ok(7)]),
        case(
            "pings between and after",
            [first.clone(), between.clone(), middle, between.clone(), last, between],
            vec![pong(), pong(), Said::Ok(7), pong()],
        ),
        case("a continuation of nothing", [whole.clone()], malformed()),
        case("a continuation of nothing that goes on", [frame(CONTINUATION, "x")], malformed()),
        case("an empty continuation of nothing", [frame(FIN | CONTINUATION, "")], malformed()),
        case(
            "a continuation after the end",
            [first.clone(), whole.clone(), whole.clone()],
            [taken(), malformed()].concat(),
        ),
        case("a message within a message", [first.clone(), ping(1)], malformed()),
        case("a start within a message", [first.clone(), first.clone(), whole.clone()], malformed()),
        case("binary within a text", [first.clone(), frame(FIN | BINARY, "x")], malformed()),
        case("a close within a message", [first, close(1000, b"")], closed(1000)),
    ];
    for index in 0..cases.len() {
        let Case { what, pieces, expected } = &cases[index];
        cases.push(case(what, pieces.clone(), expected.clone()).in_pieces(1));
    }
    let letters = text.bytes().enumerate();
    let letters = letters.map(|(at, byte)| frame(if at == 0 { TEXT } else { CONTINUATION }, [byte]));
    cases.push(case("one for each byte", letters.chain([frame(FIN, "")]), taken()));
    let many = [frame(TEXT, &text)].into_iter().chain(vec![frame(CONTINUATION, ""); 10_000]);
    cases.push(case("ten thousand empty ones", [many.chain([frame(FIN, "")]).flatten().collect()], taken()));
    hold(cases).await;
}

/// Sequences that are not UTF-8: Autobahn's 6.3 to 6.21, after Markus Kuhn.
const NOT_UTF8: &[&[u8]] = &[
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0 ",
    b"\xdf ",
    b"\xe0 ",
    b"\xef ",
    b"\xf0 ",
    b"\xf7 ",
    b"\xf8 ",
    b"\xfc ",
    b"\xfe",
    b"\xff",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_utf_8_wherever_it_is_cut() {
    let said = |words: &[u8]| [br#"{"t":"sing","id":7,"words":""#, words, br#""}"#].concat();
    let understood: fn() -> Vec<Said> = || vec![Said::Err(ErrorCode::FrameMalformed.number())];
    let not_text: fn() -> Vec<Said> = || refused(ErrorCode::NotText);
    let start = said(b"").len() - 2;
    // Two fragments, cut at every byte of the words.
    let cuts = |words: &[u8], expected: fn() -> Vec<Said>| {
        let text = said(words);
        let cut = |at: usize| {
            let (head, tail) = text.split_at(at);
            let what = format!("{words:x?} cut at {}", at - start);
            case(what, [frame(TEXT, head), frame(FIN | CONTINUATION, tail)], expected())
        };
        let whole = case(format!("{words:x?}"), [frame(FIN | TEXT, &text)], expected());
        (start..=start + words.len()).map(cut).chain([whole]).collect::<Vec<_>>()
    };
    let mut cases = vec![];
    for words in [
        "κόσμε",
        "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{1fffe}",
    ] {
        cases.extend(cuts(words.as_bytes(), understood));
    }
    for words in NOT_UTF8 {
        cases.extend(cuts(words, not_text));
    }
    let letters = said("κόσμε".as_bytes()).into_iter().enumerate();
    let letters = letters.map(|(at, byte)| frame(if at == 0 { TEXT } else { CONTINUATION }, [byte]));
    cases.push(case("one fragment for each byte", letters.chain([frame(FIN, "")]), understood()));
    let late =
        [frame(TEXT, "\"\u{fffd}"), frame(CONTINUATION, b"\xff"), frame(FIN | PING, "?"), frame(FIN, "\"")];
    cases.push(case(
        "what is wrong in a fragment shows when the message is whole",
        late,
        [vec![Said::Pong(b"?".to_vec())], not_text()].concat(),
    ));
    hold(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_is_answered_in_kind_and_nothing_after_it() {
    let mut cases = vec![
        case("no code", [frame(FIN | CLOSE, "")], closed(1000)),
        case("half a code", [frame(FIN | CLOSE, [3])], malformed()),
        case("a reason", [close(1000, "Grüß Gott".as_bytes())], closed(1000)),
        case("the longest reason", [close(1000, &[b'x'; 123])], closed(1000)),
        case("a reason too long", [close(1000, &[b'x'; 124])], malformed()),
        case("a reason that is not UTF-8", [close(1000, b"\xce\xba\xe1\xbd\xed\xa0\x80")], malformed()),
        case("half a character", [close(1000, b"\xe1\xbd")], malformed()),
        case("in fragments", [frame(CLOSE, "")], malformed()),
        case("twice", [[close(1000, b""), close(1001, b"")].concat()], closed(1000)),
        case("a message after it", [[close(1000, b""), ping(1)].concat()], closed(1000)),
        case("a ping after it", [[close(1000, b""), frame(FIN | PING, "?")].concat()], closed(1000)),
        case("nonsense after it", [[close(1000, b""), vec![0xff; 300]].concat()], closed(1000)),
        case("after a message", [ping(1), close(1001, b"")], [vec![Said::Ok(1)], closed(1001)].concat()),
    ];
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    {
        cases.push(case(format!("{code}"), [close(code, b"")], closed(code)));
        cases.push(case(format!("{code}"), [close(code, b"why")], closed(code)).in_pieces(1));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(format!("{code}"), [close(code, b"")], malformed()));
    }
    hold(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_is_refused_as_soon_as_it_is_announced() {
    let too_long = || refused(ErrorCode::FrameTooLarge);
    let mask = [0; 4];
    let half = vec![b' '; LONGEST / 2];
    hold(vec![
        case("a byte too many", [frame(FIN | TEXT, ping_text(1, LONGEST + 1))], too_long()),
        case("only announced", [announced(FIN | TEXT, LONGEST + 1, b"", mask)], too_long()),
        case("the longest of all", [announced(FIN | TEXT, usize::MAX, b"", mask)], too_long()),
        case(
            "in fragments",
            [frame(TEXT, &half), frame(CONTINUATION, &half), frame(FIN | CONTINUATION, " ")],
            too_long(),
        ),
        case(
            "announced by the last fragment",
            [frame(TEXT, &half), frame(FIN | PING, "?"), announced(CONTINUATION, LONGEST / 2 + 1, b"", mask)],
            [vec![Said::Pong(b"?".to_vec())], too_long()].concat(),
        ),
        case(
            "the longest in fragments",
            [frame(TEXT, ping_text(1, LONGEST / 2)), frame(FIN | CONTINUATION, &half)],
            vec![Said::Ok(1)],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_opening_is_as_it_has_to_be_or_is_refused_with_what_would_do() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let with = |line: &str, instead: &str| {
        let upgrade = UPGRADE.replace(&format!("{line}\r\n"), instead);
        assert_ne!(upgrade, UPGRADE);
        format!("GET /v1/ws HTTP/1.1\r\n{upgrade}\r\n")
    };
    let more = |lines: &str| format!("GET /v1/ws HTTP/1.1\r\n{UPGRADE}{lines}\r\n");
    let (connection, upgrade) = ("Connection: Upgrade", "Upgrade: websocket");
    let (version, key) = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    for request in [
        more(""),
        more("").to_lowercase().replacen("get", "GET", 1).replace("http/", "HTTP/"),
        with(connection, "Connection: keep-alive, upgrade\r\n"),
        with(upgrade, "Upgrade: WebSocket\r\n"),
        with(upgrade, "Upgrade: h2c, websocket\r\n"),
        // No cookie lets anybody in, so that a page of anybody's may try.
        more("Origin: https://elsewhere.example\r\n"),
        more("Sec-WebSocket-Protocol: chat\r\n"),
        // Extensions that are offered need not be taken up; what is nonsense is no offer.
        more("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        more(
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover\r\n",
        ),
        more(
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99, x-webkit-deflate-frame\r\n",
        ),
        more("Sec-WebSocket-Extensions: ;;=,\r\n"),
    ] {
        let (mut wire, head) = Wire::ask(&front, &request).await;
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{request}{head}");
        assert!(
            head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nupgrade: websocket\r\n"),
            "{head}"
        );
        assert!(
            !head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"),
            "{head}"
        );
        wire.say(&frame(FIN | PING, "?")).await;
        assert_eq!(wire.hear().await, Said::Pong(b"?".to_vec()));
    }
    for request in [
        with(connection, ""),
        with(connection, "Connection: close\r\n"),
        with(upgrade, ""),
        with(upgrade, "Upgrade: websockets\r\n"),
        with(version, ""),
        with(version, "Sec-WebSocket-Version: 8\r\n"),
        with(version, "Sec-WebSocket-Version: 130\r\n"),
        with(key, ""),
        with(key, "Sec-WebSocket-Key: \r\n"),
        with(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"),
        with(key, "Sec-WebSocket-Key: not Base64 at all!!!!\r\n"),
        more(&format!("{key}\r\n")),
    ] {
        let (_, head) = Wire::ask(&front, &request).await;
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 426"), "{request}{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
    }
    let (_, head) = Wire::ask(&front, &more("").replacen("GET", "POST", 1)).await;
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_leave_without_a_word_even_within_a_message() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    for said in [&b""[..], &frame(TEXT, "half a mess"), &frame(FIN | TEXT, "half a frame")[..9]] {
        let mut wire = Wire::open(&front, &ada).await;
        wire.say(said).await;
        wire.stream.shutdown().await.unwrap();
        assert_eq!(wire.hear().await, Said::End, "there is nobody to say goodbye to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_thrown_out_hears_why_though_it_has_more_to_say_and_much_to_read() {
    let site = Site::builder().start().await;
    let front = site.front().await.url();
    let ada = site.register(&front, "ada").await;
    let mut wire = Wire::open(&front, &ada).await;
    // Answers that do not fit on the way, and after what breaks the protocol more than that.
    let questions: Vec<u8> = (1..=10_000).flat_map(ping).collect();
    wire.say(&questions).await;
    wire.stream.write_all(&vec![0xff; 16 << 20]).await.expect("the front reads on");
    let (mut heard, reading) = (vec![], &mut wire.stream);
    let told = async {
        while !heard.ends_with(&[FIN | CLOSE, 2, 0x11, 0x96]) {
            assert_ne!(reading.read_buf(&mut heard).await.expect("no reset"), 0, "the close was lost");
        }
    };
    timeout(PATIENCE, told).await.expect("the close comes");
}
