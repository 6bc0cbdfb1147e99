//! JSON Web Key sets (RFC 7517): which keys may verify a token, and which of them fits one.
//!
//! A member that is not a usable signature key is skipped, so that one oddity does not lock everybody out. Refused are
//! symmetric keys, keys for encryption, RSA moduli under 2048 bits, and keys published together with their private part.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::algorithm::{KeyFamily, SignatureAlgorithm};
use crate::members::Members;
use crate::token::{Header, UnverifiedToken};

/// Most bytes of a key set.
pub(crate) const KEY_SET_BYTES_MAX: usize = 512 * 1024;
/// Most keys of a set.
const KEYS_MAX: usize = 128;
/// Most keys that are tried for one token: sets with several keys of one `kid` exist, floods must not work.
const CANDIDATES_MAX: usize = 4;
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;
/// Everything that RFC 7518 section 6 calls private, in any key type.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// An issuer's usable keys.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    /// How many members were not usable.
    pub(crate) skipped: usize,
}

/// The document is no key set.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySetError {
    #[error("the key set is not a JSON object with an array `keys`")]
    NotAKeySet,
    #[error("the key set is longer than {KEY_SET_BYTES_MAX} bytes")]
    TooLong,
    #[error("the key set has more than {KEYS_MAX} keys")]
    TooManyKeys,
}

#[derive(Debug)]
struct VerificationKey {
    kid: Option<Box<str>>,
    /// The only algorithm it may be used with, if the issuer said so.
    algorithm: Option<SignatureAlgorithm>,
    family: KeyFamily,
    key: DecodingKey,
}

/// What a key set makes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureCheck {
    Verified,
    /// Some key fits the header, but the signature does not hold.
    Mismatch,
    /// No key fits the header.
    NoKey,
}

impl KeySet {
    pub(crate) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let members = Members::parse(document).map_err(|_| KeySetError::NotAKeySet)?;
        let array = members.raw("keys").ok_or(KeySetError::NotAKeySet)?;
        let array: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|_| KeySetError::NotAKeySet)?;
        if array.len() > KEYS_MAX {
            return Err(KeySetError::TooManyKeys);
        }
        let keys: Vec<_> = array.iter().filter_map(|key| VerificationKey::parse(key.get().as_bytes())).collect();
        Ok(Self { skipped: array.len() - keys.len(), keys })
    }

    /// How many keys are usable.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn verify(&self, token: &UnverifiedToken<'_>) -> SignatureCheck {
        let algorithm = token.header.algorithm.primitive();
        let mut outcome = SignatureCheck::NoKey;
        for candidate in self.candidates(&token.header) {
            let verified =
                jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), &candidate.key, algorithm);
            if matches!(verified, Ok(true)) {
                return SignatureCheck::Verified;
            }
            outcome = SignatureCheck::Mismatch;
        }
        outcome
    }

    /// The keys that the header may mean. Without a `kid` only a set with a single fitting key is unambiguous.
    fn candidates(&self, header: &Header) -> impl Iterator<Item = &VerificationKey> {
        let fitting = |key: &&VerificationKey| key.fits(header);
        let most = match header.kid {
            Some(_) => CANDIDATES_MAX,
            None if self.keys.iter().filter(fitting).count() == 1 => 1,
            None => 0,
        };
        self.keys.iter().filter(fitting).take(most)
    }
}

impl VerificationKey {
    fn parse(jwk: &[u8]) -> Option<Self> {
        let members = Members::parse(jwk).ok()?;
        if PRIVATE_MEMBERS.iter().any(|name| members.has(name)) {
            return None;
        }
        let text = |name: &str| members.get::<String>(name).ok();
        // Absent members are `Some(None)` here; members of a wrong type make the key unusable.
        if text("use")?.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = members.get::<Vec<String>>("key_ops").ok()?;
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let algorithm = text("alg")?.map(|name| name.parse::<SignatureAlgorithm>()).transpose().ok()?;
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)??).ok();
        let (family, key) = match (text("kty")??.as_str(), text("crv")?.as_deref()) {
            ("RSA", _) => (KeyFamily::Rsa, rsa_key(&bytes("n")?, &bytes("e")?)?),
            ("EC", Some("P-256")) => (KeyFamily::P256, ec_key(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => (KeyFamily::P384, ec_key(&bytes("x")?, &bytes("y")?, 48)?),
            ("OKP", Some("Ed25519")) => {
                let point = bytes("x").filter(|point| point.len() == 32)?;
                (KeyFamily::Ed25519, DecodingKey::from_ed_der(&point))
            }
            _ => return None,
        };
        if algorithm.is_some_and(|algorithm| algorithm.family() != family) {
            return None;
        }
        Some(Self { kid: text("kid")?.map(String::into_boxed_str), algorithm, family, key })
    }

    fn fits(&self, header: &Header) -> bool {
        self.family == header.algorithm.family()
            && self.algorithm.is_none_or(|algorithm| algorithm == header.algorithm)
            && header.kid.as_deref().is_none_or(|kid| self.kid.as_deref() == Some(kid))
    }
}

