//! How long calls took: counts in steps of about a sixteenth, so that percentiles of any number of calls fit in little.

use std::time::Duration;

use serde::Serialize;

const STEPS_PER_DOUBLING: f64 = 16.0;

/// The counts, by steps from one microsecond up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

/// What is shown of one, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Histogram {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number, and never below zero")]
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = (took.as_secs_f64() * 1e6).max(1.0);
        let step = (micros.log2() * STEPS_PER_DOUBLING).round().max(0.0) as usize;
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.total += 1;
        self.longest = self.longest.max(took);
    }

    /// Milliseconds that this part of all took at most.
    #[expect(clippy::cast_precision_loss, reason = "a percentile is not exact")]
    fn percentile(&self, part: f64) -> f64 {
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= self.total as f64 * part && seen > 0 {
                return 2_f64.powf(step as f64 / STEPS_PER_DOUBLING) / 1e3;
            }
        }
        0.0
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            count: self.total,
            p50_ms: self.percentile(0.5),
            p90_ms: self.percentile(0.9),
            p99_ms: self.percentile(0.99),
            max_ms: self.longest.as_secs_f64() * 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn percentiles_are_within_a_step() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.add(Duration::from_millis(millis));
        }
        let summary = histogram.summary();
        assert_eq!(summary.count, 1000);
        for (found, exact) in [(summary.p50_ms, 500.0), (summary.p99_ms, 990.0), (summary.max_ms, 1000.0)] {
            assert!((found / exact - 1.0).abs() < 0.05, "{found} for {exact}");
        }
        assert!(Histogram::default().summary().p99_ms < 0.001);
    }
}
