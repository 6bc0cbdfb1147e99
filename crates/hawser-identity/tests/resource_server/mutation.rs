//! No change to a valid token yields another valid token.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_identity::{AuthenticateError, ExternalIssuer};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::issuers::IssuerServer;
use crate::signing::{SigningKey, base64url, with};
use crate::world::{World, claims};

struct Stage {
    runtime: Runtime,
    world: World,
    /// Valid tokens of different algorithms, subjects and claims.
    tokens: Vec<String>,
    _issuer: IssuerServer,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let keys = [SigningKey::es256("a"), SigningKey::eddsa("b"), SigningKey::rsa("c", "RS256")];
        let issuer = runtime.block_on(IssuerServer::start(&keys.each_ref()));
        let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
        let sign = |key: &SigningKey, subject| key.sign(&claims(&issuer.issuer, subject));
        let tokens: Vec<_> = keys.iter().flat_map(|key| [sign(key, "alice"), sign(key, "bob")]).collect();
        for token in &tokens {
            runtime.block_on(world.accepts(token));
        }
        Stage { runtime, world, tokens, _issuer: issuer }
    })
}

/// Is a changed token refused as invalid? Whatever cannot be a header field never arrives.
fn is_refused(changed: &[u8]) -> bool {
    let stage = stage();
    let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", changed].concat()) else { return true };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let outcome = stage.runtime.block_on(stage.world.authenticator.authenticate(&stage.world.resource, &headers));
    matches!(outcome, Err(AuthenticateError::Invalid(_)))
}

fn token() -> impl Strategy<Value = &'static str> {
    any::<prop::sample::Index>().prop_map(|index| index.get(&stage().tokens).as_str())
}

#[test]
fn segments_of_three_tokens_mixed() {
    let tokens = &stage().tokens;
    let segment = |token: &str, index| token.split('.').nth(index).unwrap().to_owned();
    let mut mixed = 0;
    for header in tokens {
        for payload in tokens {
            for signature in tokens {
                let token = [segment(header, 0), segment(payload, 1), segment(signature, 2)].join(".");
                // Tokens of one key share their header (2 of them), tokens of one subject their payload (3).
                if !tokens.contains(&token) {
                    assert!(is_refused(token.as_bytes()), "{token}");
                    mixed += 1;
                }
            }
        }
    }
    assert_eq!(mixed, 6 * 6 * 6 - 6 * 2 * 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_of_the_text(token in token(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = token.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(is_refused(&bytes));
    }

    #[test]
    fn flipped_bits_of_a_decoded_segment(
        token in token(), segment in 0..3_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let mut bytes = URL_SAFE_NO_PAD.decode(&parts[segment]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        parts[segment] = base64url(bytes);
        prop_assert!(is_refused(parts.join(".").as_bytes()));
    }

    #[test]
    fn cut_extended_and_repeated(token in token(), at in any::<prop::sample::Index>(), extra in "[A-Za-z0-9._=-]{1,4}") {
        let at = at.index(token.len());
        prop_assert!(is_refused(&token.as_bytes()[..at]));
        prop_assert!(is_refused(&token.as_bytes()[at + 1..]));
        let inserted = [&token[..at], &extra, &token[at..]].concat();
        prop_assert!(is_refused(inserted.as_bytes()));
        let extended = [token, &extra].concat();
        prop_assert!(is_refused(extended.as_bytes()));
    }

    #[test]
    fn edited_headers(
        token in token(),
        name in prop::sample::select(vec!["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x"]),
        value in prop::sample::select(vec!["none", "HS256", "ES256", "RS256", "PS256", "EdDSA", "a", "b", "JWT", ""]),
    ) {
        let (header, rest) = token.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let edited = with(header.clone(), name, value);
        prop_assume!(edited != header);
        let edited = [&base64url(edited.to_string()), ".", rest].concat();
        prop_assert!(is_refused(edited.as_bytes()));
    }

    #[test]
    fn reformatted_json(token in token(), segment in 0..2_usize) {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[segment]).unwrap()).unwrap();
        parts[segment] = base64url(serde_json::to_string_pretty(&value).unwrap());
        prop_assert!(is_refused(parts.join(".").as_bytes()));
    }
}
