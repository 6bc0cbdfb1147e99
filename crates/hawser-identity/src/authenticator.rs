//! From header fields to a proof of who sent them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hawser_owner::{Clock, Issuer, Timestamp};
use http::HeaderMap;
use tracing::{debug, warn};
use url::Url;

use crate::authenticated::{Authenticated, VerifiedToken};
use crate::challenge::AuthenticateError;
use crate::claims::{IssuerRules, issuer_of};
use crate::config::{ConfigError, ExternalIssuer, IdentityConfig, KeyCachePolicy};
use crate::credential;
use crate::fetch::Fetch;
use crate::issuer_keys::IssuerKeys;
use crate::key_set::SignatureCheck;
use crate::key_source::KeySource;
use crate::local::{LocalIssuer, TokenStanding};
use crate::members::Members;
use crate::metadata;
use crate::reason::InvalidReason;
use crate::resource::Resource;
use crate::token::UnverifiedToken;
use crate::verdicts::{Named, Verdicts, token_digest};

/// Keys of the embedded authorization server are a function call away, so they are looked at more often.
const LOCAL_TTL_MAX: Duration = Duration::from_mins(1);
const LOCAL_COOLDOWN_MAX: Duration = Duration::from_secs(1);
/// Shortest pause between two hints about one issuer.
const HINT_PAUSE: Duration = Duration::from_mins(1);

/// Authenticates requests. One per process, shared.
pub struct Authenticator {
    pub(crate) trusted: HashMap<String, TrustedIssuer>,
    /// The issuers' identifiers as clients are told them, the embedded one first.
    authorization_servers: Vec<String>,
    local: Option<Arc<dyn LocalIssuer>>,
    verdicts: Verdicts,
    pub(crate) skew: Duration,
    pub(crate) clock: Clock,
}

pub(crate) struct TrustedIssuer {
    pub(crate) rules: IssuerRules,
    keys: IssuerKeys,
    /// When the next hint may be logged, in seconds: whoever has a token must not be able to flood the log.
    next_hint: AtomicU64,
}

impl Authenticator {
    /// Checks the configuration. Nothing is fetched before the first token of an issuer arrives.
    #[expect(clippy::needless_pass_by_value, reason = "the authenticator shares the fetcher with its issuers for good")]
    pub fn new(
        config: IdentityConfig,
        local: Option<Arc<dyn LocalIssuer>>,
        clock: Clock,
        fetcher: Arc<dyn Fetch>,
    ) -> Result<Self, ConfigError> {
        config.validate(local.as_ref().map(|local| local.issuer()))?;
        let mut trusted = HashMap::new();
        let mut authorization_servers = Vec::new();
        if let Some(local) = &local {
            let name = local.issuer().to_owned();
            trusted.insert(name.clone(), TrustedIssuer::local(Arc::clone(local), config.keys, Arc::clone(&clock))?);
            authorization_servers.push(name);
        }
        for external in config.issuers {
            let name = external.issuer.clone();
            let issuer = TrustedIssuer::external(external, config.keys, Arc::clone(&clock), Arc::clone(&fetcher))?;
            trusted.insert(name.clone(), issuer);
            authorization_servers.push(name);
        }
        let verdicts = Verdicts::new(config.verdicts);
        Ok(Self { trusted, authorization_servers, local, verdicts, skew: config.skew, clock })
    }

    /// Who sent a request to this resource? Only the `Authorization` field is looked at: tokens in the query, in a body or
    /// in a cookie are none (RFC 6750 sections 2.2 and 2.3 are not offered).
    pub async fn authenticate(
        &self,
        resource: &Resource,
        headers: &HeaderMap,
    ) -> Result<Authenticated, AuthenticateError> {
        let Some(token) = credential::bearer(headers)? else {
            return if resource.anonymous { Ok(Authenticated::anonymous()) } else { Err(AuthenticateError::Missing) };
        };
        let digest = token_digest(token);
        let verified = match self.verdicts.find(&digest, (self.clock)()) {
            Some(verified) => verified,
            None => self.verify(token, digest, resource).await?,
        };
        // Not part of the verdict: the same token may be presented at several resources.
        if !verified.is_for(&resource.identifier) {
            return Err(InvalidReason::Audience.into());
        }
        Ok(Authenticated::token(verified))
    }

    /// Forgets every verified token of a grant of the embedded authorization server, at once. Call it after the
    /// revocation is recorded: what is verified from then on asks for the grant's standing.
    pub fn forget_grant(&self, grant: &str) {
        self.verdicts.forget(Named::Grant(grant));
    }

    /// Forgets the verified token of the embedded authorization server with this id, at once. Call it after the
    /// revocation is recorded.
    pub fn forget_token(&self, jti: &str) {
        self.verdicts.forget(Named::Token(jti));
    }

    /// Forgets every verified token of the embedded authorization server, at once: for when revocations were missed and nobody
    /// knows whose.
    pub fn forget_all(&self) {
        self.verdicts.forget_all();
    }

    /// Forgets the keys of the embedded authorization server and every verified token of it, at once: for when a key was
    /// removed. Call it when the key is not in its set any more.
    pub fn forget_local_keys(&self) {
        if let Some(trusted) = self.local.as_ref().and_then(|local| self.trusted.get(local.issuer())) {
            trusted.keys.forget();
        }
        self.verdicts.forget_all();
    }

    /// The protected resource metadata (RFC 9728 section 2), to be served as JSON at [`Resource::metadata_path`].
    pub fn protected_resource_metadata(&self, resource: &Resource) -> Bytes {
        metadata::render(resource, &self.authorization_servers)
    }

