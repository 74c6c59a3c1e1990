//! Looks at the streams again, once for all followers that ask at the same time.

use natterjack_eventlog::StreamError;
use tokio::{sync::Mutex, time::Instant};

use crate::outside::Log;

/// When the last check began that came to an end.
#[derive(Default)]
pub struct Recheck(Mutex<Option<Instant>>);

impl Recheck {
    /// Checks server, streams and epochs as they are now: a stream can be made again without any connection being lost.
    pub async fn run(&self, log: &Log) -> Result<(), StreamError> {
        let asked = Instant::now();
        let mut checked = self.0.lock().await;
        if checked.is_none_or(|begun| begun < asked) {
            let begun = Instant::now();
            log.recheck().await?;
            *checked = Some(begun);
        }
        Ok(())
    }
}
