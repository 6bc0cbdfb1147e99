//! Slows down guessing: so many failures per key within a window, then a pause until it ends.
//!
//! Guesses that a person could make are counted before they are checked ([`Throttle::begin`]), so that parallel ones do not
//! slip through. Secrets of 256 bits cannot be guessed; there only failures count ([`Throttle::failed`]), and any number of
//! honest requests may be under way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hawser_owner::Timestamp;

/// Most keys remembered at once; the oldest makes room.
const KEYS_MAX: usize = 10_000;

struct Window {
    start: Timestamp,
    attempts: u32,
}

/// Counts attempts per key.
pub(crate) struct Throttle {
    attempts_max: u32,
    window: Duration,
    windows: Mutex<HashMap<String, Window>>,
}

impl Throttle {
    pub(crate) fn new(attempts_max: u32, window: Duration) -> Self {
        Self { attempts_max, window, windows: Mutex::new(HashMap::new()) }
    }

    /// Counts an attempt before it is made; false if there were too many.
    pub(crate) fn begin(&self, key: &str, now: Timestamp) -> bool {
        self.count(key, now) <= self.attempts_max
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, key: &str, now: Timestamp) {
        self.count(key, now);
    }

    /// Whether there were too many failures.
    pub(crate) fn is_blocked(&self, key: &str, now: Timestamp) -> bool {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows
            .get(key)
            .is_some_and(|window| now.since(window.start) < self.window && window.attempts >= self.attempts_max)
    }

    fn count(&self, key: &str, now: Timestamp) -> u32 {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if !windows.contains_key(key) && windows.len() >= KEYS_MAX {
            windows.retain(|_, window| now.since(window.start) < self.window);
            if windows.len() >= KEYS_MAX {
                let oldest = windows.iter().min_by_key(|(_, window)| window.start).map(|(key, _)| key.clone());
                oldest.and_then(|key| windows.remove(&key));
            }
        }
        let window = windows.entry(key.to_owned()).or_insert(Window { start: now, attempts: 0 });
        if now.since(window.start) >= self.window {
            *window = Window { start: now, attempts: 0 };
        }
        window.attempts = window.attempts.saturating_add(1);
        window.attempts
    }

    /// Takes back an attempt that turned out to be honest.
    pub(crate) fn succeeded(&self, key: &str) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(key) {
            window.attempts = window.attempts.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_limited_per_key_and_window_and_successes_do_not_count() {
        let throttle = Throttle::new(3, Duration::from_mins(1));
        let now = Timestamp::from_seconds(1000);
        for _ in 0..10 {
            assert!(throttle.begin("honest", now));
            throttle.succeeded("honest");
        }
        assert!((0..3).all(|_| throttle.begin("guesser", now)));
        assert!(!throttle.begin("guesser", now));
        assert!(throttle.begin("honest", now));
        assert!(throttle.begin("guesser", now.plus(Duration::from_mins(1))));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::new(3, Duration::from_mins(1));
        for key in 0..KEYS_MAX + 50 {
            throttle.begin(&key.to_string(), Timestamp::from_seconds(1000));
        }
        assert!(throttle.windows.lock().unwrap_or_else(PoisonError::into_inner).len() <= KEYS_MAX);
    }
}
