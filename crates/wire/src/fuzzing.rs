//! What holds for any text that a client sends, and any bytes that the log delivers. `fuzz/` runs it, and the tests run it
//! over the corpus.

use natterjack_domain::RoomId;
use serde_json::Value;

use crate::{
    ErrorCode,
    event::{DecodeError, StoredEvent, VERSION},
    frame::{self, BATCH_MAX_FRAMES, ClientFrame, Malformed},
};

/// Every frame of a message is read or refused, each by itself, and a frame that was read is all that the text says.
pub fn client_frames(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let results = frame::parse(text);
    assert!(results.len() <= BATCH_MAX_FRAMES);
    for frame in results.iter().flatten() {
        let again = serde_json::to_string(frame).expect("a frame is plain data");
        assert_eq!(frame::parse(&again), [Ok(frame.clone())]);
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(frames)) if frames.len() > BATCH_MAX_FRAMES => {
            assert!(matches!(&results[..], [Err(Malformed { code: ErrorCode::BatchTooLong, .. })]));
        }
        Ok(Value::Array(frames)) => {
            assert_eq!(frames.len(), results.len());
            frames.into_iter().zip(results).for_each(|(said, result)| check_frame(said, result));
        }
        Ok(said) => {
            let [result] = results.try_into().expect("one frame, one result");
            check_frame(said, result);
        }
        // It may be nested deeper, where nobody looks, or be an array of frames some of which are fine.
        Err(_) => {}
    }
}

fn check_frame(mut said: Value, result: Result<ClientFrame, Malformed>) {
    let id = said.get("id").and_then(Value::as_u64);
    match result {
        // A name that stands twice names nothing.
        Err(malformed) => assert!(malformed.id.is_none() || malformed.id == id),
        Ok(frame) => {
            assert_eq!(said["t"], frame.kind());
            assert_eq!(frame.id(), id.or_else(|| said.get("n").and_then(Value::as_u64)));
            let mut frame = serde_json::to_value(frame).expect("a frame is plain data");
            // Structured content may hold them.
            drop_nulls(&mut frame);
            drop_nulls(&mut said);
            assert_eq!(frame, said);
        }
    }
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(drop_nulls);
    }
}

/// The short way of reading gives what the plain way gives; what was read can be written again, told in the words of
/// the domain, and sent to a client.
pub fn stored_event(bytes: &[u8]) {
    let decoded = StoredEvent::decode(bytes);
    match (serde_json::from_slice::<StoredEvent>(bytes), &decoded) {
        (Ok(plain), Ok(event)) => assert_eq!(plain, *event),
        (Ok(plain), Err(DecodeError::NewerVersion(v))) => assert_eq!(u64::from(plain.v), *v),
        (Ok(plain), Err(DecodeError::Malformed(_))) => assert_eq!(plain.v, 0),
        (Err(_), _) => {}
    }
    let Ok(event) = decoded else { return };
    assert_eq!(event.v, VERSION);
    let again = StoredEvent::decode(&event.encode()).expect("what was written can be read");
    assert_eq!(again, event);
    assert_eq!(StoredEvent::new(event.id, &event.clone().fact()), event);
    let mut sent = vec![];
    frame::event_prefix(&mut sent, RoomId::from_uuid(*event.id.as_uuid()), 7, 3, "2026-11-20T19:00:00Z");
    sent.extend_from_slice(bytes);
    sent.extend_from_slice(frame::EVENT_SUFFIX);
    assert!(std::str::from_utf8(&sent).is_ok(), "a text message is UTF-8");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay::replay("client_frames", client_frames);
        replay::replay("stored_event", stored_event);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
