//! The value of a refresh token: family, generation, and a MAC under the family's own key.
//!
//! No refresh token is stored. The family's key is, sealed; with it the head's token is derived again whenever a client
//! that lost the answer asks once more.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const MAC_BYTES: usize = 32;
const VALUE_BYTES: usize = 1 + GrantId::BYTES + 8 + MAC_BYTES;

/// Names a grant, and the family of refresh tokens that belongs to it. Not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrantId([u8; Self::BYTES]);

impl GrantId {
    pub(crate) const BYTES: usize = 16;

    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads exactly what [`GrantId::to_text`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 22 {
            return None;
        }
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// A refresh token as it was presented; genuine only after [`RefreshToken::verify`].
#[derive(PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) grant: GrantId,
    pub(crate) generation: u64,
    mac: [u8; MAC_BYTES],
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl RefreshToken {
    /// The token of a generation.
    pub(crate) fn mint(family_key: &[u8], grant: GrantId, generation: u64) -> String {
        let text = message(grant, generation);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, family_key), &text);
        URL_SAFE_NO_PAD.encode([text.as_slice(), mac.as_ref()].concat())
    }

    /// Reads exactly the texts that could have been minted.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != (VALUE_BYTES * 8).div_ceil(6) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (grant, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let mac = rest.try_into().ok()?;
        let generation = u64::from_be_bytes(*generation);
        (*version == VERSION).then_some(Self { grant: GrantId(*grant), generation, mac })
    }

    /// Whether the family's key made it; constant in time.
    pub(crate) fn verify(&self, family_key: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, family_key);
        hmac::verify(&key, &message(self.grant, self.generation), &self.mac).is_ok()
    }
}

fn message(grant: GrantId, generation: u64) -> Vec<u8> {
    [&[VERSION][..], &grant.0, &generation.to_be_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_minted_parses_and_verifies_and_any_change_is_refused(
            key in any::<[u8; 32]>(), id in any::<[u8; 16]>(), generation in any::<u64>(), at in 0_usize..76, to in "[A-Za-z0-9_-]",
        ) {
            let grant = GrantId::from_bytes(id);
            let text = RefreshToken::mint(&key, grant, generation);
            let token = RefreshToken::parse(&text).unwrap();
            prop_assert_eq!((token.grant, token.generation), (grant, generation));
            prop_assert!(token.verify(&key));
            let printed = format!("{token:?}");
            prop_assert!(!printed.contains("mac"));
            prop_assert_eq!(RefreshToken::mint(&key, grant, generation), text.clone());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            if changed != text {
                prop_assert!(!RefreshToken::parse(&changed).is_some_and(|token| token.verify(&key)));
            }
        }

        #[test]
        fn arbitrary_texts_never_verify(text in ".{0,100}") {
            prop_assert!(!RefreshToken::parse(&text).is_some_and(|token| token.verify(&[7; 32])));
        }

        #[test]
        fn grant_ids_have_one_text_each(text in "[A-Za-z0-9_-]{20,24}") {
            if let Some(id) = GrantId::parse(&text) {
                prop_assert_eq!(id.to_text(), text);
            }
        }
    }
}
