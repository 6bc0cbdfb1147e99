//! The server as a whole: what it is made of, how it opens, and the questions the resource server asks it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use hawser_owner::{Clock, Entropy, EntropyError, KeyRing, Timestamp};
use hawser_store::{Journal, Store, StoreError};
use thiserror::Error;
use tokio::sync::watch;
use url::Url;

use crate::audit::Audit;
use crate::config::{AuthServerConfig, ConfigError};
use crate::grant::GrantStanding;
use crate::keys::{SigningKeyInfo, SigningKeys, SigningKeysError};
use crate::password::Passwords;
use crate::registration::RegistrationLimiter;
use crate::rows::Rows;
use crate::throttle::Throttle;
use crate::{authorize, consent, cors, login, logout, metadata, registration, revocation, token};

/// Largest body of any request.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// Longest wait for it.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The embedded authorization server.
pub struct AuthServer {
    pub(crate) config: AuthServerConfig,
    pub(crate) issuer_url: Url,
    pub(crate) rows: Rows,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) keys: SigningKeys,
    pub(crate) passwords: Passwords,
    pub(crate) limiter: RegistrationLimiter,
    /// Failed client authentications, per client and address.
    pub(crate) client_failures: Throttle,
    clock: Clock,
}

/// Why the server cannot open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The stored signing keys cannot be used with this key ring.
    #[error("the authorization server's signing keys cannot be used: {0}")]
    SigningKeys(String),
}

impl From<SigningKeysError> for OpenError {
    fn from(error: SigningKeysError) -> Self {
        match error {
            SigningKeysError::Store(error) => Self::Store(error),
            SigningKeysError::Entropy(error) => Self::Entropy(error),
            other => Self::SigningKeys(other.to_string()),
        }
    }
}

impl AuthServer {
    /// The name of the journal of revocations.
    const REVOCATIONS: &'static str = "authserver.revocations";

    /// Checks the configuration, and reads or makes the signing keys.
    pub async fn open(
        config: AuthServerConfig,
        store: Arc<dyn Store>,
        ring: Arc<KeyRing>,
        clock: Clock,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, OpenError> {
        config.validate()?;
        let issuer_url = config.issuer_url()?;
        let rows = Rows::new(store);
        let keys =
            SigningKeys::open(&config, rows.clone(), Arc::clone(&ring), Arc::clone(&entropy), Arc::clone(&clock))
                .await?;
        let passwords = Passwords::new(&config.login);
        let limiter = RegistrationLimiter::new(
            NonZeroU32::new(config.registration.per_address).unwrap_or(NonZeroU32::MIN),
            NonZeroU32::new(config.registration.global).unwrap_or(NonZeroU32::MIN),
        );
        let client_failures = Throttle::new(20, Duration::from_mins(1));
        Ok(Arc::new(Self { config, issuer_url, rows, ring, entropy, keys, passwords, limiter, client_failures, clock }))
    }

    /// All endpoints. Where the issuer has a path they are served under it, and without it for proxies that strip it.
    pub fn router(self: &Arc<Self>) -> Router {
        let path = self.issuer_path();
        let mut router = Router::new()
            .merge(endpoints(""))
            .route("/.well-known/oauth-authorization-server", cors::open(get(metadata::oauth)))
            .route("/.well-known/openid-configuration", cors::open(get(metadata::openid)));
        if !path.is_empty() {
            // RFC 8414 section 3.1 inserts the well-known part before the path; OpenID Connect Discovery appends it.
            router = router
                .merge(endpoints(path))
                .route(&format!("/.well-known/oauth-authorization-server{path}"), cors::open(get(metadata::oauth)))
                .route(&format!("/.well-known/openid-configuration{path}"), cors::open(get(metadata::openid)))
                .route(&format!("{path}/.well-known/openid-configuration"), cors::open(get(metadata::openid)));
        }
        router.with_state(Arc::clone(self))
    }

    /// The public JWK set as JSON, with what other nodes did to it a moment ago.
    pub async fn jwks(&self) -> Bytes {
        self.keys.jwks().await
    }

    /// Replaces signing keys as they become due, and learns what other nodes did to them. Runs until dropped.
    pub async fn run(&self) {
        self.keys.follow().await;
    }

    /// The signing keys and their states.
    pub fn signing_keys(&self) -> Vec<SigningKeyInfo> {
        self.keys.list()
    }

    /// Publishes the next signing key now; it signs when it has been published for long enough. Nothing changes if the next
    /// one is published already.
    pub async fn rotate_signing_key(&self) -> Result<(), SigningKeysError> {
        self.keys.rotate().await
    }

    /// Removes a signing key at once, on every node: what it signed is refused from now on. Another one signs in its place.
    pub async fn remove_signing_key(&self, kid: &str) -> Result<(), SigningKeysError> {
        self.keys.remove(kid).await
    }

    /// Changes whenever a signing key was removed before its time, by whatever node: whoever remembers what it signed has to
    /// forget it then.
    pub fn removed_signing_keys(&self) -> watch::Receiver<u64> {
        self.keys.removals()
    }

    /// Called once per newly seen access token with its claims `grant`, `gen` and `jti`: remembers that the generation is in
    /// use and tells whether the token stands. Its signature, audience and times are the caller's to check.
    pub async fn token_accepted(&self, grant: &str, generation: u64, jti: &str) -> Result<GrantStanding, StoreError> {
        self.accept(grant, generation, jti).await
    }

    /// Whether a grant still stands.
    pub async fn grant_standing(&self, grant: &str) -> Result<GrantStanding, StoreError> {
        self.standing(grant).await
    }

    /// Whether a grant was revoked, or its user removed. A grant that merely ran out of time was not: what was opened under it
    /// goes on under a new one of the same user.
    pub async fn is_revoked(&self, grant: &str) -> Result<bool, StoreError> {
        self.revoked(grant).await
    }

    /// Ends a grant, with all that was opened under it. No error if there is none.
    pub async fn revoke_grant(&self, grant: &str, reason: &str) -> Result<(), StoreError> {
        self.revoke(grant, reason).await
    }

    /// The journal on which every revocation is announced as JSON: `{"grant","reason","sessions":true}` for a grant with all
    /// that was opened under it, `{"grant","jti","reason","sessions":false}` for one access token alone.
    pub fn revocations(&self) -> Journal {
        self.rows.journal(Self::REVOCATIONS)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn audit(&self) -> Audit<'_> {
        Audit { ring: &self.ring, issuer: &self.config.issuer }
    }

    /// An endpoint's URL, always from the configured issuer and never from the request (RFC 8414 section 3.3).
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.issuer)
    }

    fn issuer_path(&self) -> &str {
        self.issuer_url.path().trim_end_matches('/')
    }
}

impl std::fmt::Debug for AuthServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthServer")
            .field("issuer", &self.config.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn endpoints(base: &str) -> Router<Arc<AuthServer>> {
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/oauth/jwks"), cors::open(get(metadata::jwks)))
        .route(&at("/oauth/register"), cors::open(post(registration::register).fallback(token::post_only)))
        .route(&at("/oauth/token"), cors::open(post(token::token).fallback(token::post_only)))
        .route(&at("/oauth/revoke"), cors::open(post(revocation::revoke).fallback(token::post_only)))
        .route(&at("/oauth/authorize"), get(authorize::by_query).post(authorize::by_form))
        .route(&at("/oauth/login"), post(login::submit))
        .route(&at("/oauth/consent"), get(consent::show).post(consent::decide))
        .route(&at("/oauth/logout"), get(logout::by_query).post(logout::by_form))
}
