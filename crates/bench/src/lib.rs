//! The product under load, beside what the machine can do without it.
//!
//! Each [scenario](scenarios) starts real servers, has this process make the load, and gives [rows](report::Row): a
//! figure, the [reference](reference) bound of the same run, their ratio, and whether the goal is met. The CPU time is
//! the kernel's own count for each process. Load stays on loopback and ends by itself.
//!
//! The front (or the bare hub in its place) has one core of its own, everything else shares the other: the ratios say
//! what the product costs, on any machine with two cores.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are estimates: nobody asks for their twelfth digit"
)]
#![allow(clippy::unchecked_time_subtraction, reason = "what is subtracted was measured before")]

use std::{env::temp_dir, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    fs::statfs,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::time::timeout;

mod accounting;
mod client;
mod cores;
mod crowd;
mod http;
mod installation;
mod load;
mod reference;
mod report;
mod scenarios;
mod turns;

pub use reference::bare_hub::serve as serve_bare_hub;

/// A scenario that takes longer hangs.
const SCENARIO_LIMIT: Duration = Duration::from_mins(15);
const LONG_SCENARIO_LIMIT: Duration = Duration::from_mins(90);

/// What to measure, and how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Short runs: to see that everything works, and figures to about a fifth.
    pub quick: bool,
    /// Only these scenarios; all but the long ones when empty.
    pub only: Vec<String>,
    /// Where to write the rows as JSON.
    pub json: Option<PathBuf>,
}

impl Options {
    /// How many turns each side of a comparison gets.
    fn turns(&self) -> usize {
        if self.quick { 3 } else { 12 }
    }
}

/// Runs the scenarios one after the other and prints their rows; the JSON is written again after each. Fails in the end when
/// one could not be run; a goal that is missed is no failure, but stands in the table.
pub async fn run(options: Options) -> anyhow::Result<()> {
    cores::settle().context("pinning this process failed: the bench needs two cores")?;
    if !is_on_disk()? {
        eprintln!("note: {} is memory, so that a sync costs nothing: set TMPDIR", temp_dir().display());
    }
    allow_files();
    let known: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no scenario {unknown:?}; there are {}", known.join(", "));
    }
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for scenario in scenarios::ALL {
        let long = scenario.long && !options.quick;
        let named = options.only.iter().any(|name| name == scenario.name);
        if !named && (long || !options.only.is_empty()) {
            continue;
        }
        eprintln!("== {}: {}", scenario.name, scenario.about);
        // One that was cut off may have left this process elsewhere.
        cores::settle()?;
        let limit = if long { LONG_SCENARIO_LIMIT } else { SCENARIO_LIMIT };
        match timeout(limit, (scenario.run)(options.clone())).await.map_err(Into::into).flatten() {
            Ok(mut found) => {
                for row in &mut found {
                    row.quick = options.quick;
                }
                eprint!("{}", report::table(&found));
                rows.extend(found);
            }
            Err(error) => {
                eprintln!("{} could not be run: {error:#}", scenario.name);
                failed.push(scenario.name);
            }
        }
        if let Some(path) = &options.json {
            let json = serde_json::to_string_pretty(&rows)?;
            fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
        }
    }
    println!("{}", report::table(&rows));
    ensure!(failed.is_empty(), "not run: {}", failed.join(", "));
    Ok(())
}

/// Whether what the servers sync is on a disk: the figures of a log in memory are nobody's.
fn is_on_disk() -> anyhow::Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let dir = temp_dir();
    let system = statfs(&dir).with_context(|| format!("looking at {}", dir.display()))?;
    Ok(system.f_type != TMPFS_MAGIC)
}

/// As many open files as this process and its children may have: 10,000 connections have two ends.
fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, a scenario that needs more says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
