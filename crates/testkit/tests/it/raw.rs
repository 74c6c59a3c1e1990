//! A client that speaks WebSocket byte by byte, to say what a good library would not.

use natterjack_testkit::PATIENCE;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

pub struct Raw {
    stream: TcpStream,
}

/// What a front sent until it closed the connection.
#[derive(Debug)]
pub struct Words {
    pub frames: Vec<Value>,
    pub close: Option<u16>,
}

impl Raw {
    /// A connection that was upgraded; says nothing yet.
    pub async fn open(front: &str) -> Self {
        let address = front.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self { stream }
    }

    /// The same after hello.
    pub async fn connect(front: &str, token: &str) -> Self {
        let mut raw = Self::open(front).await;
        raw.send(TEXT, json!({ "t": "hello", "token": token }).to_string().as_bytes()).await;
        raw
    }

    /// Sends one frame; `first` is its first byte. Fails quietly: the front may have hung up.
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        let len = u64::try_from(payload.len()).unwrap();
        // Masked with zeroes: the mask may be anything.
        let mut frame = vec![first, 0x80 | 127];
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        let _ = self.stream.write_all(&frame).await;
    }

    /// Reads to the end, answers nothing; hangs up once the front has closed.
    pub async fn words(mut self) -> Words {
        let mut bytes = vec![];
        let reading = async {
            while self.stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                if matches!(bytes[..], [.., CLOSE, 2, _, _]) {
                    let _ = self.stream.shutdown().await;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("the front hangs up");
        let (mut frames, mut close, mut rest) = (vec![], None, bytes.as_slice());
        while let [first, len, more @ ..] = rest {
            let (len, more) = match len {
                126 => (usize::from(u16::from_be_bytes([more[0], more[1]])), &more[2..]),
                127 => panic!("no frame of this test is so long"),
                len => (usize::from(*len), more),
            };
            let (payload, more) = more.split_at(len);
            match *first {
                TEXT => frames.push(serde_json::from_slice(payload).unwrap()),
                CLOSE => close = Some(u16::from_be_bytes([payload[0], payload[1]])),
                _ => {}
            }
            rest = more;
        }
        Words { frames, close }
    }
}
