//! Keys and tokens, good and bad.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The private half of an issuer's key.
pub(crate) struct SigningKey {
    pub(crate) alg: &'static str,
    pub(crate) kid: String,
    pub(crate) jwk: Value,
    secret: Secret,
}

enum Secret {
    Rsa(RsaKeyPair),
    Other(EncodingKey, Algorithm),
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    pub(crate) fn es256(kid: &str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        let secret = Secret::Other(EncodingKey::from_ec_der(document.as_ref()), Algorithm::ES256);
        Self { alg: "ES256", kid: kid.to_owned(), jwk: ec_jwk(kid, "P-256", pair.public_key().as_ref()), secret }
    }

    pub(crate) fn es384(kid: &str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, document.as_ref()).unwrap();
        let secret = Secret::Other(EncodingKey::from_ec_der(document.as_ref()), Algorithm::ES384);
        Self { alg: "ES384", kid: kid.to_owned(), jwk: ec_jwk(kid, "P-384", pair.public_key().as_ref()), secret }
    }

    pub(crate) fn eddsa(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(pair.public_key()) });
        let secret = Secret::Other(EncodingKey::from_ed_der(document.as_ref()), Algorithm::EdDSA);
        Self { alg: "EdDSA", kid: kid.to_owned(), jwk, secret }
    }

    /// An RSA key for RS256 or PS256.
    pub(crate) fn rsa(kid: &str, alg: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let jwk = json!({ "kty": "RSA", "kid": kid, "n": base64url(public.n), "e": base64url(public.e) });
        Self { alg, kid: kid.to_owned(), jwk, secret: Secret::Rsa(pair) }
    }

    /// Whoever holds only the public key can make this: an HMAC over its bytes.
    pub(crate) fn hmac_with(kid: &str, secret: &[u8]) -> Self {
        let secret = Secret::Other(EncodingKey::from_secret(secret), Algorithm::HS256);
        Self { alg: "HS256", kid: kid.to_owned(), jwk: Value::Null, secret }
    }

    /// Signs any header and any claims, as text, so that nothing tidies them up.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = match &self.secret {
            Secret::Other(key, algorithm) => jsonwebtoken::crypto::sign(signed.as_bytes(), key, *algorithm).unwrap(),
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                base64url(signature)
            }
        };
        format!("{signed}.{signature}")
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&self.header(), claims)
    }

    pub(crate) fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "typ": "at+jwt", "kid": self.kid })
    }
}

fn ec_jwk(kid: &str, curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "kid": kid, "use": "sig", "x": base64url(x), "y": base64url(y) })
}

/// A value with one member changed.
pub(crate) fn with(mut value: Value, name: &str, member: impl Into<Value>) -> Value {
    value[name] = member.into();
    value
}

/// A value without a member.
pub(crate) fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

pub(crate) fn key_set(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>() })
}
