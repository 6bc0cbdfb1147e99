//! Client authentication at the token and revocation endpoints (OAuth 2.1 section 2.4).

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

use crate::client::{AuthMethod, Client};
use crate::form::{self, Parameters};
use crate::rows::Loaded;
use crate::secret::{digest_text, same};
use crate::server::AuthServer;
use crate::token_error::TokenError;

/// What a request presents to say which client it is from.
#[derive(PartialEq, Eq)]
pub(crate) struct Presented {
    client_id: String,
    secret: Option<String>,
    method: AuthMethod,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Reads the client's credentials; more than one way at once is refused (RFC 6749 section 2.3).
pub(crate) fn presented(headers: &HeaderMap, form: &Parameters) -> Result<Presented, TokenError> {
    let in_body = form.one("client_id")?;
    let secret_in_body = form.one("client_secret")?;
    let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
    let first = authorization.next();
    if authorization.next().is_some() {
        return Err(TokenError::InvalidRequest("more than one Authorization header"));
    }
    let Some(value) = first else {
        let client_id = in_body.ok_or(TokenError::InvalidClient)?.to_owned();
        let secret = secret_in_body.map(str::to_owned);
        let method = if secret.is_some() { AuthMethod::ClientSecretPost } else { AuthMethod::None };
        return Ok(Presented { client_id, secret, method });
    };
    if form.has("client_secret") {
        return Err(TokenError::InvalidRequest("more than one way of client authentication"));
    }
    let (client_id, secret) = basic(value.as_bytes()).ok_or(TokenError::InvalidClient)?;
    if in_body.is_some_and(|id| id != client_id) {
        return Err(TokenError::InvalidRequest("two different client ids"));
    }
    Ok(Presented { client_id, secret: Some(secret), method: AuthMethod::ClientSecretBasic })
}

/// RFC 7617, with id and secret form-encoded inside (RFC 6749 section 2.3.1).
fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, credentials) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim_matches(' ')).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (id, secret) = decoded.split_at_checked(colon)?;
    Some((form::decode(id).ok()?, form::decode(secret.get(1..)?).ok()?))
}

impl AuthServer {
    /// The client that the request is from, in the way that it registered to authenticate. Failures are slowed down; the
    /// right credentials never are, or anyone who shares an address with a client and knows its id could lock it out.
    pub(crate) async fn authenticate_client(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
        address: IpAddr,
    ) -> Result<Loaded<Client>, TokenError> {
        let presented = presented(headers, form)?;
        let client = self.client(&presented.client_id).await?;
        if let Some(client) = client.filter(|loaded| proves(&loaded.row, &presented)) {
            return Ok(client);
        }
        // The id may be any text; its digest keeps what is remembered small.
        let key = format!("{}/{address}", digest_text(presented.client_id.as_bytes()));
        if self.client_failures.is_blocked(&key, self.now()) {
            return Err(TokenError::TooMany);
        }
        self.client_failures.failed(&key, self.now());
        Err(TokenError::InvalidClient)
    }
}

fn proves(client: &Client, presented: &Presented) -> bool {
    // Clients that did not choose between header and body send the secret in either; the secret is the same. Without a
    // secret there is nothing to choose.
    let either = client.auth_method_unstated && presented.method != AuthMethod::None;
    if client.auth_method != presented.method && !either {
        return false;
    }
    match (&client.secret_digest, &presented.secret) {
        (None, None) => true,
        (Some(digest), Some(secret)) => same(digest, &digest_text(secret.as_bytes())),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with_basic(credentials: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("bAsIc {}", STANDARD.encode(credentials));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        headers
    }

    #[test]
    fn tk4_basic_credentials_are_form_decoded() {
        let presented = presented(&with_basic("client%2Da:s%3Ae+t%2B"), &Parameters::default()).unwrap();
        assert_eq!(presented.client_id, "client-a");
        assert_eq!(presented.secret.as_deref(), Some("s:e t+"));
    }

    #[test]
    fn tk4_two_methods_at_once_are_refused() {
        let form = Parameters::parse(b"client_id=a&client_secret=b").unwrap();
        assert!(matches!(presented(&with_basic("a:b"), &form), Err(TokenError::InvalidRequest(_))));
        let form = Parameters::parse(b"client_id=other").unwrap();
        assert!(matches!(presented(&with_basic("a:b"), &form), Err(TokenError::InvalidRequest(_))));
        let mut headers = with_basic("a:b");
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(matches!(presented(&headers, &Parameters::default()), Err(TokenError::InvalidRequest(_))));
    }

    #[test]
    fn tk5_no_client_at_all_is_an_invalid_client() {
        assert!(matches!(presented(&HeaderMap::new(), &Parameters::default()), Err(TokenError::InvalidClient)));
    }
}
