use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use serde::Serialize;

use crate::metrics::READY;

/// Whether this process should be given work, as a set of named checks. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    checks: BTreeMap<&'static str, Status>,
    draining: bool,
}

#[derive(Debug, Clone)]
struct Status {
    required: bool,
    trouble: Option<String>,
}

/// One check as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub name: &'static str,
    pub ready: bool,
    /// Whether the process is unready while this check fails.
    pub required: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All checks, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub draining: bool,
    pub checks: Vec<CheckReport>,
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    /// A check that must pass. It begins unready ("starting").
    pub fn require(&self, name: &'static str) -> Check {
        self.register(name, true)
    }

    /// A check that is shown but does not make the process unready: it can work without.
    pub fn observe(&self, name: &'static str) -> Check {
        self.register(name, false)
    }

    /// From now on the process is unready, whatever the checks say.
    pub fn drain(&self) {
        self.state().draining = true;
    }

    pub fn report(&self) -> Report {
        let state = self.state();
        let fine = state.checks.values().all(|s| s.trouble.is_none() || !s.required);
        let checks = state.checks.iter().map(|(name, status)| CheckReport {
            name,
            ready: status.trouble.is_none(),
            required: status.required,
            reason: status.trouble.clone(),
        });
        Report { ready: fine && !state.draining, draining: state.draining, checks: checks.collect() }
    }

    fn register(&self, name: &'static str, required: bool) -> Check {
        let check = Check { name, readiness: self.clone() };
        check.set(required, Some("starting".to_owned()));
        check
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a panic cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets one check. Clones are the same check.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    readiness: Readiness,
}

impl Check {
    pub fn ready(&self) {
        self.update(None);
    }

    /// `reason` is shown to operators.
    pub fn unready(&self, reason: impl Into<String>) {
        self.update(Some(reason.into()));
    }

    fn update(&self, trouble: Option<String>) {
        let required = self.readiness.state().checks.get(self.name).is_none_or(|s| s.required);
        self.set(required, trouble);
    }

    fn set(&self, required: bool, trouble: Option<String>) {
        gauge!(READY, "check" => self.name).set(if trouble.is_none() { 1.0 } else { 0.0 });
        self.readiness.state().checks.insert(self.name, Status { required, trouble });
    }
}
