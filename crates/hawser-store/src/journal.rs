//! Announcements that every node hears: told at once over a channel, and kept for a while, so that what the channel loses is
//! found all the same.
//!
//! Publish and subscribe forgets: a connection that breaks, a receiver that lags, a server that restarts lose messages without
//! a word. What must not be lost (that a session is over, that a token was revoked) is therefore also a row, numbered by a
//! counter. A [`Follower`] looks at the counter twice a second and reads what it did not hear; what cannot be read any more, or
//! a counter that is not the one it was, it tells as [`Told::Missed`]: then whoever follows looks at everything it holds.
//!
//! | row | holds |
//! |---|---|
//! | `journal-NAME/number` | the number of the latest announcement |
//! | `journal-NAME/<number>` | an announcement, for ten minutes |
//!
//! In a store that no other node shares there is nothing to find: announcements go over the channel alone.

mod follower;
#[cfg(test)]
mod model;
mod progress;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::key::Key;
use crate::port::{Store, StoreError, Unavailable};

pub use follower::{Follower, Told};

/// How long an announcement can be read.
const KEPT: Duration = Duration::from_mins(10);
/// Counters begin with the time, in nanoseconds. What is smaller has just been made by an increment, after the store lost its
/// rows, and is not used as a number.
const FIRST_NUMBER_MIN: u64 = 1 << 56;
/// What is above was not counted to from any time before the year 2116: somebody wrote it, and it could not be counted on for long.
const NUMBER_MAX: u64 = 1 << 62;
/// The numbers that a counter may have.
const NUMBERS: RangeInclusive<u64> = FIRST_NUMBER_MIN..=NUMBER_MAX;
/// How often an announcement tries to begin a lost counter anew. Each failure is somebody else's success.
const ATTEMPTS: usize = 32;
/// The number of announcements in a store that nobody shares.
const UNNUMBERED: u64 = 0;

/// Announcements under one name. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    name: &'static str,
}

impl Journal {
    /// The journal of this name in this store.
    pub const fn new(store: Arc<dyn Store>, name: &'static str) -> Self {
        Self { store, name }
    }

    /// Tells everyone who follows, on every node, the announcing one included. When this returns, all of them hear of it: the
    /// message itself, or that something was missed.
    pub async fn announce(&self, message: Bytes) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return self.store.publish(self.name, framed(UNNUMBERED, &message)).await;
        }
        let number = self.next_number().await?;
        self.store.put(&self.entry(number)?, message.clone(), Some(KEPT)).await?;
        if let Err(error) = self.store.publish(self.name, framed(number, &message)).await {
            // It is kept, so it is found a little later.
            tracing::debug!(journal = self.name, %error, "an announcement was not published");
        }
        Ok(())
    }

    /// Hears what is announced from now on. Works in an outage too: what could not be heard then is told as missed.
    pub async fn follow(&self) -> Follower {
        Follower::new(self.clone()).await
    }

    async fn next_number(&self) -> Result<u64, StoreError> {
        let row = self.row("number")?;
        for _ in 0..ATTEMPTS {
            match self.store.increment(&row, Duration::MAX).await {
                Ok(number) if NUMBERS.contains(&number) => return Ok(number),
                Ok(_) | Err(StoreError::NotACounter { .. }) => self.begin().await?,
                Err(error) => return Err(error),
            };
        }
        Err(Unavailable { reason: format!("the journal {} could not be numbered", self.name) }.into())
    }

    /// Begins the counter in place of one that is lost, at a number that was never given before: so nobody takes the new
    /// announcements for old ones. `None` if somebody else has begun it.
    async fn begin(&self) -> Result<Option<u64>, StoreError> {
        let row = self.row("number")?;
        let found = self.store.get(&row).await?;
        if found.as_deref().and_then(number).is_some() {
            return Ok(None);
        }
        let first = first_number(SystemTime::now());
        let begun = self.store.compare_and_set(&row, found.as_deref(), Some(first.to_string().into()), None).await?;
        Ok(begun.then_some(first))
    }

    /// The number of the latest announcement; `None` if the counter is lost, or there never was one.
    async fn current(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.store.get(&self.row("number")?).await?.as_deref().and_then(number))
    }

    fn entry(&self, number: u64) -> Result<Key, StoreError> {
        self.row(&number.to_string())
    }

    /// Names are constants of the program; should one not do, its rows cannot be reached, which is an outage.
    fn row(&self, id: &str) -> Result<Key, StoreError> {
        Key::new(&format!("journal-{}", self.name), id)
            .map_err(|error| Unavailable { reason: error.to_string() }.into())
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("name", &self.name).finish_non_exhaustive()
    }
}

fn number(row: &[u8]) -> Option<u64> {
    std::str::from_utf8(row).ok()?.parse().ok().filter(|number| NUMBERS.contains(number))
}

fn first_number(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).clamp(FIRST_NUMBER_MIN, NUMBER_MAX - 1)
}

/// An announcement as it travels: its number, eight bytes, and the message.
fn framed(number: u64, message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(size_of::<u64>() + message.len());
    framed.put_u64(number);
    framed.extend_from_slice(message);
    framed.freeze()
}

fn unframed(mut framed: Bytes) -> Option<(u64, Bytes)> {
    let number = framed.try_get_u64().ok()?;
    Some((number, framed))
}
