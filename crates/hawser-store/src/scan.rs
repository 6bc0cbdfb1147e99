//! Walking through the rows of a family.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use thiserror::Error;

use crate::key::Key;

/// Rows that one page may be asked for.
pub const SCAN_ROWS_MAX: usize = 1000;
/// Longest text of a cursor: that of a row name, and then some.
const CURSOR_BYTES_MAX: usize = 600;

/// Where a walk through a family goes on: opaque text of the store that gave it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScanCursor(Box<str>);

/// A text is no cursor of this store and family.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("this cursor is not one of this store")]
pub struct UnknownCursor;

impl ScanCursor {
    /// Takes a text back that [`as_str`](Self::as_str) gave. What it means is checked by the walk.
    pub fn parse(text: &str) -> Result<Self, UnknownCursor> {
        let plain =
            !text.is_empty() && text.len() <= CURSOR_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain { Ok(Self(text.into())) } else { Err(UnknownCursor) }
    }

    /// Its text: visible ASCII, at most 600 bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// After this row, for adapters that walk in the order of names.
    pub(crate) fn after(key: &str) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for ScanCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanCursor({})", self.0)
    }
}

/// A part of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// Rows with their values. May be empty although the walk goes on.
    pub rows: Vec<(Key, Bytes)>,
    /// Where it goes on; `None` at the end.
    pub next: Option<ScanCursor>,
}

/// The names of a family from where a page begins, for adapters that keep names in order.
pub(crate) struct Span {
    prefix: Box<str>,
    after: Option<ScanCursor>,
}

impl Span {
    pub(crate) fn new(family: &str, after: Option<&ScanCursor>) -> Result<Self, UnknownCursor> {
        let prefix = format!("{family}/").into_boxed_str();
        if after.is_some_and(|cursor| !cursor.as_str().starts_with(&*prefix)) {
            return Err(UnknownCursor);
        }
        Ok(Self { prefix, after: after.cloned() })
    }

    /// Where the names of the page begin.
    pub(crate) fn start(&self) -> Bound<&str> {
        self.after.as_ref().map_or(Bound::Included(&self.prefix), |cursor| Bound::Excluded(cursor.as_str()))
    }

    /// Whether a name is still within the family.
    pub(crate) fn holds(&self, name: &str) -> bool {
        name.starts_with(&*self.prefix)
    }
}

/// Rows that a page looks at, those past their time included.
pub(crate) fn page_limit(limit: usize) -> usize {
    limit.clamp(1, SCAN_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_short_visible_ascii() {
        for text in ["", "a b", "ä", "a\n", &"x".repeat(601)] {
            assert!(ScanCursor::parse(text).is_err(), "{text:?}");
        }
        assert!(ScanCursor::parse(&"x".repeat(600)).is_ok());
    }
}
