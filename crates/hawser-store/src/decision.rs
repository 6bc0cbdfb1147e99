//! What each write does to a row: pure functions of the row, the request and the time.
//!
//! Every adapter that keeps its rows itself asks here, so that they cannot differ in what a write means.

use std::time::Duration;

use bytes::Bytes;

use crate::row::{Current, Expiry, Moment};

/// What becomes of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It stays as it is.
    Keep,
    /// It holds this from now on.
    Write(Bytes, Expiry),
    /// It goes.
    Delete,
}

/// A write that is waiting to be decided.
pub(crate) trait Decision: Send + 'static {
    /// What the caller gets back.
    type Answer: Send + 'static;

    /// Decides against the row as it is. `current` is `None` for a row that is absent or past its time.
    fn decide(&self, current: Option<Current<'_>>, now: Moment) -> (Change, Self::Answer);

    /// Bytes that it holds while it waits.
    fn weight(&self) -> usize {
        0
    }
}

/// [`Store::put`](crate::Store::put).
pub(crate) struct Put {
    pub(crate) value: Bytes,
    pub(crate) ttl: Option<Duration>,
}

impl Decision for Put {
    type Answer = ();

    fn decide(&self, _current: Option<Current<'_>>, now: Moment) -> (Change, ()) {
        (Change::Write(self.value.clone(), Expiry::after(now, self.ttl)), ())
    }

    fn weight(&self) -> usize {
        self.value.len()
    }
}

/// [`Store::compare_and_set`](crate::Store::compare_and_set).
pub(crate) struct CompareAndSet {
    pub(crate) expected: Option<Bytes>,
    pub(crate) new: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
}

impl Decision for CompareAndSet {
    type Answer = bool;

    fn decide(&self, current: Option<Current<'_>>, now: Moment) -> (Change, bool) {
        if current.map(|row| row.value) != self.expected.as_deref() {
            return (Change::Keep, false);
        }
        let change = match &self.new {
            Some(new) => Change::Write(new.clone(), Expiry::after(now, self.ttl)),
            None if current.is_some() => Change::Delete,
            None => Change::Keep,
        };
        (change, true)
    }

    fn weight(&self) -> usize {
        self.expected.as_ref().map_or(0, Bytes::len) + self.new.as_ref().map_or(0, Bytes::len)
    }
}

/// [`Store::delete`](crate::Store::delete).
pub(crate) struct Delete;

impl Decision for Delete {
    type Answer = ();

    fn decide(&self, current: Option<Current<'_>>, _now: Moment) -> (Change, ()) {
        (if current.is_some() { Change::Delete } else { Change::Keep }, ())
    }
}

/// [`Store::take`](crate::Store::take).
pub(crate) struct Take;

impl Decision for Take {
    type Answer = Option<Bytes>;

    fn decide(&self, current: Option<Current<'_>>, _now: Moment) -> (Change, Option<Bytes>) {
        match current {
            Some(row) => (Change::Delete, Some(Bytes::copy_from_slice(row.value))),
            None => (Change::Keep, None),
        }
    }
}

/// [`Store::increment`](crate::Store::increment).
pub(crate) struct Increment {
    pub(crate) ttl: Duration,
}

/// The row holds something that is not a counter, or one that cannot count further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotACounter;

impl Decision for Increment {
    type Answer = Result<u64, NotACounter>;

    fn decide(&self, current: Option<Current<'_>>, now: Moment) -> (Change, Self::Answer) {
        let (count, expiry) = match current {
            None => (Some(0), Expiry::after(now, Some(self.ttl))),
            Some(row) => (counter(row.value), row.expiry),
        };
        match count.and_then(|count: u64| count.checked_add(1)) {
            Some(sum) => (Change::Write(sum.to_string().into(), expiry), Ok(sum)),
            None => (Change::Keep, Err(NotACounter)),
        }
    }
}

/// Reads a counter row: decimal digits, as servers that speak the Redis protocol keep them.
fn counter(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| digits.parse().ok()).flatten()
}
