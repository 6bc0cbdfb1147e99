//! The proof of who sent a request. Everything behind authentication takes one, and only this crate makes it.

use std::sync::Arc;

use hawser_owner::{Principal, Timestamp};

use crate::challenge::AuthenticateError;
use crate::local::AcceptedToken;
use crate::scopes::Scopes;

static ANONYMOUS: Principal = Principal::anonymous();
static NO_SCOPES: Scopes = Scopes::none();

/// What a verified token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VerifiedToken {
    pub(crate) principal: Principal,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) scopes: Scopes,
    pub(crate) audiences: Vec<Box<str>>,
    pub(crate) expires: Timestamp,
    /// The private claims, if the embedded authorization server issued it.
    pub(crate) local: Option<AcceptedToken>,
    pub(crate) digest: [u8; 32],
}

/// A request whose sender is known. Cheap to clone; outlives the request where a stream does.
#[derive(Clone, Debug)]
pub struct Authenticated(Proof);

#[derive(Clone, Debug)]
enum Proof {
    Anonymous,
    Token(Arc<VerifiedToken>),
}

impl Authenticated {
    pub(crate) const fn anonymous() -> Self {
        Self(Proof::Anonymous)
    }

    pub(crate) const fn token(token: Arc<VerifiedToken>) -> Self {
        Self(Proof::Token(token))
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        self.verified().map_or(&ANONYMOUS, |token| &token.principal)
    }

    /// The client that acts, if the credential names it.
    pub fn client_id(&self) -> Option<&str> {
        self.verified()?.client_id.as_deref()
    }

    /// What the credential may do. None for anonymous requests.
    pub fn scopes(&self) -> &Scopes {
        self.verified().map_or(&NO_SCOPES, |token| &token.scopes)
    }

    /// When the credential expires: the end of streams opened with it.
    pub fn expires(&self) -> Option<Timestamp> {
        Some(self.verified()?.expires)
    }

    /// The grant behind the credential, if the embedded authorization server issued it.
    pub fn grant(&self) -> Option<&str> {
        Some(self.verified()?.local.as_ref()?.grant.as_str())
    }

    /// The token's own id (`jti`), if the embedded authorization server issued it.
    pub fn token_id(&self) -> Option<&str> {
        Some(self.verified()?.local.as_ref()?.jti.as_str())
    }

    /// SHA-256 of the token: a key for caches and revocation, never a credential.
    pub fn token_digest(&self) -> Option<[u8; 32]> {
        Some(self.verified()?.digest)
    }

    /// Demands scopes, all of those an operation needs at once (MCP, Authorization, Scope Challenge Handling). An anonymous
    /// request has none, so one that needs any is asked to authenticate.
    pub fn require_scopes(&self, required: &[String]) -> Result<(), AuthenticateError> {
        if required.iter().all(|scope| self.scopes().contains(scope)) {
            return Ok(());
        }
        match self.0 {
            Proof::Anonymous => Err(AuthenticateError::Missing),
            Proof::Token(_) => Err(AuthenticateError::InsufficientScope { required: required.to_vec() }),
        }
    }

    fn verified(&self) -> Option<&VerifiedToken> {
        match &self.0 {
            Proof::Anonymous => None,
            Proof::Token(token) => Some(token),
        }
    }
}
