//! The name that the configuration gives a backend.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

const NAME_CHARS_MAX: usize = 32;

/// A backend's name: lower-case letters, digits and inner hyphens, at most 32 characters. It prefixes tool names and stands
/// in logs, metrics and errors. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendName(Arc<str>);

/// The text cannot name a backend.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "a backend name has 1 to {NAME_CHARS_MAX} lower-case letters, digits and hyphens, and neither starts nor ends with a hyphen"
)]
pub struct BackendNameError;

impl BackendName {
    /// Checks the text.
    pub fn new(name: &str) -> Result<Self, BackendNameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if well_formed { Ok(Self(name.into())) } else { Err(BackendNameError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackendName {
    type Err = BackendNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_have_inner_hyphens_only() {
        for good in ["a", "0", "git-hub", "a--b", &"x".repeat(32)] {
            assert!(BackendName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "-", "A", "a_b", "a.b", "ä", "a b", "a\n", &"x".repeat(33)] {
            assert!(BackendName::new(bad).is_err(), "{bad}");
        }
    }
}
