//! Revocations, told by the authorization server to everybody who remembers something about a token.

use std::sync::Arc;

use hawser_gateway::Gateway;
use hawser_identity::Authenticator;
use hawser_store::{Delivery, Subscription};
use serde::Deserialize;
use tracing::{error, warn};

/// A message on the channel of revocations.
#[derive(Debug, Deserialize)]
struct Revocation {
    grant: String,
    #[serde(default)]
    jti: Option<String>,
    /// Whether what was opened under the grant ends too.
    sessions: bool,
}

/// Follows the channel.
pub(super) struct Revocations {
    pub(super) channel: Subscription,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) gateway: Gateway,
}

impl Revocations {
    /// Forgets verdicts and ends sessions as revocations arrive, until the store is gone.
    pub(super) async fn follow(mut self) {
        loop {
            match self.channel.next().await {
                Some(Delivery::Message(message)) => self.take(&message).await,
                Some(Delivery::Missed) => {
                    warn!("revocations may have been missed; everything is checked anew");
                    self.authenticator.forget_all();
                    self.gateway.recheck_grants().await;
                }
                None => {
                    error!("the channel of revocations is closed; revocations are no longer told");
                    return;
                }
            }
        }
    }

    async fn take(&self, message: &[u8]) {
        let Ok(revocation) = serde_json::from_slice::<Revocation>(message) else {
            warn!("a revocation could not be read");
            return;
        };
        match &revocation.jti {
            Some(jti) => self.authenticator.forget_token(jti),
            None => self.authenticator.forget_grant(&revocation.grant),
        }
        let hit = hawser_gateway::Revocation { grant: &revocation.grant, token_id: revocation.jti.as_deref() };
        self.gateway.revoked(&hit, revocation.sessions).await;
    }
}
