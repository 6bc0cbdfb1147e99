//! What a node is called.

use std::fmt;
use std::str::FromStr;

use hawser_owner::{Entropy, EntropyError};
use thiserror::Error;

const BYTES: usize = 8;

/// The name of one running gateway process: random, made when it starts, so that a process that starts again is another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName([u8; BYTES]);

/// The text is not a node's name.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("a node's name is 16 lower-case hexadecimal digits")]
pub struct NodeNameError;

impl NodeName {
    /// A new name.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; BYTES];
        entropy.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The name with these bytes.
    pub const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; BYTES] {
        self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        // `from_str_radix` alone would also take a sign and capitals: one name, one spelling.
        if text.len() != 2 * BYTES || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NodeNameError);
        }
        u64::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| NodeNameError)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_shown(bytes: [u8; BYTES]) {
            let name = NodeName::from_bytes(bytes);
            prop_assert_eq!(name.to_string().len(), 16);
            prop_assert_eq!(name.to_string().parse::<NodeName>().unwrap(), name);
        }

        #[test]
        fn nothing_else_is_a_name(text in "\\PC{0,20}") {
            if let Ok(name) = text.parse::<NodeName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn one_name_has_one_spelling() {
        for text in ["", "00000000000000FF", "+0000000000000ff", "0000000000000ff", "000000000000000ff"] {
            assert_eq!(text.parse::<NodeName>(), Err(NodeNameError), "{text}");
        }
        assert_eq!("00000000000000ff".parse::<NodeName>().unwrap().to_bytes(), [0, 0, 0, 0, 0, 0, 0, 255]);
    }
}
