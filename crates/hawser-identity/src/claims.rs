//! The claims of an access token (RFC 7519 section 4.1, RFC 9068 section 2.2), judged under one issuer's rules.
//!
//! Pure: the signature has been verified by the caller, the time is an argument, and which resource is asked for is
//! decided separately ([`VerifiedToken::is_for`]), because it may differ from one request to the next.

use std::time::Duration;

use hawser_owner::{Issuer, Principal, Subject, Tenant, Timestamp};
use serde::Deserialize;

use crate::algorithm::SignatureAlgorithm;
use crate::authenticated::VerifiedToken;
use crate::config::ExternalIssuer;
use crate::local::AcceptedToken;
use crate::members::{Members, WrongType};
use crate::reason::InvalidReason;
use crate::scopes::Scopes;

/// Most entries of an `aud` array.
const AUDIENCES_MAX: usize = 64;
/// Longest client id, grant or token id.
const ID_BYTES_MAX: usize = 2048;

/// What one issuer's access tokens must look like.
#[derive(Debug)]
pub(crate) struct IssuerRules {
    pub(crate) issuer: Issuer,
    pub(crate) algorithms: Vec<SignatureAlgorithm>,
    pub(crate) token_types: Vec<String>,
    /// The client ids that its logout tokens are for; none are taken without any.
    pub(crate) logout_audience: Vec<String>,
    pub(crate) subject_claim: String,
    pub(crate) tenant_claim: Option<String>,
    pub(crate) tenant: Option<String>,
    /// The embedded authorization server: its private claims are demanded.
    local: bool,
}

impl IssuerRules {
    pub(crate) fn external(issuer: Issuer, config: ExternalIssuer) -> Self {
        Self {
            issuer,
            algorithms: config.algorithms,
            token_types: config.token_types,
            logout_audience: config.logout_audience,
            subject_claim: config.subject_claim,
            tenant_claim: config.tenant_claim,
            tenant: config.tenant,
            local: false,
        }
    }

    /// RFC 9068 to the letter: the embedded authorization server has no excuse.
    pub(crate) fn local(issuer: Issuer) -> Self {
        let ExternalIssuer { algorithms, subject_claim, .. } = ExternalIssuer::new("");
        Self {
            issuer,
            algorithms,
            token_types: vec!["at+jwt".to_owned()],
            logout_audience: Vec::new(),
            subject_claim,
            tenant_claim: None,
            tenant: None,
            local: true,
        }
    }

    /// Judges the claims of a token whose signature holds.
    pub(crate) fn judge(
        &self,
        claims: &Members<'_>,
        digest: [u8; 32],
        now: Timestamp,
        skew: Duration,
    ) -> Result<VerifiedToken, InvalidReason> {
        if issuer_of(claims)? != self.issuer.as_str() {
            return Err(InvalidReason::UnknownIssuer);
        }
        refuse_other_tokens(claims)?;
        let expires = check_times(claims, now, skew)?;
        let audiences = audiences(claims)?;
        let client_id = client_id(claims)?;
        let local = self.local.then(|| private_claims(claims, client_id.as_deref())).transpose()?;
        Ok(VerifiedToken {
            principal: self.principal(claims, client_id.as_deref())?,
            scopes: scopes(claims)?,
            client_id,
            audiences,
            expires,
            local,
            digest,
        })
    }

    fn principal(&self, claims: &Members<'_>, client_id: Option<&str>) -> Result<Principal, InvalidReason> {
        let sub = claims.get::<String>("sub").map_err(|WrongType| InvalidReason::Subject)?;
        let named = claims.get::<String>(&self.subject_claim).map_err(|WrongType| InvalidReason::Subject)?;
        let subject = Subject::new(named.ok_or(InvalidReason::SubjectMissing)?).map_err(|_| InvalidReason::Subject)?;
        let tenant = self.tenant(claims)?;
        // RFC 9068 section 2.2: without a resource owner, `sub` names the client itself.
        let is_client = sub.is_some() && sub.as_deref() == client_id;
        let principal = if is_client { Principal::client } else { Principal::user };
        Ok(principal(self.issuer.clone(), tenant, subject))
    }

