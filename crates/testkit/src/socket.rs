use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use natterjack_domain::{ClientId, RoomId};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderMap, HeaderValue},
    },
};

use crate::PATIENCE;

/// A WebSocket connection to a front, frame by frame.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that were passed over by [`Socket::until`].
    skipped: VecDeque<Value>,
    last_id: u64,
}

/// The connection has ended; the close code if there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed(pub Option<u16>);

impl Socket {
    /// Connects to a front by its base URL; says nothing yet.
    pub async fn open(front: &str) -> Result<Self, Box<Error>> {
        Ok(Self::open_with(front, &[]).await?.0)
    }

    /// The same with headers of one's own; also gives the headers of the answer.
    pub async fn open_with(
        front: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, HeaderMap), Box<Error>> {
        let mut request = request(front)?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| Box::new(Error::from(error)))?;
            request.headers_mut().append(*name, value);
        }
        let (stream, response) = tokio_tungstenite::connect_async(request).await.map_err(Box::new)?;
        Ok((Self { stream, skipped: VecDeque::new(), last_id: 1_000 }, response.into_parts().0.headers))
    }

    /// A connection whose buffer in the kernel is small: what the client does not read soon waits at the front.
    pub async fn open_narrow(front: &str) -> Result<Self, Box<Error>> {
        const BUFFER_BYTES: u32 = 8_192;
        let connect = async {
            let address = front.trim_start_matches("http://").parse().map_err(std::io::Error::other)?;
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
            socket.connect(address).await
        };
        let stream = connect.await.map_err(|error| Box::new(Error::Io(error)))?;
        let stream = MaybeTlsStream::Plain(stream);
        let (stream, _) = tokio_tungstenite::client_async(request(front)?, stream).await.map_err(Box::new)?;
        Ok(Self { stream, skipped: VecDeque::new(), last_id: 1_000 })
    }

    pub async fn send(&mut self, frame: &Value) -> Result<(), Closed> {
        self.send_raw(Message::text(frame.to_string())).await
    }

    pub async fn send_raw(&mut self, message: Message) -> Result<(), Closed> {
        self.stream.send(message).await.map_err(|_| Closed(None))
    }

    /// Says hello with `token`; gives `welcome`.
    pub async fn hello(&mut self, token: &str) -> Value {
        self.send(&json!({ "t": "hello", "token": token })).await.expect("the connection lasts");
        let welcome = self.next().await.expect("the connection lasts");
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        welcome
    }

    /// The next frame; pings are answered on the way. Fails the test when none comes. Cancel safe.
    pub async fn next(&mut self) -> Result<Value, Closed> {
        if let Some(frame) = self.skipped.pop_front() {
            return Ok(frame);
        }
        timeout(PATIENCE, self.receive()).await.expect("a frame comes")
    }

    /// The text of the next frame, to the byte; frames that were passed over do not come again.
    pub async fn next_text(&mut self) -> Result<String, Closed> {
        timeout(PATIENCE, self.receive_text()).await.expect("a frame comes")
    }

    async fn receive(&mut self) -> Result<Value, Closed> {
        let text = self.receive_text().await?;
        Ok(serde_json::from_str(&text).expect("frames are JSON"))
    }

    async fn receive_text(&mut self) -> Result<String, Closed> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
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

    /// Sends a request with an `id` (of a ping: `n`) and waits for its answer, `ok` or `err`.
    pub async fn ask(&mut self, request: Value) -> Value {
        let id = request.get("id").unwrap_or(&request["n"]).clone();
        self.send(&request).await.expect("the connection lasts");
        self.until(|frame| (frame["t"] == "ok" || frame["t"] == "err") && frame["id"] == id).await
    }

    /// Follows `room` from now on, or from what `more` says; gives the answer.
    pub async fn subscribe(&mut self, room: RoomId, more: Value) -> Value {
        let mut request = json!({ "t": "sub", "id": self.request_id(), "room": room });
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        self.ask(request).await
    }

    /// Sends a message and waits for the answer.
    pub async fn post(&mut self, room: RoomId, body: &str) -> Value {
        let cid = ClientId::random();
        let id = self.request_id();
        self.ask(json!({ "t": "send", "id": id, "room": room, "cid": cid, "body": body })).await
    }

    /// A number for the next request of this connection.
    pub fn request_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Fails the test when a frame that `unwanted` picks comes before the answer to a ping that is sent now.
    pub async fn assert_none(&mut self, unwanted: impl Fn(&Value) -> bool) {
        let n = self.request_id();
        self.send(&json!({ "t": "ping", "n": n })).await.expect("the connection lasts");
        let pong = |frame: &Value| frame["t"] == "ok" && frame["id"] == n;
        let found = self.until(|frame| unwanted(frame) || pong(frame)).await;
        assert!(pong(&found), "this should not have come: {found}");
    }

    /// Reads to the end of the connection; gives the last frame before it, and how it ended.
    pub async fn last_words(&mut self) -> (Value, Closed) {
        let mut last = Value::Null;
        loop {
            match self.next().await {
                Ok(frame) => last = frame,
                Err(closed) => return (last, closed),
            }
        }
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

fn request(front: &str) -> Result<Request, Box<Error>> {
    format!("{}/v1/ws", front.replacen("http", "ws", 1)).into_client_request().map_err(Box::new)
}
