//! Every way a token can be wrong while looking right, and what all of them look like from outside.

use hawser_identity::{ExternalIssuer, InvalidReason, SignatureAlgorithm};
use hawser_owner::PrincipalKind;
use serde_json::{Value, json};

use crate::issuers::{IssuerServer, KEYS};
use crate::signing::{SigningKey, base64url, key_set, with, without};
use crate::world::{NOW, RESOURCE, World, claims};

pub(crate) struct Stage {
    pub(crate) issuer: IssuerServer,
    pub(crate) key: SigningKey,
    pub(crate) world: World,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let key = SigningKey::es256("k1");
        let issuer = IssuerServer::start(&[&key]).await;
        let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
        Self { issuer, key, world }
    }

    pub(crate) fn claims(&self) -> Value {
        claims(&self.issuer.issuer, "alice")
    }

    async fn refuses_claims(&self, claims: &Value) -> InvalidReason {
        self.world.refuses(&self.key.sign(claims)).await
    }

    async fn refuses_header(&self, header: &Value) -> InvalidReason {
        self.world.refuses(&self.key.sign_with_header(header, &self.claims())).await
    }
}

#[tokio::test]
async fn a_good_token_of_every_algorithm_is_accepted() {
    let keys = [
        SigningKey::es256("a"),
        SigningKey::es384("b"),
        SigningKey::eddsa("c"),
        SigningKey::rsa("d", "RS256"),
        SigningKey::rsa("e", "PS256"),
    ];
    let issuer = IssuerServer::start(&keys.each_ref()).await;
    let mut config = ExternalIssuer::new(&issuer.issuer);
    config.algorithms.push(SignatureAlgorithm::Es384);
    let world = World::trusting([config]);
    for key in &keys {
        let who = world.accepts(&key.sign(&claims(&issuer.issuer, "alice"))).await;
        assert_eq!(who.principal().subject().unwrap().as_str(), "alice", "{}", key.alg);
        assert_eq!(who.principal().issuer().unwrap().as_str(), issuer.issuer);
        assert_eq!(who.principal().kind(), PrincipalKind::User);
        assert_eq!(who.client_id(), Some("client-1"));
        assert_eq!(who.scopes().iter().collect::<Vec<_>>(), ["files:read", "mcp"]);
        assert_eq!(who.expires().unwrap().seconds(), NOW + 600);
        assert_eq!(who.grant(), None);
    }
    let renamed = with(keys[2].header(), "alg", "Ed25519"); // RFC 9864
    world.accepts(&keys[2].sign_with_header(&renamed, &claims(&issuer.issuer, "alice"))).await;
}

#[tokio::test]
async fn rs7_the_audience_must_contain_exactly_this_resource() {
    let stage = Stage::new().await;
    stage
        .world
        .accepts(&stage.key.sign(&with(stage.claims(), "aud", json!(["https://other.example", RESOURCE]))))
        .await;
    for audience in [
        json!("https://mcp.example/mcp/"),
        json!("https://mcp.example"),
        json!("https://MCP.example/mcp"),
        json!("https://mcp.example:443/mcp"),
        json!(format!("{RESOURCE} ")),
        json!(["https://other.example"]),
        json!([]),
        json!(""),
    ] {
        let reason = stage.refuses_claims(&with(stage.claims(), "aud", audience.clone())).await;
        assert_eq!(reason, InvalidReason::Audience, "{audience}");
    }
    for audience in [json!(7), json!([RESOURCE, 7]), json!({ "a": RESOURCE }), Value::Null] {
        let reason = stage.refuses_claims(&with(stage.claims(), "aud", audience.clone())).await;
        assert_eq!(reason, InvalidReason::AudienceClaim, "{audience}");
    }
    assert_eq!(stage.refuses_claims(&without(stage.claims(), "aud")).await, InvalidReason::AudienceClaim);
    let flood = json!(vec![RESOURCE; 65]);
    assert_eq!(stage.refuses_claims(&with(stage.claims(), "aud", flood)).await, InvalidReason::AudienceClaim);
}

#[tokio::test]
async fn rs7_a_verdict_for_one_resource_is_none_for_another() {
    let stage = Stage::new().await;
    let token = stage.key.sign(&stage.claims());
    stage.world.accepts(&token).await;
    let other = hawser_identity::Resource::new("https://mcp.example/other", "Other", vec![], false).unwrap();
    let refused = stage.world.authenticator.authenticate(&other, &crate::world::bearer(&token)).await.unwrap_err();
    assert_eq!(refused, InvalidReason::Audience.into());
    stage.world.accepts(&token).await;
}

