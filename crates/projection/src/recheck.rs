//! Looks at the streams again after the connection to the log was lost, once for all followers.

use natterjack_eventlog::StreamError;
use tokio::sync::Mutex;

use crate::outside::Log;

/// The gaps of the connection at the last check.
#[derive(Default)]
pub struct Recheck(Mutex<Option<u64>>);

impl Recheck {
    /// Checks server, streams and epochs if the connection was made anew since the last time.
    pub async fn run(&self, log: &Log) -> Result<(), StreamError> {
        let mut checked = self.0.lock().await;
        let gaps = log.link().borrow().gaps;
        if *checked != Some(gaps) {
            log.recheck().await?;
            *checked = Some(gaps);
        }
        Ok(())
    }
}
