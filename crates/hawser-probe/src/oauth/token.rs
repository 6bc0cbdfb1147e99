//! Registration (RFC 7591), the token endpoint (OAuth 2.1, RFC 8707) and revocation (RFC 7009).

use base64::Engine as _;
use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{Discovered, Grant, OAuthError, metadata, redirect_uri};
use crate::secret::Secret;
use crate::wire::{Answer, Wire, web_address};

const REGISTER: &str = "dynamic client registration (RFC 7591)";
const REDEEM: &str = "token endpoint, authorization code";
const REFRESH: &str = "token endpoint, refresh";
const REVOKE: &str = "revocation (RFC 7009)";

/// How the client authenticates at the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Authentication {
    None,
    Post(Secret),
    Basic(Secret),
}

/// A registered client.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    authentication: Authentication,
}

impl Client {
    /// A client that was registered beforehand; a confidential one authenticates by `client_secret_basic`.
    pub fn registered(id: impl Into<String>, secret: Option<Secret>) -> Self {
        let authentication = secret.map_or(Authentication::None, Authentication::Basic);
        Self { id: id.into(), authentication }
    }
}

/// What the token endpoint gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: Secret,
    /// The refresh token, if there is one.
    pub refresh: Option<Secret>,
    /// Lifetime in seconds, as stated.
    pub expires_in: Option<u64>,
}

/// Registers a public client for the loopback redirect.
pub(super) async fn register(wire: &Wire, discovered: &Discovered) -> Result<Client, OAuthError> {
    #[derive(Deserialize)]
    struct Registered {
        client_id: String,
        #[serde(default)]
        client_secret: Option<String>,
        #[serde(default)]
        token_endpoint_auth_method: Option<String>,
    }
    let endpoint = discovered.server.registration_endpoint.as_deref().ok_or_else(|| {
        OAuthError::refused(REGISTER, "the metadata has no `registration_endpoint`; give the probe tokens instead")
    })?;
    let body = serde_json::json!({
        "client_name": "hawser probe",
        "application_type": "native",
        "redirect_uris": [redirect_uri()?.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let url = web_address(endpoint).map_err(OAuthError::wire(REGISTER))?;
    let answer = wire.fetch(wire.request(Method::POST, &url).json(&body)).await.map_err(OAuthError::wire(REGISTER))?;
    OAuthError::expect(REGISTER, &answer, &[StatusCode::CREATED, StatusCode::OK])?;
    let client: Registered = read(REGISTER, &answer)?;
    let method = client.token_endpoint_auth_method.as_deref();
    let authentication = match (client.client_secret, method) {
        (None, _) | (Some(_), Some("none")) => Authentication::None,
        (Some(secret), Some("client_secret_post")) => Authentication::Post(Secret::new(secret)),
        (Some(secret), _) => Authentication::Basic(Secret::new(secret)),
    };
    Ok(Client { id: client.client_id, authentication })
}

/// Redeems an authorization code.
pub(super) async fn redeem(
    wire: &Wire,
    discovered: Discovered,
    client: Client,
    code: &Secret,
    verifier: &Secret,
) -> Result<Grant, OAuthError> {
    let redirect = redirect_uri()?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.expose()),
        ("redirect_uri", redirect.as_str()),
        ("code_verifier", verifier.expose()),
        ("resource", &discovered.resource),
    ];
    let answer = ask(wire, REDEEM, &discovered.server.token_endpoint, &client, &form).await?;
    let tokens = tokens(REDEEM, &answer)?;
    Ok(Grant { discovered, client, tokens })
}

impl Grant {
    /// A grant known only by its refresh token: finds the token endpoint and redeems it.
    pub async fn resume(
        wire: &Wire,
        target: &Url,
        refusal: &http::HeaderMap,
        client: Client,
        refresh: Secret,
    ) -> Result<Self, OAuthError> {
        let discovered = metadata::discover(wire, target, refusal).await?;
        let tokens = Tokens { access: Secret::new(""), refresh: Some(refresh), expires_in: None };
        let mut grant = Self { discovered, client, tokens };
        grant.refresh(wire).await?;
        Ok(grant)
    }

    /// Trades the refresh token for new tokens. A refresh token that is not replaced stays (RFC 6749 section 6).
    pub async fn refresh(&mut self, wire: &Wire) -> Result<(), OAuthError> {
        let refresh = self
            .tokens
            .refresh
            .clone()
            .ok_or_else(|| OAuthError::refused(REFRESH, "the authorization server issued no refresh token"))?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
            ("resource", &self.discovered.resource),
        ];
        let answer = ask(wire, REFRESH, &self.discovered.server.token_endpoint, &self.client, &form).await?;
        let mut new = tokens(REFRESH, &answer)?;
        new.refresh = new.refresh.or(Some(refresh));
        self.tokens = new;
        Ok(())
    }

    /// Revokes the grant by its refresh token, or the access token where there is none. Nothing to do without an endpoint.
    pub async fn revoke(&self, wire: &Wire) -> Result<(), OAuthError> {
        let Some(endpoint) = &self.discovered.server.revocation_endpoint else { return Ok(()) };
        let (token, hint) = match &self.tokens.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&self.tokens.access, "access_token"),
        };
        let form = [("token", token.expose()), ("token_type_hint", hint)];
        let answer = ask(wire, REVOKE, endpoint, &self.client, &form).await?;
        OAuthError::expect(REVOKE, &answer, &[StatusCode::OK, StatusCode::NO_CONTENT])
    }
}

async fn ask(
    wire: &Wire,
    step: &'static str,
    endpoint: &str,
    client: &Client,
    form: &[(&str, &str)],
) -> Result<Answer, OAuthError> {
    let url: Url = web_address(endpoint).map_err(OAuthError::wire(step))?;
    let mut body = Serializer::new(String::new());
    body.extend_pairs(form);
    let mut request = wire.request(Method::POST, &url).header(http::header::ACCEPT, "application/json");
    match &client.authentication {
        Authentication::None => {
            body.append_pair("client_id", &client.id);
        }
        Authentication::Post(secret) => {
            body.append_pair("client_id", &client.id).append_pair("client_secret", secret.expose());
        }
        Authentication::Basic(secret) => request = request.header(http::header::AUTHORIZATION, basic(client, secret)),
    }
    let request = request.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.finish());
    wire.fetch(request).await.map_err(OAuthError::wire(step))
}

/// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
fn basic(client: &Client, secret: &Secret) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.id), encode(secret.expose()));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn tokens(step: &'static str, answer: &Answer) -> Result<Tokens, OAuthError> {
    #[derive(Deserialize)]
    struct Body {
        access_token: String,
        token_type: String,
        #[serde(default)]
        refresh_token: Option<String>,
        #[serde(default)]
        expires_in: Option<u64>,
    }
    OAuthError::expect(step, answer, &[StatusCode::OK])?;
    let body: Body = read(step, answer)?;
    if !body.token_type.eq_ignore_ascii_case("bearer") {
        return Err(OAuthError::refused(step, "the token is not a Bearer token, and this client can send no other"));
    }
    Ok(Tokens {
        access: Secret::new(body.access_token),
        refresh: body.refresh_token.map(Secret::new),
        expires_in: body.expires_in,
    })
}

/// Reads JSON; the error names place and kind, not content: the content may be a token.
fn read<T: for<'de> Deserialize<'de>>(step: &'static str, answer: &Answer) -> Result<T, OAuthError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        OAuthError::refused(step, format!("the answer is not the expected JSON (line {line}, column {column})"))
    })
}
