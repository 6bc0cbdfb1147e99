//! Randomness that is a function of the seed alone.
//!
//! What a test chooses in order comes from [`Choices`]. What happens to a message on its way is drawn from the name of the
//! message ([`draw`]), so that two tasks that run in another order do not change what happens to each other.

use std::ops::Range;
use std::sync::Mutex;

use hawser_owner::{Entropy, EntropyError};

/// A sequence of choices (`SplitMix64`).
#[derive(Debug)]
pub struct Choices(u64);

impl Choices {
    /// The sequence of a seed and a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self(draw(seed, &[purpose]))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number of the range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    /// A place in something of this length, which must not be empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.within(0..length as u64)).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.within(0..100) < share
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        if among.is_empty() { None } else { among.get(self.index(among.len())) }
    }
}

/// A number that belongs to a name (FNV-1a, then mixed).
pub fn draw(seed: u64, name: &[&str]) -> u64 {
    let mut hash = seed ^ 0xCBF2_9CE4_8422_2325;
    for part in name {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    mix(hash)
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// What a node takes for randomness. Never the same twice, in one run.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Choices>);

impl SeededEntropy {
    /// That of one start of one node.
    pub fn new(seed: u64, node: usize, start: u64) -> Self {
        Self(Mutex::new(Choices::new(seed, &format!("entropy of node {node}, start {start}"))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut choices = self.0.lock().map_err(|_| EntropyError)?;
        for chunk in buffer.chunks_mut(8) {
            let bytes = choices.number().to_be_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
