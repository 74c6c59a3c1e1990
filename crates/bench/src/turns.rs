//! Measuring two servers by turns, so that a machine whose speed changes from second to second treats both alike.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use tokio::time::sleep;

use crate::{accounting::usage, load::Board};

/// How long one turn counts.
pub const TURN: Duration = Duration::from_secs(1);
/// How long a load lasts until it counts.
const SETTLE: Duration = Duration::from_millis(250);
/// What is on its way when a turn ends has arrived after this.
const QUIET: Duration = Duration::from_millis(100);

/// A server under a load that can be switched on and off.
pub struct Side {
    pub board: Arc<Board>,
    /// Whose CPU time is counted.
    pub processes: Vec<u32>,
    deliveries: u64,
    cpu: Vec<f64>,
    turns: u32,
}

impl Side {
    pub fn new(board: &Arc<Board>, processes: &[u32]) -> Self {
        Self {
            board: board.clone(),
            processes: processes.to_vec(),
            deliveries: 0,
            cpu: vec![0.0; processes.len()],
            turns: 0,
        }
    }

    /// Lets the load run for a turn.
    pub async fn turn(&mut self) -> anyhow::Result<()> {
        self.board.send(true);
        sleep(SETTLE).await;
        self.board.time(true);
        let (cpu, deliveries) = (self.cpu_now()?, self.board.deliveries());
        sleep(TURN).await;
        let after = self.cpu_now()?;
        for (sum, (before, after)) in self.cpu.iter_mut().zip(cpu.iter().zip(after)) {
            *sum += after - before;
        }
        self.deliveries += self.board.deliveries() - deliveries;
        self.turns += 1;
        self.board.time(false);
        self.board.send(false);
        sleep(QUIET).await;
        ensure!(!self.board.has_failed(), "a connection was lost");
        ensure!(self.board.deliveries() > 0, "nothing was delivered");
        Ok(())
    }

    fn cpu_now(&self) -> anyhow::Result<Vec<f64>> {
        self.processes.iter().map(|pid| Ok(usage(*pid)?.cpu.as_secs_f64())).collect()
    }

    pub fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / (f64::from(self.turns) * TURN.as_secs_f64())
    }

    /// Of the first process.
    pub fn deliveries_per_cpu_second(&self) -> f64 {
        self.deliveries as f64 / self.cpu.first().copied().unwrap_or(f64::NAN)
    }

    /// CPU seconds for a million deliveries, of each process.
    pub fn cpu_per_million(&self) -> Vec<f64> {
        self.cpu.iter().map(|cpu| cpu / (self.deliveries as f64 / 1e6)).collect()
    }
}
