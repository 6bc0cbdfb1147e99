//! Dynamic client registration (RFC 7591).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::limit_key;
use crate::audit::Audit;
use crate::client::{AuthMethod, CLIENT_ID_PREFIX, Client};
use crate::redirect_uri::{self, RedirectKind, RedirectUriError};
use crate::scope;
use crate::secret::{digest_text, random_text};
use crate::server::AuthServer;
use crate::token::{UNREADABLE_BODY, read_body};
use crate::token_error::{TokenError, json_response};

const REDIRECT_URIS_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 100;
const HOUR: Duration = Duration::from_hours(1);
/// Addresses remembered before those at rest are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// How many registrations may come, from one address and from all.
pub(crate) struct RegistrationLimiter {
    per_address: DefaultKeyedRateLimiter<IpAddr>,
    global: DefaultDirectRateLimiter,
}

impl RegistrationLimiter {
    pub(crate) fn new(per_address: NonZeroU32, global: NonZeroU32) -> Self {
        let quota = |burst: NonZeroU32| {
            Quota::with_period(HOUR / burst.get()).map_or(Quota::per_hour(burst), |quota| quota.allow_burst(burst))
        };
        Self { per_address: RateLimiter::keyed(quota(per_address)), global: RateLimiter::direct(quota(global)) }
    }

    fn allows(&self, address: IpAddr) -> bool {
        if self.per_address.len() > ADDRESSES_MAX {
            self.per_address.retain_recent();
        }
        // The address first: who is over its own limit uses up nothing of what is everybody's.
        self.per_address.check_key(&address).is_ok() && self.global.check().is_ok()
    }
}

/// What a client says about itself. Members that are not known are ignored (RFC 7591 section 2).
#[derive(Debug, Deserialize)]
struct Metadata {
    redirect_uris: Option<Vec<String>>,
    post_logout_redirect_uris: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    application_type: Option<String>,
    client_name: Option<String>,
    jwks: Option<Value>,
}

/// What is made of it.
#[derive(Debug, PartialEq, Eq)]
struct Effective {
    redirect_uris: Vec<String>,
    post_logout_redirect_uris: Vec<String>,
    auth_method: AuthMethod,
    auth_method_unstated: bool,
    refreshes: bool,
    application_type: &'static str,
    name: Option<String>,
}

pub(crate) async fn register(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    match server.answer_registration(request).await {
        Ok(body) => json_response(StatusCode::CREATED, &body),
        Err(error) => error.into_response(),
    }
}

impl AuthServer {
    async fn answer_registration(&self, request: Request) -> Result<Value, TokenError> {
        if !self.config.registration.enabled {
            return Err(TokenError::InvalidClientMetadata("dynamic client registration is off"));
        }
        let address = limit_key(request.extensions());
        if !self.limiter.allows(address) {
            return Err(TokenError::TooMany);
        }
        let body = read_body(request).await.ok_or(TokenError::InvalidClientMetadata(UNREADABLE_BODY))?;
        let metadata: Metadata = serde_json::from_slice(&body).map_err(|_| {
            TokenError::InvalidClientMetadata("the body is not a JSON object with members of the right types")
        })?;
        let effective = effective(metadata, &self.config.registration.private_schemes)?;
        self.refuse_too_many_unused().await?;
        let (client, secret) = self.new_client(&effective)?;
        self.add_client(&client).await?;
        Audit::registered(&client, address);
        Ok(self.registration_response(&client, &effective, secret.as_deref()))
    }

    /// Registrations per lifetime of an unused client, counted over all nodes: so many can be stored at most, twice as many
    /// across the border of two windows.
    async fn refuse_too_many_unused(&self) -> Result<(), TokenError> {
        let limits = &self.config.registration;
        let window = self.now().seconds() / limits.unused_lifetime.as_secs().max(1);
        let count = self.rows.count("as-registrations", window, limits.unused_lifetime * 2).await?;
        if count > u64::from(limits.unused_max) {
            return Err(TokenError::TooMany);
        }
        Ok(())
    }

