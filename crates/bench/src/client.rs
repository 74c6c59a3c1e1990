//! A WebSocket client that costs next to nothing, so that the figures are the server's.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Poll, ready},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Read at once, at most; a frame has to fit.
const BUFFER_BYTES: usize = 256 << 10;
const HEAD_MAX_BYTES: usize = 4 << 10;

thread_local! {
    /// All connections of a thread share it: what is read is looked at before anything else happens.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

pub struct Reader {
    half: OwnedReadHalf,
    /// The beginning of a frame whose rest has not come yet.
    begun: Vec<u8>,
}

pub struct Writer(OwnedWriteHalf);

/// Opens a WebSocket.
pub async fn connect(address: SocketAddr, path: &str) -> anyhow::Result<(Reader, Writer)> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_MAX_BYTES {
            bail!("the answer to the upgrade is too long");
        }
        head.push(stream.read_u8().await.context("the upgrade was not answered")?);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("the upgrade was refused: {}", String::from_utf8_lossy(&head));
    }
    let (read, write) = stream.into_split();
    Ok((Reader { half: read, begun: Vec::new() }, Writer(write)))
}

impl Reader {
    /// Waits for bytes, reads once, and shows the payload of each frame that is complete. Cancel safe.
    pub async fn read(&mut self, mut frame: impl FnMut(&[u8])) -> io::Result<()> {
        poll_fn(|cx| {
            BUFFER.with_borrow_mut(|buffer| {
                let have = self.begun.len();
                buffer[..have].copy_from_slice(&self.begun);
                let mut space = ReadBuf::new(&mut buffer[have..]);
                ready!(Pin::new(&mut self.half).poll_read(cx, &mut space))?;
                let read = space.filled().len();
                if read == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                let bytes = &buffer[..have + read];
                let used = frames(bytes, &mut frame);
                self.begun.clear();
                self.begun.extend_from_slice(&bytes[used..]);
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    /// Reads until a frame holds `text`; gives that frame.
    pub async fn until(&mut self, text: &str) -> anyhow::Result<String> {
        let mut found = None;
        while found.is_none() {
            let mut refused = None;
            self.read(|payload| {
                if memchr::memmem::find(payload, text.as_bytes()).is_some() {
                    found.get_or_insert_with(|| String::from_utf8_lossy(payload).into_owned());
                } else if payload.starts_with(br#"{"t":"err""#) {
                    refused = Some(String::from_utf8_lossy(payload).into_owned());
                }
            })
            .await
            .with_context(|| format!("waiting for {text}"))?;
            if let Some(refused) = refused {
                bail!("waiting for {text}: {refused}");
            }
        }
        found.context("the loop ends with a frame")
    }
}

/// Shows the complete frames of an unmasked stream; gives the bytes that they take.
fn frames(bytes: &[u8], frame: &mut impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(short) = rest.get(1).map(|len| usize::from(len & 0x7f)) else { return at };
        let (header, len) = match (short, rest) {
            (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [_, _, _, _, _, _, a, b, c, d, ..]) => (10, u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            (126 | 127, _) => return at,
            (len, _) => (2, len),
        };
        let Some(payload) = rest.get(header..header + len) else { return at };
        frame(payload);
        at += header + len;
    }
}

impl Writer {
    /// Sends a text frame. The socket has to have room for it: a client with a full socket is an error here.
    pub fn send(&self, text: &str) -> io::Result<()> {
        self.write(&masked(text))
    }

    /// Sends several at once.
    pub fn send_all(&self, texts: impl IntoIterator<Item = String>) -> io::Result<()> {
        self.write(&texts.into_iter().flat_map(|text| masked(&text)).collect::<Vec<_>>())
    }

    /// Answers a ping that bears nothing.
    pub fn pong(&self) -> io::Result<()> {
        self.write(&[0x8a, 0x80, 0, 0, 0, 0])
    }

    /// Says that nothing more comes (close code 1000).
    pub fn close(&self) -> io::Result<()> {
        self.write(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
    }

    fn write(&self, frame: &[u8]) -> io::Result<()> {
        match self.0.try_write(frame)? {
            written if written == frame.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// A whole text message in one frame, masked with zeros: to the server any mask costs the same.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 14);
    frame.push(0x81);
    match u16::try_from(text.len()) {
        Ok(len @ 0..=125) => frame.push(0x80 | len.to_be_bytes()[1]),
        Ok(len) => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_and_the_rest_is_left() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x81, 126, 0, 200];
        bytes.extend([b'x'; 200]);
        bytes.extend([0x89, 0, 0x81, 5, b'r']);
        let mut seen = vec![];
        let used = frames(&bytes, &mut |payload| seen.push(payload.len()));
        assert_eq!(seen, vec![2, 200, 0]);
        assert_eq!(&bytes[used..], [0x81, 5, b'r']);
    }
}
