//! The states that were seen, each with the step by which it was first come to.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

/// Where a state was come to from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The state before; `None` for a beginning.
    from: Option<u32>,
    /// Which of the beginnings, or of the steps there.
    number: usize,
}

impl Origin {
    pub(crate) const fn beginning(number: usize) -> Self {
        Self { from: None, number }
    }

    pub(crate) const fn step(from: u32, number: usize) -> Self {
        Self { from: Some(from), number }
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Visited {
    /// By what they hash.
    known: HashSet<Box<[u8]>>,
    origins: Vec<Origin>,
    buffer: Hashed,
}

impl Visited {
    pub(crate) fn len(&self) -> usize {
        self.origins.len()
    }

    /// Notes a state and gives it a number; `None` if it was seen before.
    pub(crate) fn insert(&mut self, state: &impl Hash, origin: Origin) -> Option<u32> {
        self.buffer.0.clear();
        state.hash(&mut self.buffer);
        self.note(origin)
    }

    fn note(&mut self, origin: Origin) -> Option<u32> {
        if self.known.contains(self.buffer.0.as_slice()) {
            return None;
        }
        self.known.insert(self.buffer.0.as_slice().into());
        self.origins.push(origin);
        // Models are smaller by far: `Model::STATES_MAX`.
        u32::try_from(self.origins.len() - 1).ok()
    }

    /// The beginning and the numbers of the steps that lead to `last`.
    pub(crate) fn way(&self, last: Origin) -> (usize, Vec<usize>) {
        let mut numbers = Vec::new();
        let mut at = last;
        while let Some(from) = at.from.and_then(|from| self.origins.get(from as usize)) {
            numbers.push(at.number);
            at = *from;
        }
        numbers.reverse();
        (at.number, numbers)
    }
}

/// Keeps what is hashed instead of digesting it.
#[derive(Default)]
struct Hashed(Vec<u8>);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