    pub(crate) fn tenant(&self, claims: &Members<'_>) -> Result<Option<Tenant>, InvalidReason> {
        let Some(claim) = &self.tenant_claim else { return Ok(None) };
        let tenant = claims.get::<String>(claim).ok().flatten().ok_or(InvalidReason::Tenant)?;
        if self.tenant.as_ref().is_some_and(|demanded| *demanded != tenant) {
            return Err(InvalidReason::Tenant);
        }
        Tenant::new(tenant).map(Some).map_err(|_| InvalidReason::Tenant)
    }
}

impl VerifiedToken {
    /// Was it issued for this resource? Exact, as RFC 9068 section 4 has it.
    pub(crate) fn is_for(&self, identifier: &str) -> bool {
        self.audiences.iter().any(|audience| audience.as_ref() == identifier)
    }
}

/// The issuer a token claims to be from: one string, whatever libraries make of an array.
pub(crate) fn issuer_of(claims: &Members<'_>) -> Result<String, InvalidReason> {
    claims.get("iss").ok().flatten().ok_or(InvalidReason::IssuerClaim)
}

/// ID, refresh and logout tokens of the same issuer carry the same signature. They give themselves away by the members
/// that only they have (OpenID Connect Core sections 2 and 3.1.3.6, Back-Channel Logout section 2.4), or by the kind that
/// Keycloak (`typ`) and Cognito (`token_use`) write into the claims.
fn refuse_other_tokens(claims: &Members<'_>) -> Result<(), InvalidReason> {
    let betrayed = ["nonce", "at_hash", "c_hash", "s_hash", "events"].iter().any(|name| claims.has(name));
    let typ = claims.get::<String>("typ").ok().flatten().unwrap_or_default();
    let other_kind = ["ID", "Refresh", "Offline", "Logout"].contains(&typ.as_str());
    let other_use = claims.has("token_use") && claims.get::<String>("token_use") != Ok(Some("access".to_owned()));
    if betrayed || other_kind || other_use {
        return Err(InvalidReason::NotAccessToken);
    }
    // RFC 7800 section 3.1. As a bearer token it would lose the protection its issuer gave it.
    if claims.has("cnf") {
        return Err(InvalidReason::SenderConstrained);
    }
    Ok(())
}

fn check_times(claims: &Members<'_>, now: Timestamp, skew: Duration) -> Result<Timestamp, InvalidReason> {
    let time = |name| {
        let seconds = claims.get::<u64>(name).map_err(|WrongType| InvalidReason::Claim);
        seconds.map(|seconds| seconds.map(Timestamp::from_seconds))
    };
    let expires = time("exp")?.ok_or(InvalidReason::ExpiryMissing)?;
    if now >= expires.plus(skew) {
        return Err(InvalidReason::Expired);
    }
    let horizon = now.plus(skew);
    if time("nbf")?.is_some_and(|not_before| not_before > horizon) {
        return Err(InvalidReason::NotYetValid);
    }
    if time("iat")?.is_some_and(|issued| issued > horizon) {
        return Err(InvalidReason::IssuedInFuture);
    }
    Ok(expires)
}

/// One string or an array of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<str>),
    Many(Vec<Box<str>>),
}

pub(crate) fn audiences(claims: &Members<'_>) -> Result<Vec<Box<str>>, InvalidReason> {
    match claims.get("aud") {
        Ok(Some(OneOrMany::One(audience))) => Ok(vec![audience]),
        Ok(Some(OneOrMany::Many(audiences))) if audiences.len() <= AUDIENCES_MAX => Ok(audiences),
        _ => Err(InvalidReason::AudienceClaim),
    }
}

/// `client_id` (RFC 9068), or `azp` of the issuers that were there before it.
fn client_id(claims: &Members<'_>) -> Result<Option<Box<str>>, InvalidReason> {
    for name in ["client_id", "azp"] {
        if let Some(id) = claims.get::<Box<str>>(name).map_err(|WrongType| InvalidReason::Claim)? {
            return if is_id(&id) { Ok(Some(id)) } else { Err(InvalidReason::Claim) };
        }
    }
    Ok(None)
}

