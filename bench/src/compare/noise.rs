//! What else the machine does while it is measured on.

use std::fs;

use serde_json::{Value, json};

use super::numbers::Spread;

/// Processes that want to run, averaged over a minute (`getloadavg`).
pub(super) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// The machine, as far as it matters.
pub(super) fn machine() -> Value {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "processor": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": kernel.trim(),
        "load_average": load_average(),
    })
}

/// A sentence on what else the machine did.
pub(super) fn load_said(averages: &[f64]) -> String {
    let load = Spread::of(averages.iter().copied()).map_or_else(|| "unknown".to_owned(), |spread| spread.to_string());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Noise: load average {load} on {cores} cores, of which this run itself makes 2 or more.")
}

/// The same, and what it did to ratios of processor time.
pub(super) fn said(averages: &[f64], widest: f64) -> String {
    let verdict = match widest {
        width if width > 0.3 => "too wide to tell small differences: repeat it on a quiet machine",
        width if width > 0.1 => "differences below it mean nothing",
        _ => "quiet",
    };
    format!(
        "{} The quartiles of ratios of processor time are up to {:.0} % of the median apart: {verdict}.",
        load_said(averages),
        widest * 100.0
    )
}
