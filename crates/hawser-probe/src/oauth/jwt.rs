//! A look at an access token's claims.
//!
//! Access tokens are opaque to clients; the examination looks all the same, unverified, to say whether a refresh kept issuer
//! and subject. Nothing is decided by it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::secret::Secret;

/// The two claims that name a principal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Issuer.
    #[serde(default)]
    pub iss: Option<String>,
    /// Subject.
    #[serde(default)]
    pub sub: Option<String>,
}

/// The claims of a token in JWT shape, `None` for an opaque one.
pub fn peek(token: &Secret) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || header.is_empty() || signature.is_empty() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_a_jwt_are_seen_and_an_opaque_token_stays_opaque() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://as","sub":"alice","aud":["x"]}"#);
        let claims = Claims { iss: Some("https://as".into()), sub: Some("alice".into()) };
        assert_eq!(peek(&Secret::new(format!("e30.{payload}.c2ln"))), Some(claims));
        for opaque in ["abc", "a.b", "a.b.c", "..", "", "a.b.c.d"] {
            assert_eq!(peek(&Secret::new(opaque)), None, "{opaque}");
        }
    }
}
