//! When a backend that keeps failing is tried again: a pure function of what happened and when.
//!
//! After some failed attempts in a row the backend rests, longer each time up to a bound. When the rest is over, one
//! attempt is let through; its outcome decides. Time is given as the distance from any fixed moment.

use std::time::Duration;

/// Failed attempts in a row before the first rest.
const FAILURES_MAX: u32 = 3;
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_mins(1);
/// How long others wait for the one attempt after a rest, in case it neither fails nor succeeds.
const ATTEMPT_MAX: Duration = Duration::from_mins(1);

/// How a backend fared lately.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    failures: u32,
    resting_until: Option<Duration>,
    /// The rest is over and one attempt is on its way.
    probing: bool,
    last_error: String,
}

/// The backend is left alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// When it is tried again.
    pub(crate) retry_in: Duration,
    /// What it said last.
    pub(crate) last: String,
}

impl Circuit {
    /// Whether an attempt may be made now. The first one after a rest makes the others wait for its outcome.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<(), Rest> {
        match self.resting_until {
            None => Ok(()),
            Some(until) if now < until => {
                Err(Rest { retry_in: until.saturating_sub(now), last: self.last_error.clone() })
            }
            Some(_) => {
                self.resting_until = Some(now + ATTEMPT_MAX);
                self.probing = true;
                Ok(())
            }
        }
    }

    /// An attempt failed. `jitter` is random over its whole range and keeps several gateways from returning in step.
    pub(crate) fn failed(&mut self, now: Duration, error: String, jitter: u32) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = error;
        self.probing = false;
        let Some(rests) = self.failures.checked_sub(FAILURES_MAX) else { return };
        let rest = REST_MIN.saturating_mul(1 << rests.min(16)).min(REST_MAX);
        let share = f64::midpoint(1.0, f64::from(jitter) / f64::from(u32::MAX));
        self.resting_until = Some(now + rest.mul_f64(share));
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt was given up before it had an outcome. If it was the one after a rest, the next may start.
    pub(crate) fn given_up(&mut self, now: Duration) {
        if std::mem::take(&mut self.probing) {
            self.resting_until = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failed_times(times: u32, now: Duration) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..times {
            circuit.failed(now, "refused".to_owned(), u32::MAX);
        }
        circuit
    }

    #[test]
    fn two_failures_do_not_make_it_rest() {
        assert_eq!(failed_times(2, at(5)).admit(at(5)), Ok(()));
    }

    #[test]
    fn the_third_failure_makes_it_rest_and_says_for_how_long() {
        let mut circuit = failed_times(3, at(5));
        assert_eq!(circuit.admit(at(5)), Err(Rest { retry_in: at(1), last: "refused".to_owned() }));
        assert_eq!(circuit.admit(at(6)), Ok(()));
    }

    #[test]
    fn after_a_rest_one_attempt_goes_first() {
        let mut circuit = failed_times(3, at(5));
        assert_eq!(circuit.admit(at(6)), Ok(()));
        assert!(circuit.admit(at(6)).is_err(), "the second waits for the first");
        circuit.given_up(at(7));
        assert_eq!(circuit.admit(at(7)), Ok(()));
        circuit.failed(at(8), "again".to_owned(), u32::MAX);
        assert_eq!(circuit.admit(at(8)), Err(Rest { retry_in: at(2), last: "again".to_owned() }));
        assert_eq!(circuit.admit(at(10)), Ok(()));
        circuit.succeeded();
        assert_eq!(circuit.admit(at(10)), Ok(()));
        assert_eq!(circuit.admit(at(10)), Ok(()));
    }

    proptest! {
        #[test]
        fn a_rest_is_bounded_and_never_vanishes(times in 3_u32..100, jitter: u32) {
            let mut circuit = failed_times(times, at(0));
            circuit.failed(at(0), "refused".to_owned(), jitter);
            let rest = circuit.admit(at(0)).map_err(|rest| rest.retry_in);
            prop_assert!(rest.is_err_and(|rest| (REST_MIN / 2..=REST_MAX).contains(&rest)));
        }
    }
}
