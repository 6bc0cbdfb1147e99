//! The embedded authorization server as the resource server and the gateway see it. Only here do they meet.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_authserver::{AuthServer, GrantStanding};
use hawser_gateway::Grants;
use hawser_identity::{AcceptedToken, LocalIssuer, TokenStanding, Unavailable};
use hawser_store::StoreError;
use tracing::error;

const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The embedded authorization server.
pub(super) struct Embedded {
    server: Arc<AuthServer>,
    issuer: String,
}

impl Embedded {
    pub(super) const fn new(server: Arc<AuthServer>, issuer: String) -> Self {
        Self { server, issuer }
    }
}

#[async_trait]
impl LocalIssuer for Embedded {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    async fn jwks(&self) -> Result<Bytes, Unavailable> {
        Ok(self.server.jwks().await)
    }

    async fn token_accepted(&self, accepted: &AcceptedToken) -> Result<TokenStanding, Unavailable> {
        match self.server.token_accepted(&accepted.grant, accepted.generation, &accepted.jti).await {
            Ok(GrantStanding::Active) => Ok(TokenStanding::Active),
            Ok(GrantStanding::Revoked) => Ok(TokenStanding::Revoked),
            Err(failed) => {
                error!(error = %failed, "the standing of a token cannot be looked up");
                Err(Unavailable { retry_after: RETRY_AFTER })
            }
        }
    }
}

#[async_trait]
impl Grants for Embedded {
    async fn is_revoked(&self, grant: &str) -> Result<bool, StoreError> {
        self.server.is_revoked(grant).await
    }
}
