//! Audit events, under the target `hawser::audit`: who logged in, consented, got, replayed or lost a token. Names and
//! tokens never appear, only ids and keyed digests.

use hawser_owner::{Issuer, KeyRing, Principal, Subject};

use crate::client::Client;
use crate::grant::Grant;

/// Emits the server's audit events.
pub(crate) struct Audit<'a> {
    pub(crate) ring: &'a KeyRing,
    pub(crate) issuer: &'a str,
}

impl Audit<'_> {
    /// The subject as the gateway's own audit events name it.
    fn owner(&self, subject: &str) -> String {
        let principal = Issuer::new(self.issuer).and_then(|issuer| Ok((issuer, Subject::new(subject)?)));
        match principal {
            Ok((issuer, subject)) => self.ring.owner_digest(&Principal::user(issuer, None, subject)).1.to_string(),
            Err(_) => String::new(),
        }
    }

    pub(crate) fn login(&self, subject: &str, address: std::net::IpAddr) {
        tracing::info!(target: "hawser::audit", event = "login", owner = self.owner(subject), %address);
    }

    pub(crate) fn login_refused(reason: &'static str, address: std::net::IpAddr) {
        tracing::warn!(target: "hawser::audit", event = "login_refused", reason, %address);
    }

    pub(crate) fn logout(&self, subject: &str, grants: usize) {
        tracing::info!(target: "hawser::audit", event = "logout", owner = self.owner(subject), grants);
    }

    pub(crate) fn consent(&self, subject: &str, client: &str, approved: bool) {
        tracing::info!(target: "hawser::audit", event = "consent", owner = self.owner(subject), client, approved);
    }

    pub(crate) fn registered(client: &Client, address: std::net::IpAddr) {
        tracing::info!(target: "hawser::audit", event = "client_registered", client = client.id, method = ?client.auth_method, %address);
    }

    pub(crate) fn issued(&self, id: &str, grant: &Grant, generation: u64, how: &'static str) {
        tracing::info!(
            target: "hawser::audit", event = "token_issued", grant = id, generation, how,
            owner = self.owner(&grant.subject), client = grant.client,
        );
    }

    /// A replaced refresh token was answered with the head: honest most of the time, and worth counting.
    pub(crate) fn replayed(&self, id: &str, grant: &Grant, presented: u64, why: &'static str) {
        tracing::warn!(
            target: "hawser::audit", event = "refresh_replay", grant = id, presented, why,
            owner = self.owner(&grant.subject), client = grant.client,
        );
    }

    pub(crate) fn revoked(&self, id: &str, grant: &Grant, reason: &str) {
        tracing::warn!(
            target: "hawser::audit", event = "grant_revoked", grant = id, reason,
            owner = self.owner(&grant.subject), client = grant.client,
        );
    }

    pub(crate) fn token_revoked(id: &str, jti: &str, client: &str) {
        tracing::info!(target: "hawser::audit", event = "access_token_revoked", grant = id, jti, client);
    }
}
