//! Access tokens (RFC 9068) and ID tokens (OpenID Connect Core section 2).

use hawser_owner::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keys::KeysNow;

/// Claims of an access token. `grant` and `gen` are for this server's own resource server alone: the grant that the
/// token stands and falls with, and the generation of its refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) client_id: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    pub(crate) scope: String,
    pub(crate) auth_time: u64,
    pub(crate) grant: String,
    #[serde(rename = "gen")]
    pub(crate) generation: u64,
}

/// Claims of an ID token.
#[derive(Debug, Serialize)]
pub(crate) struct IdClaims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) auth_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<&'a str>,
}

/// The token could not be signed.
#[derive(Debug, Error)]
#[error("a token could not be signed")]
pub(crate) struct SignError;

const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// Signs an access token.
pub(crate) fn sign_access_token(keys: &KeysNow, claims: &AccessClaims) -> Result<String, SignError> {
    sign(keys, ACCESS_TOKEN_TYPE, claims)
}

/// Signs an ID token. Its type and audience keep it from ever passing for an access token.
pub(crate) fn sign_id_token(keys: &KeysNow, claims: &IdClaims<'_>) -> Result<String, SignError> {
    sign(keys, "JWT", claims)
}

fn sign(keys: &KeysNow, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
    let (kid, key) = keys.active();
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(typ.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).map_err(|_| SignError)
}

/// The claims of an access token that this server signed and that is not over; for revocation only.
pub(crate) fn own_access_token(keys: &KeysNow, issuer: &str, now: Timestamp, token: &str) -> Option<AccessClaims> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.typ.as_deref() != Some(ACCESS_TOKEN_TYPE) || header.alg != Algorithm::ES256 {
        return None;
    }
    let key = keys.verifying(header.kid.as_deref()?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    // Judged below, by the injected clock and by exact comparison.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<AccessClaims>(token, key, &validation).ok()?.claims;
    (claims.iss == issuer && now.seconds() < claims.exp).then_some(claims)
}