#[tokio::test]
async fn rs8_the_issuer_is_one_exact_string() {
    let stage = Stage::new().await;
    let issuer = stage.issuer.issuer.clone();
    for iss in [format!("{issuer}/"), issuer.to_uppercase(), format!(" {issuer}"), String::new()] {
        let reason = stage.refuses_claims(&with(stage.claims(), "iss", iss.clone())).await;
        assert_eq!(reason, InvalidReason::UnknownIssuer, "{iss}");
    }
    for iss in [json!([issuer]), json!([issuer, "https://evil.example"]), json!(7), Value::Null] {
        let reason = stage.refuses_claims(&with(stage.claims(), "iss", iss.clone())).await;
        assert_eq!(reason, InvalidReason::IssuerClaim, "{iss}");
    }
    assert_eq!(stage.refuses_claims(&without(stage.claims(), "iss")).await, InvalidReason::IssuerClaim);
    assert_eq!(stage.issuer.asked(KEYS), 0, "an unknown issuer causes no fetch");
}

#[tokio::test]
async fn rs9_the_subject_is_a_plain_non_empty_string() {
    let stage = Stage::new().await;
    assert_eq!(stage.refuses_claims(&without(stage.claims(), "sub")).await, InvalidReason::SubjectMissing);
    for sub in [json!(""), json!(7), json!(["alice"]), Value::Null, json!("a\0b"), json!("a".repeat(256))] {
        let reason = stage.refuses_claims(&with(stage.claims(), "sub", sub.clone())).await;
        assert_eq!(reason, InvalidReason::Subject, "{sub}");
    }
    let longest = "ü".repeat(127);
    let who = stage.world.accepts(&stage.key.sign(&with(stage.claims(), "sub", longest.clone()))).await;
    assert_eq!(who.principal().subject().unwrap().as_str(), longest);
}

#[tokio::test]
async fn rs10_algorithms_outside_the_list_are_refused() {
    let stage = Stage::new().await;
    for alg in ["none", "HS256", "RS256X", "es256"] {
        let reason = stage.refuses_header(&with(stage.key.header(), "alg", alg)).await;
        assert_eq!(reason, InvalidReason::Algorithm, "{alg}");
    }
    let unsigned = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(stage.claims().to_string()));
    assert_eq!(stage.world.refuses(&unsigned).await, InvalidReason::NotJwt);
    let es384 = SigningKey::es384("k1");
    assert_eq!(stage.world.refuses(&es384.sign(&stage.claims())).await, InvalidReason::Algorithm);
}

#[tokio::test]
async fn rs10_public_key_bytes_are_no_hmac_secret_and_symmetric_keys_are_no_keys() {
    let stage = Stage::new().await;
    let oct = json!({ "kty": "oct", "kid": "k2", "alg": "HS256", "k": base64url("secret") });
    stage.issuer.publish(KEYS, &json!({ "keys": [stage.key.jwk, oct] }));
    let public = stage.key.jwk.to_string();
    for forger in [SigningKey::hmac_with("k1", public.as_bytes()), SigningKey::hmac_with("k2", b"secret")] {
        assert_eq!(stage.world.refuses(&forger.sign(&stage.claims())).await, InvalidReason::Algorithm);
        let lying = with(forger.header(), "alg", "ES256");
        assert!(matches!(
            stage.world.refuses(&forger.sign_with_header(&lying, &stage.claims())).await,
            InvalidReason::Signature | InvalidReason::UnknownKey
        ));
    }
}

#[tokio::test]
async fn rs10_a_key_serves_only_the_algorithm_it_was_published_for() {
    let key = SigningKey::rsa("k1", "RS256");
    let issuer = IssuerServer::start(&[]).await;
    let claims = claims(&issuer.issuer, "alice");
    for (name, value) in [("alg", "PS256"), ("use", "enc"), ("alg", "RSA-OAEP"), ("d", "AQAB"), ("kid", "k2")] {
        issuer.publish(KEYS, &json!({ "keys": [with(key.jwk.clone(), name, value)] }));
        let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
        assert_eq!(world.refuses(&key.sign(&claims)).await, InvalidReason::UnknownKey, "{name}: {value}");
    }
    issuer.publish(KEYS, &key_set(&[&key]));
    World::trusting([ExternalIssuer::new(&issuer.issuer)]).accepts(&key.sign(&claims)).await;
}

