//! What the resource server is told: whom to trust, and how long to believe what it fetched.

use std::ops::RangeInclusive;
use std::time::Duration;

use hawser_owner::{Issuer, PrincipalError, Tenant};
use thiserror::Error;
use url::Url;

use crate::algorithm::SignatureAlgorithm;
use crate::resource::is_loopback;

const SKEW_MAX: Duration = Duration::from_mins(1);
/// Bounds of what [`KeyCachePolicy`] may say.
const KEYS_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
const KEYS_COOLDOWN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const KEYS_STALE_MAX: Duration = Duration::from_hours(24);
const VERDICT_LIFETIME_MAX: Duration = Duration::from_mins(1);

/// Whom to trust, and how long to believe what was fetched.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// The external authorization servers.
    pub issuers: Vec<ExternalIssuer>,
    /// How far clocks may differ; 60 s at most.
    pub skew: Duration,
    /// How issuers' keys are cached.
    pub keys: KeyCachePolicy,
    /// How verified tokens are cached.
    pub verdicts: VerdictPolicy,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            skew: Duration::from_secs(30),
            keys: KeyCachePolicy::default(),
            verdicts: VerdictPolicy::default(),
        }
    }
}

/// One external authorization server.
#[derive(Clone, Debug)]
pub struct ExternalIssuer {
    /// The issuer identifier, byte for byte as in its tokens.
    pub issuer: String,
    /// Where its keys are; found by discovery (RFC 8414, `OpenID` Connect Discovery) if absent.
    pub jwks_uri: Option<Url>,
    /// The signature algorithms it may use.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The `typ` header values its access tokens have, with or without `application/`. A header without `typ` counts as `JWT`.
    pub token_types: Vec<String>,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// The claim that names the tenant, where the issuer has several.
    pub tenant_claim: Option<String>,
    /// The tenant to demand; only with `tenant_claim`.
    pub tenant: Option<String>,
    /// The client ids that its logout tokens are for. Without any, none are taken.
    pub logout_audience: Vec<String>,
}

impl ExternalIssuer {
    /// An issuer with the defaults: keys by discovery, RS256, PS256, ES256 or `EdDSA`, `at+jwt` or `JWT`, subject in `sub`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            jwks_uri: None,
            algorithms: vec![
                SignatureAlgorithm::Rs256,
                SignatureAlgorithm::Ps256,
                SignatureAlgorithm::Es256,
                SignatureAlgorithm::Ed25519,
            ],
            token_types: vec!["at+jwt".to_owned(), "JWT".to_owned()],
            subject_claim: "sub".to_owned(),
            tenant_claim: None,
            tenant: None,
            logout_audience: Vec::new(),
        }
    }
}

/// How long an issuer's key set is believed.
#[derive(Clone, Copy, Debug)]
pub struct KeyCachePolicy {
    /// A fetched set is good for this long, 24 h at most. A removed key stops working within it.
    pub ttl: Duration,
    /// A token that no known key verifies makes the set be fetched again, at most once in this time
    /// (1 s to 1 h).
    pub cooldown: Duration,
    /// While the issuer cannot be reached, an expired set goes on working for this long, 24 h at most.
    pub stale: Duration,
}

impl Default for KeyCachePolicy {
    fn default() -> Self {
        Self { ttl: Duration::from_mins(10), cooldown: Duration::from_secs(30), stale: Duration::from_hours(1) }
    }
}

/// How long a verified token needs no second look.
#[derive(Clone, Copy, Debug)]
pub struct VerdictPolicy {
    /// A verdict is believed for this long, 60 s at most and never beyond the token's expiry. Zero verifies every request.
    pub lifetime: Duration,
    /// Most tokens remembered.
    pub capacity: u64,
}

