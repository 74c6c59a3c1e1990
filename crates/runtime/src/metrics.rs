//! The process-wide metrics recorder.
//!
//! Metrics are named `natterjack_<what>_<unit>`; a crate keeps the names of its own metrics as constants in
//! one file with a `describe()` that gives each a help text.

use std::sync::OnceLock;

use ::metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// Always 1; its labels tell what runs.
pub const BUILD_INFO: &str = "natterjack_build_info";
/// Whether a readiness check passes (1) or not (0), by `check`.
pub const READY: &str = "natterjack_ready";

const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const BYTES: &[f64] = &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0];

/// The recorder could not be installed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the metrics recorder cannot be installed: {0}")]
pub struct InstallError(String);

/// What was recorded; cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter {
    recorder: PrometheusHandle,
    process: Collector,
}

/// Installs the recorder for the whole process, once; later calls give the same exporter.
///
/// Histograms named `…_seconds` and `…_bytes` get buckets for times and sizes, all others for counts.
pub fn install() -> Result<Exporter, InstallError> {
    static INSTALLED: OnceLock<Result<Exporter, InstallError>> = OnceLock::new();
    INSTALLED.get_or_init(|| build().map_err(|error| InstallError(error.to_string()))).clone()
}

fn build() -> Result<Exporter, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES)?
        .install_recorder()?;
    let process = Collector::default();
    process.describe();
    describe_gauge!(BUILD_INFO, Unit::Count, "Always 1; the labels tell what runs.");
    describe_gauge!(READY, Unit::Count, "Whether a readiness check passes (1) or not (0).");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Exporter { recorder, process })
}

impl Exporter {
    /// Everything recorded so far and the state of this process, in Prometheus's text format.
    pub fn render(&self) -> String {
        self.process.collect();
        self.recorder.render()
    }

    /// Folds recorded samples into their buckets. Must run every few seconds when nobody renders, else
    /// samples pile up in memory; [`crate::ops::serve`] sees to it.
    pub fn upkeep(&self) {
        self.recorder.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ::metrics::histogram;

    use super::*;

    #[test]
    fn installing_twice_gives_the_same_recorder() {
        install().unwrap();
        histogram!("probe_seconds").record(0.003);
        histogram!("probe_rows").record(7.0);
        let exporter = install().unwrap();
        exporter.upkeep();
        let text = exporter.render();
        for wanted in [
            "# HELP natterjack_build_info Always 1",
            "probe_seconds_bucket{le=\"0.005\"} 1",
            "probe_rows_bucket{le=\"10\"} 1",
            "process_open_fds",
        ] {
            assert!(text.contains(wanted), "{wanted} missing in\n{text}");
        }
    }
}