    async fn verify(
        &self,
        text: &str,
        digest: [u8; 32],
        resource: &Resource,
    ) -> Result<Arc<VerifiedToken>, AuthenticateError> {
        let token = UnverifiedToken::parse(text)?;
        let claims = Members::parse(&token.payload).map_err(InvalidReason::from)?;
        // Only a name to look keys up by, until the signature is verified.
        let issuer = self.trusted.get(&issuer_of(&claims)?).ok_or(InvalidReason::UnknownIssuer)?;
        if !issuer.rules.algorithms.contains(&token.header.algorithm) {
            return Err(InvalidReason::Algorithm.into());
        }
        // Before keys are looked at: a verdict under keys that are forgotten meanwhile must not be kept.
        let epoch = self.verdicts.epoch();
        let good_until = issuer.check_signature(&token, (self.clock)()).await?;
        // Read anew: fetching keys takes its time.
        let now = (self.clock)();
        let verified = issuer.accept(&token, &claims, digest, resource, now, self.skew)?;
        let marks = match (&verified.local, &self.local) {
            (Some(accepted), Some(local)) => {
                let marks = self.verdicts.mark(epoch, &accepted.grant, &accepted.jti);
                if local.token_accepted(accepted).await? == TokenStanding::Revoked {
                    return Err(InvalidReason::Revoked.into());
                }
                Some(marks)
            }
            _ => None,
        };
        let verified = Arc::new(verified);
        self.verdicts.keep(&verified, marks, good_until, now);
        Ok(verified)
    }
}

impl TrustedIssuer {
    fn local(local: Arc<dyn LocalIssuer>, keys: KeyCachePolicy, clock: Clock) -> Result<Self, ConfigError> {
        let name = local.issuer().to_owned();
        let policy = KeyCachePolicy {
            ttl: keys.ttl.min(LOCAL_TTL_MAX),
            cooldown: keys.cooldown.min(LOCAL_COOLDOWN_MAX),
            stale: keys.stale,
        };
        let rules = IssuerRules::local(issuer_name(&name)?);
        Ok(Self::new(rules, IssuerKeys::new(name, KeySource::Local(local), policy, clock)))
    }

    fn external(
        config: ExternalIssuer,
        policy: KeyCachePolicy,
        clock: Clock,
        fetcher: Arc<dyn Fetch>,
    ) -> Result<Self, ConfigError> {
        let name = config.issuer.clone();
        let source = if let Some(jwks_uri) = config.jwks_uri.clone() {
            KeySource::Configured { fetcher, jwks_uri }
        } else {
            let url = Url::parse(&name).map_err(|_| ConfigError::IssuerUrl(name.clone()))?;
            KeySource::discovered(fetcher, name.clone(), url)
        };
        let rules = IssuerRules::external(issuer_name(&name)?, config);
        Ok(Self::new(rules, IssuerKeys::new(name, source, policy, clock)))
    }

    const fn new(rules: IssuerRules, keys: IssuerKeys) -> Self {
        Self { rules, keys, next_hint: AtomicU64::new(0) }
    }

    /// Verifies the signature, if need be with keys fetched anew, and says for how long these keys are good.
    pub(crate) async fn check_signature(
        &self,
        token: &UnverifiedToken<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, AuthenticateError> {
        let mut held = self.keys.current().await?;
        let mut check = held.keys().verify(token);
        if check != SignatureCheck::Verified
            && let Some(newer) = self.keys.newer_than(&held).await
        {
            held = newer;
            check = held.keys().verify(token);
        }
        match check {
            SignatureCheck::Verified => Ok(held.good_until),
            SignatureCheck::Mismatch => Err(self.refuse(InvalidReason::Signature, now)),
            // A key that is not known while its issuer cannot be asked may be a new one.
            SignatureCheck::NoKey if self.keys.is_failing() => {
                Err(AuthenticateError::Unavailable { retry_after: self.keys.retry() })
            }
            SignatureCheck::NoKey => Err(self.refuse(InvalidReason::UnknownKey, now)),
        }
    }

    /// Everything that is decided by the token alone, once its signature is known to hold.
    fn accept(
        &self,
        token: &UnverifiedToken<'_>,
        claims: &Members<'_>,
        digest: [u8; 32],
        resource: &Resource,
        now: Timestamp,
        skew: Duration,
    ) -> Result<VerifiedToken, AuthenticateError> {
        if !token.header.has_type(&self.rules.token_types) {
            return Err(self.refuse(InvalidReason::TokenType, now));
        }
        let verified = self.rules.judge(claims, digest, now, skew).map_err(|reason| self.refuse(reason, now))?;
        if !verified.is_for(&resource.identifier) {
            return Err(self.refuse(InvalidReason::Audience, now));
        }
        Ok(verified)
    }

    /// Tells the administrator what a trusted issuer does wrong, now and then. The token itself is never logged.
    fn refuse(&self, reason: InvalidReason, now: Timestamp) -> AuthenticateError {
        let issuer = self.rules.issuer.as_str();
        if let Some(hint) = reason.hint().filter(|_| self.may_hint(now)) {
            warn!(issuer, %reason, hint, "refused a token of a trusted issuer");
        } else {
            debug!(issuer, %reason, "refused a token");
        }
        reason.into()
    }

    fn may_hint(&self, now: Timestamp) -> bool {
        let next = now.plus(HINT_PAUSE).seconds();
        self.next_hint
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| (now.seconds() >= due).then_some(next))
            .is_ok()
    }
}

fn issuer_name(name: &str) -> Result<Issuer, ConfigError> {
    Issuer::new(name).map_err(|cause| ConfigError::Issuer { issuer: name.to_owned(), cause })
}
