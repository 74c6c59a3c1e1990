//! The WebSocket protocol as an AsyncAPI document, made from the types of [`crate::frame`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::frame::{ClientFrame, SUBPROTOCOL, ServerFrame};

/// The document, as it is served and kept in `docs/asyncapi.json`.
pub fn asyncapi() -> String {
    let mut schemas = BTreeMap::new();
    let from_client = messages::<ClientFrame>("client", &mut schemas);
    let from_server = messages::<ServerFrame>("server", &mut schemas);
    let names = from_client.keys().chain(from_server.keys());
    let channel: Map<_, _> =
        names.map(|name| (name.clone(), reference("components/messages", name))).collect();
    let operation = |action: &str, summary: &str, messages: &Map<String, Value>| {
        let messages: Vec<_> =
            messages.keys().map(|name| reference("channels/socket/messages", name)).collect();
        json!({ "action": action, "channel": reference("channels", "socket"), "summary": summary, "messages": messages })
    };
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Natterjack",
            "version": SUBPROTOCOL,
            "description": "Live events of a Natterjack front. One text message is one frame or an array of at most 64. What frames \
                            mean, and the rules of following: docs/protocol.md. The REST interface: /v1/openapi.json.",
            "license": { "name": "MIT" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "front": {
                "host": "natterjack.example",
                "protocol": "wss",
                "description": "Any front. The access token stands in `hello` or in the Authorization header.",
                "security": [{ "$ref": "#/components/securitySchemes/access_token" }],
            },
        },
        "channels": {
            "socket": {
                "address": "/v1/ws",
                "messages": channel,
                "bindings": { "ws": { "method": "GET" } },
            },
        },
        "operations": {
            "receive": operation("receive", "What a client says.", &from_client),
            "send": operation("send", "What the server says.", &from_server),
        },
        "components": {
            "messages": from_client.into_iter().chain(from_server).collect::<Map<_, _>>(),
            "schemas": schemas,
            "securitySchemes": { "access_token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    });
    format!("{document:#}\n")
}

fn reference(place: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/{place}/{name}") })
}

/// One message for each kind of frame, and in `schemas` what their fields are.
fn messages<T: ToSchema>(side: &str, schemas: &mut BTreeMap<String, Value>) -> Map<String, Value> {
    let plain = |schema| serde_json::to_value(schema).expect("a schema is plain data");
    let mut parts = vec![];
    T::schemas(&mut parts);
    schemas.extend(parts.into_iter().map(|(name, schema)| (name, plain(schema))));
    let frames = plain(T::schema());
    let kinds = frames["oneOf"].as_array().into_iter().flatten();
    kinds.map(|frame| message(side, frame)).collect()
}

fn message(side: &str, frame: &Value) -> (String, Value) {
    let kind = kind(frame).expect("every frame has its type");
    let mut message = json!({ "name": kind, "payload": frame });
    if let Some(words) = frame["description"].as_str() {
        message["summary"] = words.into();
    }
    (format!("{side}.{kind}"), message)
}

/// What `t` is.
fn kind(frame: &Value) -> Option<&str> {
    let parts = frame["allOf"].as_array().into_iter().flatten();
    frame["properties"]["t"]["enum"][0].as_str().or_else(|| parts.into_iter().find_map(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&asyncapi()).unwrap();
        let mut waiting = vec![&document];
        let mut references = 0;
        while let Some(part) = waiting.pop() {
            if let Some(to) = part.get("$ref").and_then(Value::as_str) {
                references += 1;
                assert!(document.pointer(&to[1..]).is_some(), "{to}");
            }
            match part {
                Value::Array(items) => waiting.extend(items),
                Value::Object(fields) => waiting.extend(fields.values()),
                _ => {}
            }
        }
        assert!(references > 20);
        let messages = &document["components"]["messages"];
        assert!(messages["client.send"]["payload"]["properties"]["cid"].is_object(), "{messages}");
        assert!(messages["server.ev"].is_object(), "{messages}");
    }
}
