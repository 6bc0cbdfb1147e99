//! What happened, line by line: the last of it for people, all of it as one number.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::random::draw;
use crate::time::Beginning;

/// Lines that are shown of a failure.
pub const SHOWN: usize = 60;

/// The story of one run.
#[derive(Debug)]
pub struct Trace {
    beginning: Beginning,
    shown: usize,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: VecDeque<String>,
    hash: u64,
    broken: Vec<String>,
}

impl Trace {
    /// Nothing has happened. The last `shown` lines of what will are kept.
    pub fn new(beginning: Beginning, shown: usize) -> Self {
        Self { beginning, shown, told: Mutex::default() }
    }

    /// Something happens.
    pub fn tell(&self, line: &str) {
        let mut told = self.lock();
        let line = format!("{:>10.3} s  {line}", self.beginning.elapsed().as_secs_f64());
        told.hash = draw(told.hash, &[&line]);
        if told.last.len() >= self.shown {
            told.last.pop_front();
        }
        told.last.push_back(line);
    }

    /// A rule was broken.
    pub fn broken(&self, rule: &str) {
        self.tell(&format!("BROKEN: {rule}"));
        self.lock().broken.push(rule.to_owned());
    }

    /// The number of all that was told.
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// The rules that were broken.
    pub fn all_broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// Whether all is well so far.
    pub fn is_clean(&self) -> bool {
        self.lock().broken.is_empty()
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
