//! Randomness as an argument, so that simulations can replay it.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

/// A source of cryptographically secure random bytes.
pub trait Entropy: Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gave no randomness; nothing may be minted.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the system's random number generator failed")]
pub struct EntropyError;

/// The operating system's generator, by way of the cryptographic library.
#[derive(Debug, Default, Clone)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// A handle on the operating system's generator.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill(buffer).map_err(|_| EntropyError)
    }
}
