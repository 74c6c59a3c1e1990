//! One readiness check over all streams.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use natterjack_runtime::ops::{Check, Readiness};

/// Ready once every stream works.
#[derive(Clone)]
pub struct Health {
    check: Check,
    troubles: Arc<Mutex<BTreeMap<u16, String>>>,
}

impl Health {
    pub fn new(readiness: &Readiness, streams: u16) -> Self {
        Self::on(readiness.require("projection"), streams)
    }

    /// Nobody who wants to chat needs to be able to search.
    pub fn of_search(readiness: &Readiness, streams: u16) -> Self {
        Self::on(readiness.observe("search"), streams)
    }

    fn on(check: Check, streams: u16) -> Self {
        let troubles = (0..streams).map(|stream| (stream, "starting".to_owned())).collect();
        Self { check, troubles: Arc::new(Mutex::new(troubles)) }
    }

    /// What keeps everything from working, before any stream could begin.
    pub fn unready(&self, reason: &str) {
        self.check.unready(reason);
    }

    pub fn set(&self, stream: u16, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match trouble {
            Some(text) => troubles.insert(stream, text.clone()).is_some_and(|before| before == text),
            None => troubles.remove(&stream).is_none(),
        };
        if before {
            return;
        }
        match troubles.iter().next() {
            None => self.check.ready(),
            Some((stream, text)) => self.check.unready(format!("stream {stream}: {text}")),
        }
    }
}