/// An RSA key of sound size. An exponent of 1 would make every message its own signature.
fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Option<DecodingKey> {
    let modulus = without_leading_zeros(modulus);
    let exponent = without_leading_zeros(exponent);
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return None;
    }
    let odd = exponent.last()? % 2 == 1;
    if !odd || exponent.len() > 4 || exponent == [1] {
        return None;
    }
    Some(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

/// An uncompressed point (SEC 1 section 2.3.3). Whether it is on the curve is checked when it is used.
fn ec_key(x: &[u8], y: &[u8], coordinate_bytes: usize) -> Option<DecodingKey> {
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return None;
    }
    Some(DecodingKey::from_ec_der(&[&[0x04], x, y].concat()))
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn base64url(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn usable(key: &Value) -> bool {
        KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap().len() == 1
    }

    fn rsa(modulus_bytes: usize, first: u8, exponent: &[u8]) -> Value {
        let mut modulus = vec![0xff; modulus_bytes];
        modulus[0] = first;
        json!({ "kty": "RSA", "n": base64url(&modulus), "e": base64url(exponent) })
    }

    fn ec() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "x": base64url(&[1; 32]), "y": base64url(&[2; 32]) })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn rsa_keys_have_2048_to_8192_bits_whatever_their_length_in_bytes() {
        let e = &[1, 0, 1];
        assert!(usable(&rsa(256, 0x80, e)));
        assert!(!usable(&rsa(256, 0x7f, e)), "2047 bits");
        assert!(usable(&rsa(257, 0x00, e)), "2048 bits behind a zero");
        assert!(!usable(&rsa(129, 0x00, e)), "1024 bits behind a zero");
        assert!(!usable(&rsa(128, 0x80, e)));
        assert!(usable(&rsa(1024, 0x80, e)));
        assert!(!usable(&rsa(1025, 0x80, e)));
        assert!(!usable(&json!({ "kty": "RSA", "n": "", "e": "AQAB" })));
    }

    #[test]
    fn rsa_exponents_are_odd_and_not_one() {
        for exponent in [&[1][..], &[0, 1], &[2], &[], &[0], &[1, 0, 0, 0, 1]] {
            assert!(!usable(&rsa(256, 0x80, exponent)), "{exponent:?}");
        }
        assert!(usable(&rsa(256, 0x80, &[3])));
    }

    #[test]
    fn symmetric_encryption_and_private_keys_are_refused() {
        assert!(usable(&ec()));
        assert!(!usable(&json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" })));
        assert!(!usable(&json!({ "kty": "oct", "alg": "HS256" })));
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!(7)),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("RS256")),
            ("alg", json!("ES384")),
            ("key_ops", json!(["deriveKey"])),
            ("key_ops", json!("verify")),
            ("d", json!("AA")),
            ("k", json!("AA")),
            ("crv", json!("P-521")),
            ("crv", json!("P-384")),
            ("x", json!(base64url(&[1; 31]))),
            ("y", json!("!")),
            ("kid", json!(5)),
        ] {
            assert!(!usable(&with(ec(), name, value.clone())), "{name}: {value}");
        }
        for (name, value) in
            [("use", json!("sig")), ("alg", json!("ES256")), ("key_ops", json!(["verify"])), ("kid", json!("a"))]
        {
            assert!(usable(&with(ec(), name, value.clone())), "{name}: {value}");
        }
    }

    #[test]
    fn a_bad_member_is_skipped_and_a_bad_set_is_refused() {
        let set = json!({ "keys": [{ "kty": "oct" }, 7, "x", null, ec(), { "kty": "EC" }] }).to_string();
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!((set.len(), set.skipped), (1, 5));
        for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err(), KeySetError::NotAKeySet, "{document}");
        }
        let many = json!({ "keys": vec![ec(); KEYS_MAX + 1] }).to_string();
        assert_eq!(KeySet::parse(many.as_bytes()).unwrap_err(), KeySetError::TooManyKeys);
        assert_eq!(KeySet::parse(&vec![b' '; KEY_SET_BYTES_MAX + 1]).unwrap_err(), KeySetError::TooLong);
        assert_eq!(KeySet::parse(br#"{"keys":[]}"#).unwrap().len(), 0);
    }

    #[test]
    fn a_key_is_chosen_by_kid_type_and_algorithm() {
        let set = json!({ "keys": [
            with(ec(), "kid", json!("a")), with(with(ec(), "kid", json!("b")), "alg", json!("ES256")), rsa(256, 0x80, &[3]),
        ] });
        let set = KeySet::parse(set.to_string().as_bytes()).unwrap();
        let chosen = |kid: Option<&str>, algorithm| {
            set.candidates(&Header { algorithm, typ: None, kid: kid.map(str::to_owned) }).count()
        };
        assert_eq!(chosen(Some("a"), SignatureAlgorithm::Es256), 1);
        assert_eq!(chosen(Some("b"), SignatureAlgorithm::Es256), 1);
        assert_eq!(chosen(Some("c"), SignatureAlgorithm::Es256), 0);
        assert_eq!(chosen(Some("a"), SignatureAlgorithm::Rs256), 0, "the key's type decides");
        assert_eq!(chosen(None, SignatureAlgorithm::Es256), 0, "two keys fit");
        assert_eq!(chosen(None, SignatureAlgorithm::Ps256), 1, "one key fits");
        let crowd = json!({ "keys": vec![with(ec(), "kid", json!("a")); 100] }).to_string();
        let crowd = KeySet::parse(crowd.as_bytes()).unwrap();
        let header = Header { algorithm: SignatureAlgorithm::Es256, typ: None, kid: Some("a".to_owned()) };
        assert_eq!(crowd.candidates(&header).count(), CANDIDATES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = KeySet::parse(&bytes);
            let _ = VerificationKey::parse(&bytes);
        }
    }
}
