//! Consent that was given before.
//!
//! It is found only by everything that it was given for: user, client, its whole set of redirect URIs, scopes and
//! resource. Whatever changes, the question is asked again. Clients that anything on the user's computer could pose as
//! (loopback and private-scheme redirects) are asked for every time (RFC 8252 section 8.6).

use hawser_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::authorize_request::AuthorizationRequest;
use crate::client::Client;
use crate::redirect_uri::{self, RedirectKind};
use crate::rows::Row;
use crate::secret::digest_of_parts;
use crate::server::AuthServer;

#[derive(Serialize, Deserialize)]
struct Consent {
    given: hawser_owner::Timestamp,
}

impl Row for Consent {
    const FAMILY: &'static str = "as-consent";
}

impl AuthServer {
    /// Whether the user need not be asked.
    pub(crate) async fn consent_is_remembered(
        &self,
        subject: &str,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Result<bool, StoreError> {
        if redirect_uri::kind(&request.redirect_uri) != RedirectKind::Https {
            return Ok(false);
        }
        let consent = self.rows.get::<Consent>(&row_id(subject, client, request)).await?;
        Ok(consent.is_some_and(|consent| self.now() < consent.row.given.plus(self.config.consent_lifetime)))
    }

    pub(crate) async fn remember_consent(
        &self,
        subject: &str,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Result<(), StoreError> {
        let lifetime = self.config.consent_lifetime;
        if redirect_uri::kind(&request.redirect_uri) != RedirectKind::Https || lifetime.is_zero() {
            return Ok(());
        }
        self.rows.put(&row_id(subject, client, request), &Consent { given: self.now() }, Some(lifetime)).await
    }
}

fn row_id(subject: &str, client: &Client, request: &AuthorizationRequest) -> String {
    let mut redirect_uris: Vec<&str> = client.redirect_uris.iter().map(String::as_str).collect();
    redirect_uris.sort_unstable();
    let mut scopes: Vec<&str> = request.scope.iter().map(String::as_str).collect();
    scopes.sort_unstable();
    let redirect_uris = digest_of_parts(redirect_uris);
    let scopes = digest_of_parts(scopes);
    digest_of_parts([subject, &client.id, &redirect_uris, &scopes, &request.resource])
}
