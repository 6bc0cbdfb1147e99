//! What a load found: how many calls, how long they took, what went wrong.
#![expect(clippy::cast_precision_loss, reason = "counts of calls, and nanoseconds of minutes")]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::connection::Wrong;

/// Longest time that is told apart from a longer one.
const LONGEST: Duration = Duration::from_mins(10);
const DIGITS: u8 = 3;

/// What is counted while a load runs.
pub(super) struct Tally {
    /// From when on calls count.
    pub(super) from: Option<Instant>,
    /// Until when.
    pub(super) until: Option<Instant>,
    took: Histogram<u64>,
    wrong: BTreeMap<Wrong, u64>,
    bytes: u64,
}

/// What came of a load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// Calls that counted and were answered with a result.
    pub(crate) calls: u64,
    /// For how long calls counted.
    pub(crate) seconds: f64,
    /// `calls` a second.
    pub(crate) calls_per_second: f64,
    /// Calls that were not answered with a result, by what came instead.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Bytes of bodies of right answers.
    pub(crate) body_bytes: u64,
    /// How long right answers took.
    pub(crate) latency: Latency,
    /// Processor time of the measured process for each answer of any kind, in microseconds.
    pub(crate) cpu_us_per_call: Option<f64>,
    /// The same of the load itself.
    pub(crate) load_cpu_us_per_call: f64,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        let longest = u64::try_from(LONGEST.as_nanos())?;
        let took = Histogram::new_with_bounds(1, longest, DIGITS).context("a histogram")?;
        Ok(Self { from: None, until: None, took, wrong: BTreeMap::new(), bytes: 0 })
    }

    /// Notes a call. At a given rate it counts if it was due in time, otherwise if it was answered in time. Tells how many
    /// have counted.
    pub(super) fn note(&mut self, due: Instant, now: Instant, paced: bool, called: Result<usize, Wrong>) -> u64 {
        let at = if paced { due } else { now };
        if self.from.is_some_and(|from| at >= from) && self.until.is_none_or(|until| at < until) {
            match called {
                Ok(length) => {
                    let took = now.saturating_duration_since(due).as_nanos();
                    self.took.saturating_record(u64::try_from(took).unwrap_or(u64::MAX).max(1));
                    self.bytes += length as u64;
                }
                Err(wrong) => *self.wrong.entry(wrong).or_default() += 1,
            }
        }
        self.took.len() + self.wrong.values().sum::<u64>()
    }

    pub(super) fn outcome(
        &self,
        time: Duration,
        answered: u64,
        cpu: Option<Duration>,
        own: Duration,
        unanswered: usize,
    ) -> Outcome {
        let mut errors: BTreeMap<_, _> = self.wrong.iter().map(|(wrong, count)| (wrong.to_string(), *count)).collect();
        if unanswered > 0 {
            errors.insert("unanswered".to_owned(), unanswered as u64);
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (answered.max(1) as f64);
        let calls = self.took.len();
        Outcome {
            calls,
            seconds: time.as_secs_f64(),
            calls_per_second: calls as f64 / time.as_secs_f64(),
            errors,
            body_bytes: self.bytes,
            latency: Latency::of(&self.took),
            cpu_us_per_call: cpu.map(each),
            load_cpu_us_per_call: each(own),
        }
    }
}

impl Latency {
    fn of(took: &Histogram<u64>) -> Self {
        let at = |quantile: f64| took.value_at_quantile(quantile) as f64 / 1e3;
        let (mean, max) = (took.mean() / 1e3, took.max() as f64 / 1e3);
        Self { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }
}

impl Outcome {
    /// How many calls went wrong.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { mean, p50, p90, p99, p999, max } = self.latency;
        writeln!(out, "calls      {} in {:.2} s: {:.0} a second", self.calls, self.seconds, self.calls_per_second)?;
        writeln!(
            out,
            "latency    p50 {p50:.0} µs, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}, mean {mean:.0}"
        )?;
        if let Some(cpu) = self.cpu_us_per_call {
            writeln!(out, "processor  {cpu:.1} µs a call")?;
        }
        writeln!(out, "the load   {:.1} µs of processor time a call", self.load_cpu_us_per_call)?;
        if self.errors.is_empty() {
            return write!(out, "errors     none");
        }
        let errors: Vec<_> = self.errors.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        write!(out, "errors     {}", errors.join(", "))
    }
}
