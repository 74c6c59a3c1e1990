//! What all parts of a run share: its clock, its end, and what happens to it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub struct Course {
    pub began: Instant,
    stop: watch::Sender<bool>,
    faults: AtomicU64,
    said: AtomicU64,
    incidents: Mutex<Vec<String>>,
    told: Mutex<Vec<String>>,
}

impl Course {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            stop: watch::Sender::new(false),
            faults: AtomicU64::new(0),
            said: AtomicU64::new(0),
            incidents: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// No more faults.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub async fn stopped(&self) {
        // The sender lives as long as this.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Lets a fault last, unless the run is to end.
    pub async fn nap(&self, time: Duration) {
        tokio::select! {
            () = self.stopped() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    pub fn fault(&self, words: &str) {
        self.faults.fetch_add(1, Relaxed);
        self.say(words);
    }

    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// Somebody has sent a message.
    pub fn said(&self) {
        self.said.fetch_add(1, Relaxed);
    }

    /// Something that ought not to happen, whatever is done to the parts.
    pub fn incident(&self, words: String) {
        self.say(&format!("INCIDENT: {words}"));
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// A failure is an incident: the run goes on to its report.
    pub fn succeeded<T>(&self, what: &str, result: anyhow::Result<T>) -> Option<T> {
        result.inspect_err(|error| self.incident(format!("{what}: {error:#}"))).ok()
    }

    pub fn incidents(&self) -> Vec<String> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows how the run goes, and keeps it.
    pub fn say(&self, words: &str) {
        let (at, said) = (self.began.elapsed().as_secs_f64(), self.said.load(Relaxed));
        let line = format!("{at:7.1} s  {said:6} said  {:4} faults  {words}", self.faults());
        eprintln!("{line}");
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All that was shown.
    pub fn told(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}
