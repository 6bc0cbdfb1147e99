//! Revocations, told by the authorization server to everybody who remembers something about a token.

use std::sync::Arc;

use hawser_gateway::Gateway;
use hawser_identity::Authenticator;
use hawser_store::{Journal, Told};
use serde::Deserialize;
use tracing::{error, warn};

/// A message on the journal of revocations.
#[derive(Debug, Deserialize)]
struct Revocation {
    grant: String,
    #[serde(default)]
    jti: Option<String>,
    /// Whether what was opened under the grant ends too.
    sessions: bool,
}

/// Follows the journal.
pub(super) struct Revocations {
    pub(super) journal: Journal,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) gateway: Gateway,
}

impl Revocations {
    /// Forgets verdicts and ends sessions as revocations arrive, until the store is gone.
    pub(super) async fn follow(self) {
        let mut follower = self.journal.follow().await;
        while let Some(told) = follower.next().await {
            match told {
                Told::Message(message) => self.take(&message),
                Told::Missed => self.missed(),
            }
        }
        error!("the journal of revocations is closed; revocations are no longer told");
    }

    fn missed(&self) {
        warn!("revocations may have been missed; everything is checked anew");
        self.authenticator.forget_all();
        self.gateway.revocations_missed();
    }

    fn take(&self, message: &[u8]) {
        let Ok(revocation) = serde_json::from_slice::<Revocation>(message) else {
            warn!("a revocation could not be read");
            return self.missed();
        };
        match &revocation.jti {
            Some(jti) => self.authenticator.forget_token(jti),
            None => self.authenticator.forget_grant(&revocation.grant),
        }
        let hit = hawser_gateway::Revocation { grant: &revocation.grant, token_id: revocation.jti.as_deref() };
        self.gateway.revoked(&hit, revocation.sessions);
    }
}
