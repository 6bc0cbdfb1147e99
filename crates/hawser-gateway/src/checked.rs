//! How far the store has confirmed a session that this node holds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is known of a session from the store. A node counts the times at which it may have missed something; a session that was
/// looked up since the last of them is confirmed.
#[derive(Debug)]
pub(crate) struct Checked {
    /// As of which of these times; zero: never.
    round: AtomicU32,
    /// Whether somebody was asked to look it up.
    asked: AtomicBool,
    /// Whether it was made from the seal alone.
    little: bool,
}

impl Checked {
    /// Looked up in this round.
    pub(crate) const fn now(round: u32) -> Self {
        Self { round: AtomicU32::new(round), asked: AtomicBool::new(false), little: false }
    }

    /// Made from what the store said, but not all could be asked.
    pub(crate) const fn not_yet() -> Self {
        Self::now(0)
    }

    /// Made from the seal alone.
    pub(crate) const fn by_seal() -> Self {
        Self { round: AtomicU32::new(0), asked: AtomicBool::new(false), little: true }
    }

    pub(crate) fn is_of(&self, round: u32) -> bool {
        self.round.load(Ordering::Acquire) >= round
    }

    pub(crate) fn confirm(&self, round: u32) {
        self.round.fetch_max(round, Ordering::AcqRel);
        self.asked.store(false, Ordering::Release);
    }

    /// Something could not be asked: it is to be looked up again.
    pub(crate) fn doubt(&self) {
        self.round.store(0, Ordering::Release);
    }

    /// Whether nothing but the seal is known of it.
    pub(crate) const fn is_little(&self) -> bool {
        self.little
    }

    /// Takes it upon the caller to have it looked up; `false` if somebody else has.
    pub(crate) fn ask(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::AcqRel)
    }

    /// Nobody could be asked.
    pub(crate) fn not_asked(&self) {
        self.asked.store(false, Ordering::Release);
    }
}