#[tokio::test]
async fn rs11_extensions_marked_critical_are_refused() {
    let stage = Stage::new().await;
    for (name, value) in [("crit", json!(["exp"])), ("crit", json!([])), ("b64", json!(false)), ("b64", json!(true))] {
        let reason = stage.refuses_header(&with(stage.key.header(), name, value)).await;
        assert_eq!(reason, InvalidReason::CriticalExtension);
    }
}

#[tokio::test]
async fn rs12_keys_named_by_the_token_are_never_used_or_fetched() {
    let stage = Stage::new().await;
    let thief = SigningKey::es256("k1");
    let lair = IssuerServer::start(&[&thief]).await;
    stage.world.accepts(&stage.key.sign(&stage.claims())).await;
    for header in [
        with(thief.header(), "jwk", thief.jwk.clone()),
        with(thief.header(), "jku", format!("{}{KEYS}", lair.origin)),
        with(thief.header(), "x5u", format!("{}/cert", lair.origin)),
        with(thief.header(), "kid", format!("{}{KEYS}", lair.origin)),
        without(with(thief.header(), "jwk", thief.jwk.clone()), "kid"),
    ] {
        let token = thief.sign_with_header(&header, &stage.claims());
        assert!(matches!(stage.world.refuses(&token).await, InvalidReason::Signature | InvalidReason::UnknownKey));
    }
    assert_eq!(lair.all_asked(), Vec::<String>::new());
}

#[tokio::test]
async fn rs13_tokens_for_other_uses_are_refused() {
    let stage = Stage::new().await;
    for typ in ["dpop+jwt", "logout+jwt", "id_token", "oauth-authz-req+jwt", "secevent+jwt", ""] {
        let reason = stage.refuses_header(&with(stage.key.header(), "typ", typ)).await;
        assert_eq!(reason, InvalidReason::TokenType, "{typ}");
    }
    for (name, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
        ("token_use", json!("id")),
        ("token_use", json!(1)),
    ] {
        let reason = stage.refuses_claims(&with(stage.claims(), name, value.clone())).await;
        assert_eq!(reason, InvalidReason::NotAccessToken, "{name}: {value}");
    }
    stage.world.accepts(&stage.key.sign(&with(stage.claims(), "token_use", "access"))).await;
    stage.world.accepts(&stage.key.sign(&with(stage.claims(), "typ", "Bearer"))).await;
    for typ in ["JWT", "AT+jwt", "application/at+jwt"] {
        let header = with(stage.key.header(), "typ", typ);
        stage.world.accepts(&stage.key.sign_with_header(&header, &stage.claims())).await;
    }
    stage.world.accepts(&stage.key.sign_with_header(&without(stage.key.header(), "typ"), &stage.claims())).await;
}