/// `scope` as text (RFC 9068 section 2.2.3) or as an array (Spring, Duende, UAA), or `scp` as Entra (text) and Okta (array)
/// write it.
fn scopes(claims: &Members<'_>) -> Result<Scopes, InvalidReason> {
    for name in ["scope", "scp"] {
        let scopes = match claims.get(name).map_err(|WrongType| InvalidReason::Claim)? {
            Some(OneOrMany::One(text)) => Scopes::parse(&text),
            Some(OneOrMany::Many(tokens)) => Scopes::from_tokens(tokens.iter().map(AsRef::as_ref)),
            None => continue,
        };
        return scopes.map_err(|_| InvalidReason::Claim);
    }
    Ok(Scopes::none())
}

fn private_claims(claims: &Members<'_>, client_id: Option<&str>) -> Result<AcceptedToken, InvalidReason> {
    let id = |name| claims.get::<String>(name).ok().flatten().filter(|id| is_id(id)).ok_or(InvalidReason::LocalClaims);
    if client_id.is_none() || !claims.has("client_id") {
        return Err(InvalidReason::LocalClaims);
    }
    let generation = claims.get::<u64>("gen").ok().flatten().ok_or(InvalidReason::LocalClaims)?;
    Ok(AcceptedToken { grant: id("grant")?, generation, jti: id("jti")? })
}

pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.contains('\0')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const ISSUER: &str = "https://idp.example";
    const NOW: u64 = 1_000;
    const SKEW: u64 = 30;

    fn judge(local: bool, claims: &Map<String, Value>) -> Result<VerifiedToken, InvalidReason> {
        let issuer = Issuer::new(ISSUER).unwrap();
        let rules =
            if local { IssuerRules::local(issuer) } else { IssuerRules::external(issuer, ExternalIssuer::new(ISSUER)) };
        let text = serde_json::to_vec(claims).unwrap();
        let members = Members::parse(&text).unwrap();
        rules.judge(&members, [0; 32], Timestamp::from_seconds(NOW), Duration::from_secs(SKEW))
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (NOW - 2 * SKEW..NOW + 2 * SKEW).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!(ISSUER)),
            Just(json!([ISSUER])),
            Just(json!({ "iss": ISSUER })),
        ]
    }

    proptest! {
        /// Good claims with some replaced by anything: whatever is accepted says what a token must say.
        #[test]
        fn accepted_claims_hold_whatever_the_others_are(
            local in any::<bool>(),
            changes in proptest::collection::vec(
                (
                    prop::sample::select(vec![
                        "iss", "sub", "aud", "exp", "nbf", "iat", "client_id", "azp", "scope", "scp", "grant", "gen", "jti",
                    ]),
                    proptest::option::of(value()),
                ),
                0..4,
            ),
        ) {
            let good = json!({
                "iss": ISSUER, "sub": "alice", "aud": "r", "exp": NOW + 1, "client_id": "c", "grant": "g", "gen": 0, "jti": "j",
            });
            let Value::Object(mut claims) = good else { unreachable!() };
            for (name, change) in &changes {
                match change {
                    Some(value) => claims.insert((*name).to_owned(), value.clone()),
                    None => claims.remove(*name),
                };
            }
            let judged = judge(local, &claims);
            prop_assert!(judged.is_ok() || !changes.is_empty());
            if let Ok(token) = judged {
                prop_assert_eq!(&claims["iss"], &json!(ISSUER));
                prop_assert_eq!(token.principal.issuer().unwrap().as_str(), ISSUER);
                prop_assert_eq!(&claims["sub"], &json!(token.principal.subject().unwrap().as_str()));
                prop_assert!(claims["exp"].as_u64().unwrap() + SKEW > NOW);
                for name in ["nbf", "iat"] {
                    prop_assert!(claims.get(name).is_none_or(|time| time.as_u64().unwrap() <= NOW + SKEW));
                }
                prop_assert_eq!(token.local.is_some(), local);
                prop_assert!(!local || claims["gen"].is_u64());
            }
        }
    }
}
