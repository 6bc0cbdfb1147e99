//! A headless OAuth client: from the 401 of an MCP server to tokens, without a browser and without a listener.
//!
//! It follows the MCP authorization chapter as a strict client would (RFC 9728, 8414, 7591, 7636, 8707, 9207) and stops
//! with a clear error where a server leaves it, instead of working around it: the examination reports what it met.

mod challenge;
mod cookies;
mod form;
mod jwt;
mod login;
mod metadata;
mod token;

use http::StatusCode;
use url::Url;

pub use challenge::{Challenge, challenges};
pub use jwt::{Claims, peek};
pub use login::Login;
pub use metadata::{AuthorizationServer, ProtectedResource};
pub use token::{Client, Tokens};

use crate::secret::Secret;
use crate::wire::{Answer, WireError};

/// Why no token could be had. Says which step and what was expected; never a secret.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The request itself failed.
    #[error("{step}: {source}")]
    Wire {
        /// The step of the flow.
        step: &'static str,
        /// What failed.
        source: WireError,
    },
    /// The server answered something a conformant client must not accept.
    #[error("{step}: {problem}")]
    Refused {
        /// The step of the flow.
        step: &'static str,
        /// What was wrong, with the specification's name for it.
        problem: String,
    },
}

impl OAuthError {
    fn wire(step: &'static str) -> impl FnOnce(WireError) -> Self {
        move |source| Self::Wire { step, source }
    }

    fn refused(step: &'static str, problem: impl Into<String>) -> Self {
        Self::Refused { step, problem: problem.into() }
    }

    /// An unexpected status, with the OAuth error code if the body has one (codes are public, descriptions may not be).
    fn status(step: &'static str, answer: &Answer) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            error: String,
        }
        let code = serde_json::from_slice::<Body>(&answer.body).map(|body| short(&body.error)).unwrap_or_default();
        let code = if code.is_empty() { code } else { format!(" ({code})") };
        Self::refused(step, format!("the server answered {}{code}", answer.status.as_u16()))
    }

    fn expect(step: &'static str, answer: &Answer, wanted: &[StatusCode]) -> Result<(), Self> {
        if wanted.contains(&answer.status) { Ok(()) } else { Err(Self::status(step, answer)) }
    }
}

/// At most this much of foreign text goes into a message.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// What discovery found: enough to register, log in and refresh.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// RFC 8707 `resource`.
    pub resource: String,
    /// Scopes to ask for, by the challenge or the metadata.
    pub scope: Option<String>,
    /// The authorization server.
    pub server: AuthorizationServer,
}

/// A grant that can be refreshed: the client, where it came from, and the present tokens.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What discovery found.
    pub discovered: Discovered,
    /// The registered client.
    pub client: Client,
    /// The present tokens.
    pub tokens: Tokens,
}

/// Where the authorization response is sent. Nobody listens there: the redirect is read, never followed.
fn redirect_uri() -> Result<Url, OAuthError> {
    Url::parse("http://127.0.0.1:41717/callback")
        .map_err(|error| OAuthError::refused("redirect URI", error.to_string()))
}

/// Random text of 256 bits, base64url.
fn random_text() -> Result<Secret, OAuthError> {
    use base64::Engine as _;
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| OAuthError::refused("randomness", "the system gave none"))?;
    Ok(Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
}
