//! Simulated time: the paused clock of the runtime, which jumps to the next thing that is due when nobody has anything to do.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hawser_owner::{Clock, Timestamp};
use hawser_store::WallClock;
use tokio::time::Instant;

/// What the calendar says when a simulation begins, in seconds since the Unix epoch.
const EPOCH: u64 = 1_800_000_000;

/// When the simulation began.
#[derive(Clone, Copy, Debug)]
pub struct Beginning(Instant);

impl Beginning {
    /// Now.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago that is.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same for another moment.
    pub fn until(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.0)
    }

    /// The calendar of the world.
    pub fn calendar(self) -> Timestamp {
        Timestamp::from_seconds(EPOCH).plus(self.elapsed())
    }

    /// A node's clock, which is ahead by `fast` seconds.
    pub fn clock(self, fast: Duration) -> Clock {
        Arc::new(move || self.calendar().plus(fast))
    }

    /// The store's clock.
    pub fn wall_clock(self) -> WallClock {
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(EPOCH) + self.elapsed())
    }
}
