//! What may wait for the disk, and for how long.

use std::time::Duration;

/// Limits of one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of writes that may wait.
    pub(super) queue_bytes: u32,
    /// Reads under way at a time, each in a thread of its own; further ones wait.
    pub(super) reads: usize,
    /// How long a caller waits, for its turn and for the disk together.
    pub(super) wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue_bytes: 64 * 1024 * 1024, reads: 32, wait: Duration::from_secs(30) }
    }
}
