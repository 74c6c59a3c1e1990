use natterjack_domain::{RoomId, UserId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Socket, site::answer};

/// A person with an account and a session.
#[derive(Clone)]
pub struct Account {
    pub http: reqwest::Client,
    pub user: UserId,
    pub username: String,
    pub password: String,
    pub token: String,
    pub refresh_token: String,
}

impl Account {
    pub async fn register(http: &reqwest::Client, front: &str, username: &str) -> Self {
        let password = format!("{username}-secret");
        let request = http
            .post(format!("{front}/v1/auth/register"))
            .json(&json!({ "username": username, "password": password }));
        let (status, body) = answer(request).await.expect("the front answers");
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |name: &str| body[name].as_str().expect("a text").to_owned();
        Self {
            http: http.clone(),
            user: text("user").parse().expect("an id"),
            username: username.to_owned(),
            password,
            token: text("access_token"),
            refresh_token: text("refresh_token"),
        }
    }

    /// Any request: status and body.
    pub async fn ask(&self, method: Method, url: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await.expect("the front answers")
    }

    pub async fn get(&self, url: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, url, None).await
    }

    pub async fn post(&self, url: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, url, Some(body)).await
    }

    pub async fn create_room(&self, front: &str, name: &str, visibility: &str) -> RoomId {
        let body = json!({ "name": name, "visibility": visibility });
        let (status, body) = self.post(&format!("{front}/v1/rooms"), body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["room"].as_str().expect("a text").parse().expect("an id")
    }

    pub async fn join(&self, front: &str, room: RoomId) {
        let (status, body) = self.post(&format!("{front}/v1/rooms/{room}/join"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// An open connection that was welcomed.
    pub async fn connect(&self, front: &str) -> Socket {
        self.try_connect(front).await.expect("the front takes connections")
    }

    /// The same, while the front may be away.
    pub async fn try_connect(&self, front: &str) -> Option<Socket> {
        let mut socket = Socket::open(front).await.ok()?;
        socket.send(&json!({ "t": "hello", "token": self.token })).await.ok()?;
        let welcome = socket.next().await.ok()?;
        (welcome["t"] == "welcome").then_some(socket)
    }
}