impl Default for VerdictPolicy {
    fn default() -> Self {
        Self { lifetime: VERDICT_LIFETIME_MAX, capacity: 10_000 }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The issuer is not a text that can name a principal's issuer.
    #[error("issuer {issuer}: {cause}")]
    Issuer {
        /// Which.
        issuer: String,
        /// Why.
        cause: PrincipalError,
    },
    /// An issuer identifier is a URL with a host and without query or fragment (RFC 8414 section 2).
    #[error("issuer {0}: not an absolute http or https URL without user, query and fragment")]
    IssuerUrl(String),
    /// Keys must come over TLS, except on this machine.
    #[error("issuer {0}: {1} needs https, except on loopback")]
    Insecure(String, &'static str),
    /// The same issuer twice, or the embedded authorization server's own.
    #[error("issuer {0} is configured twice, or is the embedded authorization server itself")]
    DuplicateIssuer(String),
    /// A list that must not be empty is.
    #[error("issuer {0}: {1} is empty")]
    Empty(String, &'static str),
    /// A tenant without the claim to find it in.
    #[error("issuer {0}: tenant needs tenant_claim")]
    TenantWithoutClaim(String),
    /// The tenant cannot name one.
    #[error("issuer {issuer}: {cause}")]
    Tenant {
        /// Which issuer.
        issuer: String,
        /// Why.
        cause: PrincipalError,
    },
    /// The clock skew is too generous.
    #[error("the clock skew is more than {} seconds", SKEW_MAX.as_secs())]
    Skew,
    /// A time that must be positive is not, or a verdict lives too long.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
}

impl IdentityConfig {
    /// Checks everything that can be checked without the network.
    pub(crate) fn validate(&self, local: Option<&str>) -> Result<(), ConfigError> {
        if self.skew > SKEW_MAX {
            return Err(ConfigError::Skew);
        }
        if !KEYS_TTL.contains(&self.keys.ttl) {
            return Err(ConfigError::OutOfBounds("the lifetime of cached keys"));
        }
        if !KEYS_COOLDOWN.contains(&self.keys.cooldown) {
            return Err(ConfigError::OutOfBounds("the cooldown between two fetches of keys"));
        }
        if self.keys.stale > KEYS_STALE_MAX {
            return Err(ConfigError::OutOfBounds("the time that expired keys go on working"));
        }
        if self.verdicts.lifetime > VERDICT_LIFETIME_MAX {
            return Err(ConfigError::OutOfBounds("the lifetime of a verified token in the cache"));
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            issuer.validate()?;
            let before = self.issuers.iter().take(index).any(|other| other.issuer == issuer.issuer);
            if before || local == Some(issuer.issuer.as_str()) {
                return Err(ConfigError::DuplicateIssuer(issuer.issuer.clone()));
            }
        }
        Ok(())
    }
}

impl ExternalIssuer {
    fn validate(&self) -> Result<(), ConfigError> {
        let name = || self.issuer.clone();
        Issuer::new(self.issuer.as_str()).map_err(|cause| ConfigError::Issuer { issuer: name(), cause })?;
        let url = Url::parse(&self.issuer).map_err(|_| ConfigError::IssuerUrl(name()))?;
        let plain = url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain || !matches!(url.scheme(), "https" | "http") {
            return Err(ConfigError::IssuerUrl(name()));
        }
        match &self.jwks_uri {
            Some(uri) if !is_protected(uri) => return Err(ConfigError::Insecure(name(), "jwks_uri")),
            None if !is_protected(&url) => return Err(ConfigError::Insecure(name(), "discovery")),
            _ => {}
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::Empty(name(), "algorithms"));
        }
        if self.token_types.is_empty() {
            return Err(ConfigError::Empty(name(), "token_types"));
        }
        if self.subject_claim.is_empty() || self.tenant_claim.as_deref() == Some("") {
            return Err(ConfigError::Empty(name(), "a claim name"));
        }
        match (&self.tenant_claim, &self.tenant) {
            (None, Some(_)) => Err(ConfigError::TenantWithoutClaim(name())),
            (_, Some(tenant)) => {
                Tenant::new(tenant.as_str()).map(|_| ()).map_err(|cause| ConfigError::Tenant { issuer: name(), cause })
            }
            _ => Ok(()),
        }
    }
}

/// https, or http that does not leave this machine.
pub(crate) fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}
