//! The signing keys of the embedded authorization server while it runs: replaced when they are due, and forgotten by whoever
//! verifies with them when one is removed.

use std::sync::Arc;

use hawser_authserver::AuthServer;
use hawser_identity::Authenticator;

/// What follows the keys.
pub(super) struct SigningKeys {
    pub(super) server: Arc<AuthServer>,
    pub(super) authenticator: Arc<Authenticator>,
}

impl SigningKeys {
    /// Follows them until dropped.
    pub(super) async fn follow(self) {
        let mut removed = self.server.removed_signing_keys();
        let forget = async {
            while removed.changed().await.is_ok() {
                self.authenticator.forget_local_keys();
            }
        };
        tokio::join!(self.server.run(), forget);
    }
}