    fn new_client(&self, effective: &Effective) -> Result<(Client, Option<String>), TokenError> {
        let secret = match effective.auth_method {
            AuthMethod::None => None,
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => Some(random_text::<32>(&*self.entropy)?),
        };
        let client = Client {
            id: format!("{CLIENT_ID_PREFIX}{}", random_text::<16>(&*self.entropy)?),
            name: effective.name.clone(),
            redirect_uris: effective.redirect_uris.clone(),
            post_logout_redirect_uris: effective.post_logout_redirect_uris.clone(),
            auth_method: effective.auth_method,
            auth_method_unstated: effective.auth_method_unstated,
            secret_digest: secret.as_deref().map(|secret| digest_text(secret.as_bytes())),
            refreshes: effective.refreshes,
            used: false,
            expires: self.now().plus(self.config.registration.unused_lifetime),
        };
        Ok((client, secret))
    }

    fn registration_response(&self, client: &Client, effective: &Effective, secret: Option<&str>) -> Value {
        let mut scopes = self.config.scopes.clone();
        scopes.push(scope::OPENID.to_owned());
        let mut body = json!({
            "client_id": client.id,
            "client_id_issued_at": self.now().seconds(),
            "redirect_uris": client.redirect_uris,
            "token_endpoint_auth_method": client.auth_method,
            "grant_types": grant_types(client.refreshes),
            "response_types": ["code"],
            "application_type": effective.application_type,
            "scope": scopes.join(" "),
        });
        if !client.post_logout_redirect_uris.is_empty() {
            body["post_logout_redirect_uris"] = client.post_logout_redirect_uris.clone().into();
        }
        if let Some(name) = &client.name {
            body["client_name"] = name.as_str().into();
        }
        if let Some(secret) = secret {
            body["client_secret"] = secret.into();
            body["client_secret_expires_at"] = 0.into();
        }
        body
    }
}

fn grant_types(refreshes: bool) -> &'static [&'static str] {
    if refreshes { &["authorization_code", "refresh_token"] } else { &["authorization_code"] }
}

fn effective(metadata: Metadata, private_schemes: &[String]) -> Result<Effective, TokenError> {
    if metadata.jwks.as_ref().is_some_and(has_private_key) {
        return Err(TokenError::InvalidClientMetadata("jwks contains private key material"));
    }
    let auth_method = match metadata.token_endpoint_auth_method.as_deref() {
        Some("none") => AuthMethod::None,
        // The default of RFC 7591 section 2.
        Some("client_secret_basic") | None => AuthMethod::ClientSecretBasic,
        Some("client_secret_post") => AuthMethod::ClientSecretPost,
        Some(_) => return Err(TokenError::InvalidClientMetadata("token_endpoint_auth_method is not supported")),
    };
    let response_types = metadata.response_types.unwrap_or_else(|| vec!["code".to_owned()]);
    if response_types.is_empty() || response_types.iter().any(|response_type| response_type != "code") {
        return Err(TokenError::InvalidClientMetadata("response_types must be code"));
    }
    let redirect_uris = metadata.redirect_uris.unwrap_or_default();
    let application_type = application_type(metadata.application_type.as_deref(), &redirect_uris, private_schemes)?;
    let post_logout_redirect_uris = metadata.post_logout_redirect_uris.unwrap_or_default();
    refuse_unfit(&post_logout_redirect_uris, application_type, private_schemes)?;
    Ok(Effective {
        post_logout_redirect_uris,
        auth_method,
        auth_method_unstated: metadata.token_endpoint_auth_method.is_none(),
        refreshes: refreshes(metadata.grant_types.as_deref())?,
        application_type,
        name: metadata.client_name.map(|name| shown(&name)).filter(|name| !name.is_empty()),
        redirect_uris,
    })
}

/// Addresses after a logout (OpenID Connect RP-Initiated Logout 1.0 section 3.1) are held to what redirect URIs are.
fn refuse_unfit(uris: &[String], application_type: &str, private_schemes: &[String]) -> Result<(), TokenError> {
    const UNFIT: TokenError = TokenError::InvalidClientMetadata("post_logout_redirect_uris are not redirect URIs");
    if uris.len() > REDIRECT_URIS_MAX {
        return Err(UNFIT);
    }
    for uri in uris {
        let kind = redirect_uri::validate(uri, private_schemes).map_err(|_| UNFIT)?;
        if application_type == "web" && kind != RedirectKind::Https {
            return Err(UNFIT);
        }
    }
    Ok(())
}

/// Grant types that are not offered are left out of the registration, as the server may (RFC 7591 section 3.2.1): real
/// clients list all they know. Those that OAuth 2.1 removed are refused, and a client that says nothing may refresh.
fn refreshes(grant_types: Option<&[String]>) -> Result<bool, TokenError> {
    let Some(grant_types) = grant_types else { return Ok(true) };
    let has = |wanted: &str| grant_types.iter().any(|grant_type| grant_type == wanted);
    if !has("authorization_code") {
        return Err(TokenError::InvalidClientMetadata("grant_types must contain authorization_code"));
    }
    if has("implicit") || has("password") {
        return Err(TokenError::InvalidClientMetadata("grant_types implicit and password are not supported"));
    }
    Ok(has("refresh_token"))
}

