//! Logout tokens of external issuers (OpenID Connect Back-Channel Logout 1.0 section 2.4), judged as section 2.6 says.
//!
//! They are signed with the same keys as access tokens, so everything that tells the two apart is demanded: the audience is a
//! client id and not a resource, there is an `events` member with the logout event, and there is no `nonce`. Whether a token was
//! used before is for the caller to ask of its store, by [`Logout::id`].

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hawser_owner::{Principal, Subject, Tenant, Timestamp};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::authenticator::Authenticator;
use crate::challenge::AuthenticateError;
use crate::claims::{IssuerRules, audiences, is_id, issuer_of};
use crate::members::Members;
use crate::reason::InvalidReason;
use crate::token::UnverifiedToken;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// A logout token is older than this only if it was kept back.
const AGE_MAX: Duration = Duration::from_mins(5);
/// So long a used token has to be remembered: until it would be refused for its age, with every clock as wrong as it may be.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Somebody was logged out at an external issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Who.
    pub principal: Principal,
    /// What the token is known by: a digest of issuer and `jti`, as hexadecimal text.
    pub id: String,
    /// How long the id has to be remembered, so that the token cannot be used twice.
    pub remember: Duration,
}

/// Why a logout token is not acted on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LogoutError {
    /// No issuer is configured to send any, or not this one.
    #[error("logout tokens of this issuer are not taken")]
    NotTaken,
    /// What is wrong with every token of that kind is wrong with it.
    #[error("the logout token is refused: {0}")]
    Invalid(InvalidReason),
    /// The audience is none of the configured client ids.
    #[error("the logout token is for another client")]
    Audience,
    /// No `events`, or not the event of a back-channel logout.
    #[error("the token is no logout token: `events` does not name a back-channel logout")]
    Event,
    /// A `nonce` makes it an ID token (section 2.4: prohibited).
    #[error("the token is no logout token: it has a nonce")]
    Nonce,
    /// No `iat`, or one that is too far from now.
    #[error("the logout token is too old, or has no time of issue")]
    Age,
    /// No `jti`.
    #[error("the logout token has no id")]
    Id,
    /// `sid` alone: which sessions of the issuer ours belong to is not known here.
    #[error("the logout token names no subject; a session of the issuer (`sid`) alone is not known here")]
    NoSubject,
    /// The issuer's keys cannot be had.
    #[error("the issuer's keys cannot be fetched")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<InvalidReason> for LogoutError {
    fn from(reason: InvalidReason) -> Self {
        Self::Invalid(reason)
    }
}

impl Authenticator {
    /// Whether any issuer is configured to send logout tokens.
    pub fn takes_logout_tokens(&self) -> bool {
        self.trusted.values().any(|issuer| !issuer.rules.logout_audience.is_empty())
    }

    /// Who a logout token logs out.
    pub async fn logout_token(&self, text: &str) -> Result<Logout, LogoutError> {
        let token = UnverifiedToken::parse(text)?;
        let claims = Members::parse(&token.payload).map_err(InvalidReason::from)?;
        // Only a name to look keys up by, until the signature is verified.
        let issuer = self.trusted.get(&issuer_of(&claims)?).ok_or(LogoutError::NotTaken)?;
        if issuer.rules.logout_audience.is_empty() {
            return Err(LogoutError::NotTaken);
        }
        if !issuer.rules.algorithms.contains(&token.header.algorithm) {
            return Err(InvalidReason::Algorithm.into());
        }
        // Explicit typing is recommended, not demanded (section 2.4).
        if !token.header.has_type(&["logout+jwt".to_owned(), "JWT".to_owned()]) {
            return Err(InvalidReason::TokenType.into());
        }
        issuer.check_signature(&token, (self.clock)()).await.map_err(|error| match error {
            AuthenticateError::Unavailable { retry_after } => LogoutError::Unavailable { retry_after },
            AuthenticateError::Invalid(reason) => reason.into(),
            _ => InvalidReason::Signature.into(),
        })?;
        issuer.rules.judge_logout(&claims, (self.clock)(), self.skew)
    }
}

