//! A first account with a public room, made through the product's own interfaces.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{data_dir::DataDir, secrets::Secrets};

const ACCOUNT: &str = "demo";
const ROOM: &str = "Lobby";
const WELCOME: &str =
    "Welcome to Natterjack. Open a second browser, register another name, join this room and say hello.";
const WITHIN: Duration = Duration::from_secs(30);

/// Makes them once: afterwards a file says so, whatever has become of them.
pub async fn seed(data: &DataDir, secrets: &Secrets, url: &str) -> anyhow::Result<()> {
    if data.join("demo").exists() {
        return Ok(());
    }
    let work = make(url, secrets.password("demo"));
    let room = tokio::time::timeout(WITHIN, work).await.context("timed out").flatten();
    data.keep("demo", room.context("the demo room could not be made")?)
}

async fn make(url: &str, password: &str) -> anyhow::Result<String> {
    let client = Client::new();
    let token = log_in(&client, url, password).await?;
    let body = json!({ "name": ROOM, "visibility": "public" });
    let request = client.post(format!("{url}/v1/rooms")).bearer_auth(&token).json(&body);
    let made: Value = request.send().await?.error_for_status()?.json().await?;
    let room = made["room"].as_str().context("the answer names no room")?.to_owned();
    say_welcome(url, &token, &room).await.context("saying welcome")?;
    Ok(room)
}

/// Registers, or logs in where an earlier attempt got that far.
async fn log_in(client: &Client, url: &str, password: &str) -> anyhow::Result<String> {
    let register = json!({ "username": ACCOUNT, "password": password });
    let mut answer = client.post(format!("{url}/v1/auth/register")).json(&register).send().await?;
    if answer.status() == StatusCode::CONFLICT {
        let login = json!({ "login": ACCOUNT, "password": password });
        answer = client.post(format!("{url}/v1/auth/login")).json(&login).send().await?;
    }
    let login: Value = answer.error_for_status()?.json().await?;
    Ok(login["access_token"].as_str().context("the answer holds no token")?.to_owned())
}

async fn say_welcome(url: &str, token: &str, room: &str) -> anyhow::Result<()> {
    let socket = url.replacen("http", "ws", 1) + "/v1/ws";
    let (mut socket, _) = tokio_tungstenite::connect_async(socket).await?;
    let hello = json!({ "t": "hello", "token": token, "client": "natterjack up" });
    let send = json!({ "t": "send", "id": 1, "room": room, "cid": Uuid::now_v7(), "body": WELCOME });
    for frame in [hello, send] {
        socket.send(Message::text(frame.to_string())).await?;
    }
    while let Some(message) = socket.next().await {
        match settled(message?.to_text()?)? {
            Some(Ok(())) => return Ok(socket.close(None).await?),
            Some(Err(title)) => bail!("refused: {title}"),
            None => {}
        }
    }
    bail!("the connection was closed")
}

/// What the frames in a message say about the request, if anything.
fn settled(text: &str) -> anyhow::Result<Option<Result<(), String>>> {
    let frames = match serde_json::from_str(text)? {
        Value::Array(frames) => frames,
        frame => vec![frame],
    };
    Ok(frames.iter().find_map(|frame| match frame["t"].as_str() {
        Some("ok") => Some(Ok(())),
        Some("err" | "bye") => Some(Err(frame.to_string())),
        _ => None,
    }))
}
