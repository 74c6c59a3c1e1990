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

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};

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

/// What to measure, and how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Short runs: to see that everything works, and figures to about a fifth.
    pub quick: bool,
    /// Only these scenarios; all when empty.
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

/// Runs the scenarios one after the other and prints their rows. Fails when one cannot be run; a goal that is missed
/// is no failure, but stands in the table.
pub async fn run(options: Options) -> anyhow::Result<()> {
    cores::settle();
    let known: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no scenario {unknown:?}; there are {}", known.join(", "));
    }
    let mut rows = Vec::new();
    for scenario in scenarios::ALL {
        if options.only.is_empty() || options.only.iter().any(|name| name == scenario.name) {
            eprintln!("== {}: {}", scenario.name, scenario.about);
            let found = (scenario.run)(options.clone()).await;
            let found = found.with_context(|| format!("scenario {}", scenario.name))?;
            eprint!("{}", report::table(&found));
            rows.extend(found);
        }
    }
    println!("{}", report::table(&rows));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&rows)?;
        fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