#[tokio::test]
async fn rs14_times_are_integers_within_the_skew() {
    let stage = Stage::new().await;
    let refused = async |name: &str, value: Value| stage.refuses_claims(&with(stage.claims(), name, value)).await;
    let accepted = async |name: &str, value: Value| {
        stage.world.accepts(&stage.key.sign(&with(stage.claims(), name, value))).await;
    };
    accepted("exp", json!(NOW - 29)).await;
    assert_eq!(refused("exp", json!(NOW - 30)).await, InvalidReason::Expired);
    assert_eq!(refused("exp", json!(NOW - 59)).await, InvalidReason::Expired);
    assert_eq!(refused("exp", json!(0)).await, InvalidReason::Expired);
    accepted("exp", json!(u64::MAX)).await;
    accepted("nbf", json!(NOW + 30)).await;
    assert_eq!(refused("nbf", json!(NOW + 31)).await, InvalidReason::NotYetValid);
    assert_eq!(refused("nbf", json!(NOW + 3600)).await, InvalidReason::NotYetValid);
    accepted("iat", json!(NOW + 30)).await;
    assert_eq!(refused("iat", json!(NOW + 31)).await, InvalidReason::IssuedInFuture);
    assert_eq!(refused("iat", json!(u64::MAX)).await, InvalidReason::IssuedInFuture);
    assert_eq!(stage.refuses_claims(&without(stage.claims(), "exp")).await, InvalidReason::ExpiryMissing);
    for name in ["exp", "nbf", "iat"] {
        for value in [json!(1_900_000_000.5), json!(-1), json!("1900000000"), json!(1e300), Value::Null, json!([1])] {
            assert_eq!(refused(name, value.clone()).await, InvalidReason::Claim, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn duplicate_members_are_refused_in_header_and_claims() {
    let stage = Stage::new().await;
    let header = stage.key.header().to_string();
    let claims = stage.claims().to_string();
    let twice = |json: &str, first: &str| format!("{{{first},{}", &json[1..]);
    stage.world.accepts(&stage.key.sign_text(&header, &claims)).await;
    for (header, claims) in [
        (twice(&header, r#""alg":"none""#), claims.clone()),
        (twice(&header, r#""alg":"ES256""#), claims.clone()),
        (header.clone(), twice(&claims, r#""sub":"root""#)),
        (header.clone(), twice(&claims, r#""\u0073ub":"root""#)),
        (header.clone(), twice(&claims, r#""iss":"https://evil.example""#)),
        (twice(&twice(&header, r#""x":1"#), r#""x":1"#), claims.clone()),
    ] {
        let token = stage.key.sign_text(&header, &claims);
        assert_eq!(stage.world.refuses(&token).await, InvalidReason::DuplicateMember, "{header} {claims}");
    }
}

#[tokio::test]
async fn bound_tokens_are_no_bearer_tokens() {
    let stage = Stage::new().await;
    let bound = with(stage.claims(), "cnf", json!({ "jkt": "thumbprint" }));
    assert_eq!(stage.refuses_claims(&bound).await, InvalidReason::SenderConstrained);
}

#[tokio::test]
async fn other_claims_of_a_wrong_type_are_refused() {
    let stage = Stage::new().await;
    for (name, value) in [
        ("client_id", json!(7)),
        ("client_id", json!("")),
        ("client_id", json!(["client-1"])),
        ("scope", json!(["mcp read"])),
        ("scope", json!(["mcp", 7])),
        ("scope", json!({ "mcp": true })),
        ("scope", json!("mcp \"quoted\"")),
        ("scope", json!("a\u{7f}b")),
        ("scope", json!(7)),
    ] {
        let reason = stage.refuses_claims(&with(stage.claims(), name, value.clone())).await;
        assert_eq!(reason, InvalidReason::Claim, "{name}: {value}");
    }
    let okta = with(without(stage.claims(), "scope"), "scp", json!(["b", "a"]));
    assert_eq!(stage.world.accepts(&stage.key.sign(&okta)).await.scopes().to_string(), "a b");
    let spring = with(stage.claims(), "scope", json!(["b", "a"]));
    assert_eq!(stage.world.accepts(&stage.key.sign(&spring)).await.scopes().to_string(), "a b");
    // The first of the two counts, so that the other cannot widen it.
    let both = with(with(stage.claims(), "scope", json!([])), "scp", "admin");
    assert!(stage.world.accepts(&stage.key.sign(&both)).await.scopes().is_empty());
}

#[tokio::test]
async fn payloads_that_are_no_json_object_and_foreign_signatures_are_refused() {
    let stage = Stage::new().await;
    let header = stage.key.header().to_string();
    for payload in ["", "[]", "null", "{", "{} {}", "\u{feff}{}"] {
        assert_eq!(stage.world.refuses(&stage.key.sign_text(&header, payload)).await, InvalidReason::NotJwt);
    }
    let stranger = SigningKey::es256("k1");
    assert_eq!(stage.world.refuses(&stranger.sign(&stage.claims())).await, InvalidReason::Signature);
    assert_eq!(stage.world.refuses("opaque-token").await, InvalidReason::NotJwt);
    assert_eq!(stage.world.refuses(&format!("{}.x", "a".repeat(16_384))).await, InvalidReason::TooLong);
}

#[tokio::test]
async fn rs2_every_invalid_token_gets_the_same_bytes() {
    let stage = Stage::new().await;
    let stranger = SigningKey::es256("k1");
    let good = stage.claims();
    let tokens = [
        stage.key.sign(&with(good.clone(), "exp", NOW - 3600)),
        stage.key.sign(&with(good.clone(), "aud", "https://other.example")),
        stage.key.sign(&with(good.clone(), "iss", "https://evil.example")),
        stage.key.sign(&without(good.clone(), "sub")),
        stage.key.sign_with_header(&with(stage.key.header(), "kid", "other"), &good),
        stage.key.sign_with_header(&with(stage.key.header(), "crit", json!(["x"])), &good),
        stranger.sign(&good),
        "garbage".to_owned(),
        "a,b".to_owned(),
    ];
    let mut answers = Vec::new();
    for token in &tokens {
        answers.push(stage.world.answer(&stage.world.present(token).await.unwrap_err()));
    }
    assert_eq!(answers[0].0, http::StatusCode::UNAUTHORIZED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let challenge = answers[0].1["www-authenticate"].to_str().unwrap();
    assert_eq!(
        challenge,
        r#"Bearer error="invalid_token", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="mcp""#
    );
}