impl IssuerRules {
    /// Judges the claims of a logout token whose signature holds.
    fn judge_logout(&self, claims: &Members<'_>, now: Timestamp, skew: Duration) -> Result<Logout, LogoutError> {
        if issuer_of(claims)? != self.issuer.as_str() {
            return Err(InvalidReason::UnknownIssuer.into());
        }
        let audiences = audiences(claims)?;
        if !audiences.iter().any(|audience| self.logout_audience.iter().any(|client| **client == **audience)) {
            return Err(LogoutError::Audience);
        }
        if claims.has("nonce") {
            return Err(LogoutError::Nonce);
        }
        let events = claims.get::<Map<String, Value>>("events").ok().flatten().ok_or(LogoutError::Event)?;
        if !events.get(EVENT).is_some_and(Value::is_object) {
            return Err(LogoutError::Event);
        }
        check_age(claims, now, skew)?;
        let jti = claims.get::<String>("jti").ok().flatten().filter(|id| is_id(id)).ok_or(LogoutError::Id)?;
        Ok(Logout {
            principal: self.logged_out(claims)?,
            id: digest_of(self.issuer.as_str(), &jti),
            remember: REMEMBERED,
        })
    }

    /// The person. Clients that act for themselves do not log in, so they are never logged out this way.
    fn logged_out(&self, claims: &Members<'_>) -> Result<Principal, LogoutError> {
        if claims.get::<String>("sub").is_err() {
            return Err(InvalidReason::Subject.into());
        }
        let named = claims.get::<String>(&self.subject_claim).map_err(|_| InvalidReason::Subject)?;
        let subject = Subject::new(named.ok_or(LogoutError::NoSubject)?).map_err(|_| InvalidReason::Subject)?;
        // Logout tokens need not carry the tenant. Where only one is let in, it can be no other.
        let tenant = match (&self.tenant_claim, &self.tenant) {
            (Some(claim), Some(only)) if !claims.has(claim) => {
                Some(Tenant::new(only.as_str()).map_err(|_| InvalidReason::Tenant)?)
            }
            _ => self.tenant(claims)?,
        };
        Ok(Principal::user(self.issuer.clone(), tenant, subject))
    }
}

fn check_age(claims: &Members<'_>, now: Timestamp, skew: Duration) -> Result<(), LogoutError> {
    let time = |name| {
        let seconds = claims.get::<u64>(name).map_err(|_| InvalidReason::Claim);
        seconds.map(|seconds| seconds.map(Timestamp::from_seconds))
    };
    let issued = time("iat")?.ok_or(LogoutError::Age)?;
    if issued > now.plus(skew) {
        return Err(InvalidReason::IssuedInFuture.into());
    }
    if now > issued.plus(AGE_MAX).plus(skew) {
        return Err(LogoutError::Age);
    }
    if time("exp")?.is_some_and(|expires| now >= expires.plus(skew)) {
        return Err(InvalidReason::Expired.into());
    }
    Ok(())
}

