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
        Self::of(http, &body, &password)
    }

    /// Another session of somebody who is registered; `login` is a name or an e-mail address.
    pub async fn log_in(http: &reqwest::Client, front: &str, login: &str, password: &str) -> Self {
        let request = http
            .post(format!("{front}/v1/auth/login"))
            .json(&json!({ "login": login, "password": password }));
        let (status, body) = answer(request).await.expect("the front answers");
        assert_eq!(status, StatusCode::OK, "{body}");
        Self::of(http, &body, password)
    }

    /// The same person on another device.
    pub async fn another(&self, front: &str) -> Self {
        Self::log_in(&self.http, front, &self.username, &self.password).await
    }

    /// The same session with fresh tokens.
    pub async fn refreshed(&self, front: &str) -> Self {
        let request = self
            .http
            .post(format!("{front}/v1/auth/refresh"))
            .json(&json!({ "refresh_token": self.refresh_token }));
        let (status, body) = answer(request).await.expect("the front answers");
        assert_eq!(status, StatusCode::OK, "{body}");
        Self::of(&self.http, &body, &self.password)
    }

    fn of(http: &reqwest::Client, login: &Value, password: &str) -> Self {
        let text = |name: &str| login[name].as_str().expect("a text").to_owned();
        Self {
            http: http.clone(),
            user: text("user").parse().expect("an id"),
            username: text("username"),
            password: password.to_owned(),
            token: text("access_token"),
            refresh_token: text("refresh_token"),
        }
    }

    /// A request on behalf of this session.
    pub fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Any request: status and body.
    pub async fn ask(&self, method: Method, url: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.request(method, url);
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
