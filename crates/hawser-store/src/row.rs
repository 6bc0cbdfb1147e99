//! A row's lifetime: expiry as milliseconds of the wall clock, which is what outlives a restart.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a store reads the time. Rows outlive the process, so it is the wall clock and not a monotonic one.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The system's wall clock.
pub(crate) fn system_clock() -> WallClock {
    Arc::new(SystemTime::now)
}

/// A moment in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// The clock's moment; the epoch for a clock that is set before it.
    pub(crate) fn now(clock: &WallClock) -> Self {
        let since = clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// When a row stops existing. Ordered: what expires sooner is less, `NEVER` is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expiry(u64);

impl Expiry {
    /// The row stays until it is deleted.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `ttl` from now. Rounded up to a millisecond, so that a row never lives for less than was asked; a time beyond what
    /// can be counted is never.
    pub(crate) fn after(now: Moment, ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return Self::NEVER };
        let millis = u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(now.0.saturating_add(millis))
    }

    /// Reads the number that is stored.
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The number that is stored.
    pub(crate) const fn millis(self) -> u64 {
        self.0
    }

    /// Whether the row's time is up. A ttl of zero is up at once.
    pub(crate) fn is_past(self, now: Moment) -> bool {
        self != Self::NEVER && self.0 <= now.0
    }
}

/// What a row holds at the moment a write is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) expiry: Expiry,
}