/// With its length in front, so that no other issuer and id make the same text.
fn digest_of(issuer: &str, jti: &str) -> String {
    let text = format!("{}:{issuer}{jti}", issuer.len());
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use hawser_owner::Issuer;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::ExternalIssuer;

    const ISSUER: &str = "https://idp.example";
    const NOW: u64 = 10_000;
    const SKEW: u64 = 30;

    fn rules(change: impl FnOnce(&mut ExternalIssuer)) -> IssuerRules {
        let mut config = ExternalIssuer::new(ISSUER);
        config.logout_audience = vec!["hawser".to_owned()];
        change(&mut config);
        IssuerRules::external(Issuer::new(ISSUER).unwrap(), config)
    }

    fn judged(rules: &IssuerRules, claims: &Value) -> Result<Logout, LogoutError> {
        let text = serde_json::to_vec(claims).unwrap();
        let members = Members::parse(&text).unwrap();
        rules.judge_logout(&members, Timestamp::from_seconds(NOW), Duration::from_secs(SKEW))
    }

    fn good() -> Value {
        json!({ "iss": ISSUER, "sub": "alice", "aud": "hawser", "iat": NOW, "exp": NOW + 120, "jti": "1", "events": { EVENT: {} } })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    #[test]
    fn a_good_token_logs_its_subject_out() {
        let logout = judged(&rules(|_| ()), &good()).unwrap();
        let issuer = Issuer::new(ISSUER).unwrap();
        assert_eq!(logout.principal, Principal::user(issuer, None, Subject::new("alice").unwrap()));
        assert_eq!(judged(&rules(|_| ()), &with("aud", json!(["other", "hawser"]))).unwrap(), logout);
        assert_eq!(judged(&rules(|_| ()), &with("sid", json!("s"))).unwrap(), logout, "a session beside a subject");
        assert_eq!(judged(&rules(|_| ()), &without("exp")).unwrap(), logout);
        assert_ne!(judged(&rules(|_| ()), &with("jti", json!("2"))).unwrap().id, logout.id);
    }

    #[test]
    fn whatever_makes_it_another_kind_of_token_refuses_it() {
        let rules = rules(|_| ());
        for (claims, expected) in [
            (with("aud", json!("https://mcp.example/mcp")), LogoutError::Audience),
            (without("aud"), InvalidReason::AudienceClaim.into()),
            (with("nonce", json!("n")), LogoutError::Nonce),
            (with("nonce", Value::Null), LogoutError::Nonce),
            (without("events"), LogoutError::Event),
            (with("events", json!({ EVENT: true })), LogoutError::Event),
            (with("events", json!([EVENT])), LogoutError::Event),
            (with("events", json!({ "http://schemas.openid.net/event/other": {} })), LogoutError::Event),
            (without("iat"), LogoutError::Age),
            (with("iat", json!(NOW - 300 - SKEW - 1)), LogoutError::Age),
            (with("iat", json!(NOW + SKEW + 1)), InvalidReason::IssuedInFuture.into()),
            (with("exp", json!(NOW - SKEW)), InvalidReason::Expired.into()),
            (without("jti"), LogoutError::Id),
            (with("jti", json!(7)), LogoutError::Id),
            (without("sub"), LogoutError::NoSubject),
            (with("sub", json!(["alice"])), InvalidReason::Subject.into()),
            (with("iss", json!("https://other.example")), InvalidReason::UnknownIssuer.into()),
        ] {
            assert_eq!(judged(&rules, &claims), Err(expected), "{claims}");
        }
    }

    #[test]
    fn a_subject_under_another_name_and_the_tenant_are_found() {
        let by_oid = rules(|config| {
            config.subject_claim = "oid".to_owned();
            config.tenant_claim = Some("tid".to_owned());
            config.tenant = Some("t1".to_owned());
        });
        assert_eq!(judged(&by_oid, &good()), Err(LogoutError::NoSubject));
        let named = with("oid", json!("o"));
        let tenant = Tenant::new("t1").unwrap();
        let expected = Principal::user(Issuer::new(ISSUER).unwrap(), Some(tenant), Subject::new("o").unwrap());
        assert_eq!(judged(&by_oid, &named).unwrap().principal, expected);
        let mut other = named;
        other["tid"] = json!("t2");
        assert_eq!(judged(&by_oid, &other), Err(InvalidReason::Tenant.into()));
        let any = rules(|config| config.tenant_claim = Some("tid".to_owned()));
        assert_eq!(
            judged(&any, &good()),
            Err(InvalidReason::Tenant.into()),
            "of one of several tenants, unknown which"
        );
    }

    #[test]
    fn ids_of_two_issuers_are_never_the_same() {
        assert_ne!(digest_of("https://a", "b1"), digest_of("https://ab", "1"));
        assert_eq!(digest_of("a", "b").len(), 64);
    }

    proptest! {
        #[test]
        fn accepted_claims_hold_whatever_the_others_are(
            name in prop::sample::select(vec!["iss", "sub", "aud", "iat", "exp", "jti", "events", "nonce", "sid"]),
            value in prop_oneof![
                Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
                ".{0,12}".prop_map(Value::from), Just(json!({})), Just(json!(["hawser"])), Just(json!({ EVENT: {} })),
            ],
        ) {
            let claims = with(name, value);
            if let Ok(logout) = judged(&rules(|_| ()), &claims) {
                prop_assert_eq!(&claims["iss"], ISSUER);
                prop_assert_eq!(&claims["sub"], logout.principal.subject().unwrap().as_str());
                prop_assert!(claims["events"][EVENT].is_object());
                prop_assert!(claims.get("nonce").is_none());
                prop_assert!(claims["aud"] == "hawser" || claims["aud"] == json!(["hawser"]));
                prop_assert!(claims["iat"].as_u64().is_some_and(|iat| iat.abs_diff(NOW) <= 300 + SKEW));
            }
        }
    }
}
