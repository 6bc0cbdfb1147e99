//! ID tokens that come back as hints (OpenID Connect RP-Initiated Logout 1.0 section 2).

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use crate::server::AuthServer;

/// Longest hint that is looked at.
const BYTES_MAX: usize = 8 * 1024;

/// Whom an ID token of ours was about, and which client it was for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdTokenHint {
    pub(crate) subject: String,
    pub(crate) client: String,
}

/// Access tokens have other claims and another type, so none of them passes for one.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    auth_time: u64,
}

impl AuthServer {
    /// What an ID token that this server signed says. One whose time is up is as good: "The OP SHOULD accept ID Tokens when the RP
    /// [...] had a recent session at the OP, even when the exp time has passed" (section 2).
    pub(crate) fn id_token_hint(&self, token: &str) -> Option<IdTokenHint> {
        if token.len() > BYTES_MAX {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some("JWT") || header.alg != Algorithm::ES256 {
            return None;
        }
        let keys = self.keys.now();
        let key = keys.verifying(header.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims;
        let ours = claims.iss == self.config.issuer && claims.auth_time <= self.now().seconds();
        ours.then_some(IdTokenHint { subject: claims.sub, client: claims.aud })
    }
}
