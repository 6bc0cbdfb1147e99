//! Names of rows.

use std::borrow::Borrow;
use std::fmt;

use thiserror::Error;

/// Longest row name in bytes.
const KEY_BYTES_MAX: usize = 512;

/// The name of a row: a family (`session`, `grant`, …) and an id within it, in visible ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// A text cannot be a row name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Longer than 512 bytes.
    #[error("a row name may have at most {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// Holds something other than visible ASCII.
    #[error("a row name may hold visible ASCII characters only")]
    Character,
}

impl Key {
    /// The row `family/id`. Ids that come from outside should be digests: they are bounded here, not made safe.
    pub fn new(family: &str, id: &str) -> Result<Self, KeyError> {
        if family.len() + 1 + id.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        if !family.bytes().chain(id.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Character);
        }
        Ok(Self(format!("{family}/{id}").into()))
    }

    /// A whole name that a store gives back, which may hold anything.
    pub(crate) fn parse(name: &str) -> Result<Self, KeyError> {
        if name.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Character);
        }
        Ok(Self(name.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Ordered as its text is.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}
