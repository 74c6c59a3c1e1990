//! An HTTP client that costs next to nothing: one connection, kept alive, one request at a time.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const READ_BYTES: usize = 64 << 10;

pub struct Http {
    stream: TcpStream,
    head: String,
    answer: Vec<u8>,
}

impl Http {
    /// `token`: the access token of whom all requests are.
    pub async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let head = format!(" HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Ok(Self { stream, head, answer: Vec::with_capacity(READ_BYTES) })
    }

    /// The bytes of a whole answer, head and body. Anything but 200 is an error.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<&[u8]> {
        self.stream.write_all(format!("GET {path}{}", self.head).as_bytes()).await?;
        self.answer.clear();
        while !is_whole(&self.answer)? {
            self.answer.reserve(READ_BYTES);
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the answer breaks off");
        }
        let ok = self.answer.starts_with(b"HTTP/1.1 200");
        ensure!(ok, "{path}: {}", String::from_utf8_lossy(&self.answer));
        Ok(&self.answer)
    }
}

/// Whether an answer has come to its end, by its length or by the last of its chunks.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (&answer[..end + 2], &answer[end + 4..]);
    let Some(at) = memmem::find(head, LENGTH) else { return Ok(body.ends_with(b"0\r\n\r\n")) };
    let length = &head[at + LENGTH.len()..];
    let length = &length[..memmem::find(length, b"\r\n").context("a line ends")?];
    Ok(body.len() >= std::str::from_utf8(length)?.parse::<usize>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_length_or_its_last_chunk() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\ncontent-le", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{}", true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", true),
        ] {
            assert_eq!(is_whole(answer.as_bytes()).ok(), Some(whole), "{answer}");
        }
    }
}
