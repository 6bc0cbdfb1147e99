//! The embedded authorization server, as the resource server sees it: a trait, so that no HTTP goes to ourselves and
//! neither crate knows the other.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

/// The embedded authorization server. Wired in by the binary.
#[async_trait]
pub trait LocalIssuer: Send + Sync {
    /// The issuer identifier, exactly as in the tokens it signs.
    fn issuer(&self) -> &str;

    /// The present key set (RFC 7517 section 5), rendered now.
    async fn jwks(&self) -> Result<Bytes, Unavailable>;

    /// Asks whether the grant behind a verified token stands, and tells that a token of this generation is in use (the
    /// first use of a generation proves that its refresh response arrived). Called once per token and cache lifetime.
    async fn token_accepted(&self, accepted: &AcceptedToken) -> Result<TokenStanding, Unavailable>;
}

/// The private claims of a verified token of the embedded authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedToken {
    /// The grant it was issued under (claim `grant`).
    pub grant: String,
    /// The generation of that grant it was issued in (claim `gen`).
    pub generation: u64,
    /// The token's own id (claim `jti`).
    pub jti: String,
}

/// What the authorization server knows of a token beyond its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStanding {
    /// Its grant stands.
    Active,
    /// It or its grant was revoked.
    Revoked,
}

/// The answer cannot be given now. Never a reason to refuse the credential as invalid.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the authorization server cannot answer now")]
pub struct Unavailable {
    /// When it is worth asking again.
    pub retry_after: Duration,
}
