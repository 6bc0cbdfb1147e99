//! Finding an issuer's keys: authorization server metadata (RFC 8414), then OpenID Connect Discovery.

use thiserror::Error;
use url::{Position, Url};

use crate::config::is_protected;
use crate::members::Members;
use crate::resource::is_loopback;

/// Most bytes of a metadata document.
pub(crate) const METADATA_BYTES_MAX: usize = 256 * 1024;

/// A metadata document does not say where this issuer's keys are.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataError {
    #[error("the metadata is not a JSON object")]
    NotAnObject,
    #[error("the metadata is of another issuer")]
    OtherIssuer,
    #[error("the metadata has no usable jwks_uri")]
    NoKeys,
}

/// Where the metadata may be, best first: RFC 8414 section 3.1, then OpenID Connect with the well-known string inserted
/// (RFC 8414 section 5) and appended (OpenID Connect Discovery section 4). A trailing slash is dropped to build these, and
/// only for that.
pub(crate) fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let origin = &issuer[..Position::BeforePath];
    let path = issuer.path().trim_end_matches('/');
    let mut urls: Vec<Url> = [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
        format!("{origin}{path}/.well-known/openid-configuration"),
    ]
    .iter()
    .filter_map(|url| Url::parse(url).ok())
    .collect();
    urls.dedup();
    urls
}

/// The `jwks_uri` of a metadata document, if the document is this issuer's: the same text, byte for byte
/// (RFC 8414 section 3.3). Only an issuer on this machine may name plain http here: another one could send us to whatever
/// listens on loopback.
pub(crate) fn jwks_uri(document: &[u8], issuer: &str, issuer_url: &Url) -> Result<Url, MetadataError> {
    let members = Members::parse(document).map_err(|_| MetadataError::NotAnObject)?;
    if members.get::<String>("issuer") != Ok(Some(issuer.to_owned())) {
        return Err(MetadataError::OtherIssuer);
    }
    let uri = members.get::<String>("jwks_uri").ok().flatten().ok_or(MetadataError::NoKeys)?;
    let allowed = |uri: &Url| uri.scheme() == "https" || (is_protected(uri) && is_loopback(issuer_url));
    Url::parse(&uri).ok().filter(allowed).ok_or(MetadataError::NoKeys)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn urls(issuer: &str) -> Vec<String> {
        metadata_urls(&Url::parse(issuer).unwrap()).into_iter().map(String::from).collect()
    }

    #[test]
    fn well_known_strings_are_inserted_then_appended() {
        assert_eq!(
            urls("https://idp.example/realms/a"),
            [
                "https://idp.example/.well-known/oauth-authorization-server/realms/a",
                "https://idp.example/.well-known/openid-configuration/realms/a",
                "https://idp.example/realms/a/.well-known/openid-configuration",
            ]
        );
        let plain = [
            "https://idp.example/.well-known/oauth-authorization-server",
            "https://idp.example/.well-known/openid-configuration",
        ];
        assert_eq!(urls("https://idp.example"), plain);
        assert_eq!(urls("https://idp.example/"), plain);
        assert_eq!(urls("https://idp.example/realms/a/"), urls("https://idp.example/realms/a"));
    }

    fn found(document: &str, issuer: &str) -> Result<Url, MetadataError> {
        jwks_uri(document.as_bytes(), issuer, &Url::parse(issuer).unwrap())
    }

    #[test]
    fn metadata_must_be_of_the_configured_issuer_byte_for_byte() {
        let document = |issuer: &str, uri: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}"}}"#);
        let keys = "https://idp.example/keys";
        let named = |issuer, uri| found(&document(issuer, uri), "https://idp.example");
        assert_eq!(named("https://idp.example", keys).unwrap().as_str(), keys);
        for other in
            ["https://idp.example/", "https://IDP.example", "https://idp.example:443", "http://idp.example", ""]
        {
            assert_eq!(named(other, keys), Err(MetadataError::OtherIssuer), "{other}");
        }
        for uri in ["http://idp.example/keys", "http://127.0.0.1/keys", "/keys", "", "file:///etc/passwd"] {
            assert_eq!(named("https://idp.example", uri), Err(MetadataError::NoKeys), "{uri}");
        }
        let array = r#"{"issuer":["https://idp.example"],"jwks_uri":"https://idp.example/keys"}"#;
        assert_eq!(found(array, "https://idp.example"), Err(MetadataError::OtherIssuer));
        let local = document("http://[::1]:8080", "http://127.0.0.1:8080/keys");
        assert!(found(&local, "http://[::1]:8080").is_ok());
    }

    proptest! {
        #[test]
        fn any_document_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let issuer = Url::parse("https://idp.example").unwrap();
            let _ = jwks_uri(&bytes, issuer.as_str(), &issuer);
        }
    }
}
