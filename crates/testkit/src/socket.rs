use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::PATIENCE;

/// A WebSocket connection to a front, frame by frame.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that were passed over by [`Socket::until`].
    skipped: VecDeque<Value>,
}

/// The connection has ended; the close code if there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed(pub Option<u16>);

impl Socket {
    /// Connects to a front by its base URL; says nothing yet.
    pub async fn open(front: &str) -> Result<Self, Box<Error>> {
        let url = format!("{}/v1/ws", front.replacen("http", "ws", 1));
        let request = url.into_client_request().map_err(Box::new)?;
        let (stream, _) = tokio_tungstenite::connect_async(request).await.map_err(Box::new)?;
        Ok(Self { stream, skipped: VecDeque::new() })
    }

    pub async fn send(&mut self, frame: &Value) -> Result<(), Closed> {
        self.send_raw(Message::text(frame.to_string())).await
    }

    pub async fn send_raw(&mut self, message: Message) -> Result<(), Closed> {
        self.stream.send(message).await.map_err(|_| Closed(None))
    }

    /// The next frame; pings are answered on the way. Fails the test when none comes. Cancel safe.
    pub async fn next(&mut self) -> Result<Value, Closed> {
        if let Some(frame) = self.skipped.pop_front() {
            return Ok(frame);
        }
        timeout(PATIENCE, self.receive()).await.expect("a frame comes")
    }

    async fn receive(&mut self) -> Result<Value, Closed> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(close))) => return Err(Closed(close.map(|c| c.code.into()))),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Closed(None)),
            }
        }
    }

    /// The next frame that `wanted` picks; those before it come again from [`Socket::next`].
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.skipped.iter().position(&wanted) {
            return self.skipped.remove(index).expect("it is there");
        }
        loop {
            let frame = timeout(PATIENCE, self.receive()).await.expect("the frame comes");
            let frame = frame.expect("the connection lasts");
            if wanted(&frame) {
                return frame;
            }
            self.skipped.push_back(frame);
        }
    }

    /// Sends a request with an `id` and waits for its answer, `ok` or `err`.
    pub async fn ask(&mut self, request: Value) -> Value {
        let id = request["id"].clone();
        self.send(&request).await.expect("the connection lasts");
        self.until(|frame| (frame["t"] == "ok" || frame["t"] == "err") && frame["id"] == id).await
    }

    /// Reads to the end of the connection.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }
}