/// OpenID Connect Registration section 2: web clients do not redirect to loopback. A client that does not say what it is
/// (the default there is web) is what its redirect URIs make it, as MCP clients before 2026-07-28 say nothing.
fn application_type(
    stated: Option<&str>,
    redirect_uris: &[String],
    private_schemes: &[String],
) -> Result<&'static str, TokenError> {
    if redirect_uris.is_empty() || redirect_uris.len() > REDIRECT_URIS_MAX {
        return Err(TokenError::InvalidRedirectUri(RedirectUriError::Count));
    }
    let mut native = false;
    for uri in redirect_uris {
        let kind = redirect_uri::validate(uri, private_schemes).map_err(TokenError::InvalidRedirectUri)?;
        native |= kind != RedirectKind::Https;
    }
    match stated {
        Some("web") if native => Err(TokenError::InvalidRedirectUri(RedirectUriError::WebClient)),
        Some("web") => Ok("web"),
        Some("native") => Ok("native"),
        Some(_) => Err(TokenError::InvalidClientMetadata("application_type must be native or web")),
        None if native => Ok("native"),
        None => Ok("web"),
    }
}

/// A name as people may see it: one line, no invisible or direction-changing characters, of bounded length.
fn shown(name: &str) -> String {
    let visible = |c: &char| {
        !c.is_control()
            && !matches!(
                c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                    | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                    | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            )
    };
    let text: String = name.chars().filter(visible).take(NAME_CHARS_MAX).collect();
    text.trim().to_owned()
}

/// RFC 7517 section 9.3 and RFC 7518 section 6: the members that must never leave their owner.
fn has_private_key(jwks: &Value) -> bool {
    let keys = jwks.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    keys.iter()
        .any(|key| ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"].iter().any(|member| key.get(member).is_some()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn of(value: &Value) -> Result<Effective, TokenError> {
        effective(serde_json::from_value(value.clone()).unwrap(), &[])
    }

    #[test]
    fn dc2_what_is_not_supported_is_refused_by_the_right_name() {
        let uri = "https://app.example/cb";
        for metadata in [
            json!({ "redirect_uris": [uri], "token_endpoint_auth_method": "private_key_jwt" }),
            json!({ "redirect_uris": [uri], "grant_types": ["client_credentials"] }),
            json!({ "redirect_uris": [uri], "grant_types": ["authorization_code", "implicit"] }),
            json!({ "redirect_uris": [uri], "grant_types": [] }),
            json!({ "redirect_uris": [uri], "response_types": ["token"] }),
            json!({ "redirect_uris": [uri], "response_types": ["code", "id_token"] }),
            json!({ "redirect_uris": [uri], "application_type": "toaster" }),
            json!({ "redirect_uris": [uri], "jwks": { "keys": [{ "kty": "EC", "d": "x" }] } }),
        ] {
            assert!(matches!(of(&metadata), Err(TokenError::InvalidClientMetadata(_))), "{metadata}");
        }
        for metadata in [
            json!({}),
            json!({ "redirect_uris": [] }),
            json!({ "redirect_uris": ["http://app.example/cb"] }),
            json!({ "redirect_uris": ["http://localhost/cb"], "application_type": "web" }),
        ] {
            assert!(matches!(of(&metadata), Err(TokenError::InvalidRedirectUri(_))), "{metadata}");
        }
    }

    #[test]
    fn the_type_of_a_client_that_does_not_say_is_what_its_redirect_uris_make_it() {
        assert_eq!(of(&json!({ "redirect_uris": ["http://localhost/cb"] })).unwrap().application_type, "native");
        assert_eq!(of(&json!({ "redirect_uris": ["https://app.example/cb"] })).unwrap().application_type, "web");
    }

    #[test]
    fn names_are_shown_without_characters_that_deceive() {
        assert_eq!(shown(" Evil\u{202e}\nApp\u{200b} "), "EvilApp");
        assert_eq!(shown("\u{3164}\u{e0041}\u{115f} \u{61c}"), "");
        assert_eq!(shown(&"x".repeat(500)).len(), NAME_CHARS_MAX);
    }
}
