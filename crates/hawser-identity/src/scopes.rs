//! Scopes: what a credential may do (RFC 6749 section 3.3).

use std::fmt;

use thiserror::Error;

/// Most scopes a credential may carry.
const SCOPES_MAX: usize = 256;

/// A set of scope tokens. Scopes are case-sensitive and their order has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Box<str>>);

/// A text is not a set of scopes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum ScopeError {
    /// A scope has a character outside of `%x21 / %x23-5B / %x5D-7E`, or none at all.
    #[error("a scope is empty or has a character that scopes cannot have")]
    Character,
    /// Too many.
    #[error("more than {SCOPES_MAX} scopes")]
    TooMany,
}

impl Scopes {
    /// No scopes.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The scopes of a `scope` value: separated by single spaces. Extra spaces are tolerated, as issuers send them.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        Self::from_tokens(text.split(' ').filter(|token| !token.is_empty()))
    }

    /// The scopes of a list.
    pub fn from_tokens<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let mut scopes: Vec<Box<str>> = Vec::new();
        for token in tokens {
            if !is_scope_token(token) {
                return Err(ScopeError::Character);
            }
            if scopes.len() == SCOPES_MAX {
                return Err(ScopeError::TooMany);
            }
            scopes.push(token.into());
        }
        scopes.sort_unstable();
        scopes.dedup();
        Ok(Self(scopes))
    }

    /// Is this scope among them?
    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|held| held.as_ref().cmp(scope)).is_ok()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Separated by spaces, as in a `scope` parameter.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_without_order_or_duplicates() {
        let scopes = Scopes::parse("b  a b ").unwrap();
        assert_eq!(scopes.to_string(), "a b");
        assert!(scopes.contains("a") && !scopes.contains("A") && !scopes.contains(""));
        assert!(Scopes::parse(" ").unwrap().is_empty());
        assert_eq!(Scopes::from_tokens(["a b"]), Err(ScopeError::Character));
        assert_eq!(Scopes::from_tokens([""]), Err(ScopeError::Character));
        assert_eq!(Scopes::parse(&"a ".repeat(SCOPES_MAX + 1)), Err(ScopeError::TooMany));
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_again(text in "[ -~\u{80}]{0,40}") {
            if let Ok(scopes) = Scopes::parse(&text) {
                prop_assert_eq!(Scopes::parse(&scopes.to_string()), Ok(scopes.clone()));
                prop_assert!(scopes.iter().all(|scope| text.split(' ').any(|token| token == scope)));
                prop_assert!(!scopes.to_string().contains(['"', '\\']));
            }
        }
    }
}
