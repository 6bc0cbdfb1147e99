//! Random values and their digests. What the server hands out as a secret it stores only as SHA-256: the values carry
//! 256 random bits, so a slow hash would add nothing.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{Entropy, EntropyError};

/// Random bytes as base64url without padding.
pub(crate) fn random_text<const BYTES: usize>(entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0_u8; BYTES];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256 as base64url without padding: also the S256 transformation of RFC 7636 section 4.2.
pub(crate) fn digest_text(value: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, value))
}

/// Digest over several texts, each prefixed with its length so that no two lists share one.
pub(crate) fn digest_of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    digest_text(&bytes)
}

/// Equality in constant time, for values that a caller could otherwise guess byte by byte.
pub(crate) fn same(left: &str, right: &str) -> bool {
    subtle::ConstantTimeEq::ct_eq(left.as_bytes(), right.as_bytes()).into()
}
