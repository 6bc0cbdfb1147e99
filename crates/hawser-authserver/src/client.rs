//! Registered clients.

use std::time::Duration;

use hawser_owner::Timestamp;
use hawser_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::redirect_uri;
use crate::rows::{Loaded, Row};
use crate::secret::digest_text;
use crate::server::AuthServer;

/// Every client id starts so: never like a URL, never like a subject (OAuth 2.1 section 7.4).
pub(crate) const CLIENT_ID_PREFIX: &str = "client-";

/// How a client authenticates at the token endpoint (RFC 7591 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
    /// Where its users may be sent after they logged out.
    #[serde(default)]
    pub(crate) post_logout_redirect_uris: Vec<String>,
    pub(crate) auth_method: AuthMethod,
    /// Whether it left the method to the server: then its secret is good in the header and in the body.
    #[serde(default)]
    pub(crate) auth_method_unstated: bool,
    /// SHA-256 of the secret, for clients that have one.
    pub(crate) secret_digest: Option<String>,
    /// Whether `refresh_token` is among its grant types.
    pub(crate) refreshes: bool,
    /// Whether it ever got a token.
    pub(crate) used: bool,
    pub(crate) expires: Timestamp,
}

impl Row for Client {
    const FAMILY: &'static str = "as-client";
}

impl Client {
    /// The name for people; the client chose it.
    pub(crate) fn shown_name(&self) -> &str {
        self.name.as_deref().unwrap_or("An app without a name")
    }

    /// Whether the requested redirect URI is one of the registered ones.
    pub(crate) fn allows_redirect_to(&self, requested: &str) -> bool {
        self.redirect_uris.iter().any(|registered| redirect_uri::matches(registered, requested))
    }
}

impl AuthServer {
    /// The client, unless it is unknown or forgotten.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Loaded<Client>>, StoreError> {
        if !id.starts_with(CLIENT_ID_PREFIX) {
            return Ok(None);
        }
        let loaded = self.rows.get::<Client>(&digest_text(id.as_bytes())).await?;
        Ok(loaded.filter(|client| client.row.id == id && self.now() < client.row.expires))
    }

    /// Stores a new client.
    pub(crate) async fn add_client(&self, client: &Client) -> Result<(), StoreError> {
        let ttl = client.expires.since(self.now());
        self.rows.put(&digest_text(client.id.as_bytes()), client, Some(ttl)).await
    }

    /// A client that got a token lives on; written at most once a day.
    pub(crate) async fn prolong_client(&self, loaded: &Loaded<Client>) -> Result<(), StoreError> {
        let lifetime = self.config.registration.used_lifetime;
        let expires = self.now().plus(lifetime);
        if loaded.row.used && expires.since(loaded.row.expires) < Duration::from_hours(24) {
            return Ok(());
        }
        let prolonged = Client { used: true, expires, ..loaded.row.clone() };
        // Losing the race means that somebody else just did the same.
        self.rows.replace(&digest_text(loaded.row.id.as_bytes()), loaded, &prolonged, Some(lifetime)).await?;
        Ok(())
    }
}
