//! What a message says besides its words.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{MessageId, RoomId, UserId};

/// Most people whom a message mentions by name.
pub const MENTIONS_MAX: usize = 50;
/// Longest structured content, in bytes of JSON without white space.
pub const META_MAX_BYTES: usize = 4_096;
/// How deep objects and arrays may stand in each other there.
pub const META_MAX_DEPTH: usize = 8;

/// Whom a message calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema), ts(optional_fields))]
pub struct Mentions {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Vec<UserId>>"))]
    pub users: Vec<UserId>,
    /// Everybody in the room.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub all: bool,
    /// Everybody in the room who is online.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<bool>"))]
    pub here: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message mentions at most {MENTIONS_MAX} people by name")]
pub struct TooManyMentions;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Mentions {
    /// Each person once, in the order in which they are named first.
    pub fn new(users: Vec<UserId>, all: bool, here: bool) -> Result<Self, TooManyMentions> {
        let mut seen = HashSet::new();
        let users: Vec<_> = users.into_iter().filter(|user| seen.insert(*user)).collect();
        if users.len() > MENTIONS_MAX { Err(TooManyMentions) } else { Ok(Self { users, all, here }) }
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && !self.is_for_many()
    }

    /// Whether it calls people without naming them.
    pub fn is_for_many(&self) -> bool {
        self.all || self.here
    }
}

/// Structured content: a sticker, a block of code, whatever clients agree upon. A JSON object, bounded in length and depth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Meta(Map<String, Value>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeta {
    #[error("the structured content is longer than {META_MAX_BYTES} bytes")]
    TooLong,
    #[error("the structured content is deeper than {META_MAX_DEPTH} levels")]
    TooDeep,
}

impl Meta {
    pub fn new(object: Map<String, Value>) -> Result<Self, InvalidMeta> {
        if object.values().any(|value| is_deeper(value, META_MAX_DEPTH - 1)) {
            return Err(InvalidMeta::TooDeep);
        }
        let meta = Self(object);
        if meta.to_json().len() > META_MAX_BYTES { Err(InvalidMeta::TooLong) } else { Ok(meta) }
    }

    /// Without white space.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// Whether `value` holds more than `levels` objects or arrays in each other.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| is_deeper(field, levels - 1)),
        _ => false,
    }
}

impl TryFrom<Map<String, Value>> for Meta {
    type Error = InvalidMeta;

    fn try_from(object: Map<String, Value>) -> Result<Self, InvalidMeta> {
        Self::new(object)
    }
}

impl From<Meta> for Map<String, Value> {
    fn from(meta: Meta) -> Self {
        meta.0
    }
}

/// Where a message was first said, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub struct Forwarded {
    pub room: RoomId,
    pub mid: MessageId,
    pub author: UserId,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meta(value: Value) -> Result<Meta, InvalidMeta> {
        let Value::Object(object) = value else { panic!("{value}") };
        Meta::new(object)
    }

    #[test]
    fn structured_content_is_bounded_in_length_and_depth() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(meta(json!({})).is_ok());
        assert!(meta(nested(META_MAX_DEPTH)).is_ok());
        assert_eq!(meta(nested(META_MAX_DEPTH + 1)), Err(InvalidMeta::TooDeep));
        assert_eq!(meta(json!({ "a": [[[[[[[[]]]]]]]] })), Err(InvalidMeta::TooDeep));
        let text = |bytes: usize| json!({ "a": "x".repeat(bytes - r#"{"a":""}"#.len()) });
        assert!(meta(text(META_MAX_BYTES)).is_ok());
        assert_eq!(meta(text(META_MAX_BYTES + 1)), Err(InvalidMeta::TooLong));
    }

    #[test]
    fn each_person_is_mentioned_once_and_not_too_many_are() {
        let (ann, bob) = (UserId::random(), UserId::random());
        assert_eq!(Mentions::new(vec![bob, ann, bob], false, false).map(|m| m.users), Ok(vec![bob, ann]));
        let many = |n: usize| (0..n).map(|_| UserId::random()).collect::<Vec<_>>();
        assert!(Mentions::new(many(MENTIONS_MAX), true, true).is_ok());
        assert_eq!(Mentions::new(many(MENTIONS_MAX + 1), false, false), Err(TooManyMentions));
    }
}
