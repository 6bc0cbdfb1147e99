//! Protected resource metadata (RFC 9728), and what configuration is refused.

use std::sync::Arc;
use std::time::Duration;

use hawser_identity::{
    Authenticator, ConfigError, ExternalIssuer, HttpFetcher, IdentityConfig, KeyCachePolicy, Resource, ResourceError,
    VerdictPolicy,
};
use serde_json::{Value, json};
use url::Url;

use crate::world::{RESOURCE, TestClock, World, resource};

#[test]
fn rs19_the_document_names_exactly_this_resource_and_its_issuers() {
    let world = World::trusting([ExternalIssuer::new("https://a.example/"), ExternalIssuer::new("https://b.example")]);
    let document: Value =
        serde_json::from_slice(&world.authenticator.protected_resource_metadata(&resource())).unwrap();
    assert_eq!(
        document,
        json!({
            "resource": RESOURCE,
            "authorization_servers": ["https://a.example/", "https://b.example"],
            "scopes_supported": ["mcp"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Example",
        })
    );
}

#[test]
fn rs19_the_well_known_string_goes_between_host_and_path() {
    let at = |identifier: &str| {
        let resource = Resource::new(identifier, "", vec![], false).unwrap();
        (resource.metadata_url().to_owned(), resource.metadata_path().to_owned())
    };
    for (identifier, origin, path) in [
        ("https://h.example/mcp", "https://h.example", "/.well-known/oauth-protected-resource/mcp"),
        ("https://h.example:8443/a/b", "https://h.example:8443", "/.well-known/oauth-protected-resource/a/b"),
        ("https://h.example", "https://h.example", "/.well-known/oauth-protected-resource"),
        ("https://h.example/", "https://h.example", "/.well-known/oauth-protected-resource"),
        ("https://h.example/mcp/", "https://h.example", "/.well-known/oauth-protected-resource/mcp/"),
        ("http://127.0.0.1:8420/mcp", "http://127.0.0.1:8420", "/.well-known/oauth-protected-resource/mcp"),
        ("http://[::1]:8420/mcp", "http://[::1]:8420", "/.well-known/oauth-protected-resource/mcp"),
    ] {
        assert_eq!(at(identifier), (format!("{origin}{path}"), path.to_owned()), "{identifier}");
    }
}

#[test]
fn resource_identifiers_have_one_form() {
    let new = |identifier: &str| Resource::new(identifier, "", vec![], false).err();
    for (identifier, canonical) in [
        ("https://H.example/mcp", "https://h.example/mcp"),
        ("https://h.example:443/mcp", "https://h.example/mcp"),
        ("https://h.example/a/../mcp", "https://h.example/mcp"),
        ("https://h.example/m\"cp", "https://h.example/m%22cp"),
        (" https://h.example/mcp", "https://h.example/mcp"),
    ] {
        assert_eq!(new(identifier), Some(ResourceError::NotCanonical(canonical.to_owned())), "{identifier}");
    }
    for part in
        ["https://h.example/mcp?a=b", "https://h.example/mcp#a", "https://u@h.example/mcp", "https://h.example/?"]
    {
        assert!(matches!(new(part), Some(ResourceError::Part(_))), "{part}");
    }
    assert_eq!(new("ftp://h.example/mcp"), Some(ResourceError::Scheme));
    assert!(matches!(new("/mcp"), Some(ResourceError::Url(_))));
    let scopes = |scope: &str| Resource::new(RESOURCE, "", vec![scope.to_owned()], false).err();
    assert_eq!(scopes("offline_access"), Some(ResourceError::OfflineAccess));
    assert!(matches!(scopes("a b"), Some(ResourceError::Scope(_))));
    assert!(matches!(scopes("a\"b"), Some(ResourceError::Scope(_))));
}

#[test]
fn configuration_that_would_weaken_anything_is_refused() {
    type Change = fn(&mut IdentityConfig);
    let refused = |change: Change| {
        let mut config =
            IdentityConfig { issuers: vec![ExternalIssuer::new("https://idp.example")], ..IdentityConfig::default() };
        change(&mut config);
        let fetcher = Arc::new(HttpFetcher::new().unwrap());
        Authenticator::new(config, None, TestClock::new().clock(), fetcher).err()
    };
    assert_eq!(refused(|_| {}), None);
    let cases: [(&str, Change); 15] = [
        ("skew", |config| config.skew = Duration::from_secs(61)),
        ("verdict", |config| config.verdicts = VerdictPolicy { lifetime: Duration::from_secs(61), capacity: 1 }),
        ("ttl", |config| config.keys = KeyCachePolicy { ttl: Duration::ZERO, ..KeyCachePolicy::default() }),
        ("cooldown", |config| config.keys.cooldown = Duration::ZERO),
        ("twice", |config| config.issuers.push(config.issuers[0].clone())),
        ("no algorithm", |config| config.issuers[0].algorithms.clear()),
        ("no type", |config| config.issuers[0].token_types.clear()),
        ("no subject", |config| config.issuers[0].subject_claim.clear()),
        ("tenant alone", |config| config.issuers[0].tenant = Some("a".to_owned())),
        ("http", |config| config.issuers[0].issuer = "http://idp.example".to_owned()),
        ("http keys", |config| config.issuers[0].jwks_uri = Url::parse("http://idp.example/keys").ok()),
        ("relative", |config| config.issuers[0].issuer = "idp.example".to_owned()),
        ("query", |config| config.issuers[0].issuer = "https://idp.example?a".to_owned()),
        ("fragment", |config| config.issuers[0].issuer = "https://idp.example#a".to_owned()),
        ("empty", |config| config.issuers[0].issuer = String::new()),
    ];
    for (name, change) in cases {
        let error = refused(change);
        assert!(error.is_some(), "{name}");
        assert!(matches!(
            error,
            Some(
                ConfigError::Skew
                    | ConfigError::OutOfBounds(_)
                    | ConfigError::DuplicateIssuer(_)
                    | ConfigError::Empty(..)
                    | ConfigError::TenantWithoutClaim(_)
                    | ConfigError::Insecure(..)
                    | ConfigError::IssuerUrl(_)
                    | ConfigError::Issuer { .. }
            )
        ));
    }
}
