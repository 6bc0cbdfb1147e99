//! What keeps several who try again from doing so in step.

use std::hash::{BuildHasher as _, RandomState};

/// Spreads retries; not a secret, so the hasher's per-process random keys will do.
pub(crate) fn jitter() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
