//! The token endpoint (OAuth 2.1 section 3.2): authorization codes and refresh tokens in, access tokens out.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::access_token::{AccessClaims, IdClaims, sign_access_token, sign_id_token};
use crate::address::limit_key;
use crate::authorize_request::is_verifier;
use crate::client::{AuthMethod, Client};
use crate::family::Rotation;
use crate::form::Parameters;
use crate::grant::{CodePresentation, Issue, RefreshPresentation};
use crate::keys::KeysNow;
use crate::refresh_token::RefreshToken;
use crate::scope;
use crate::secret::random_text;
use crate::server::{AuthServer, BODY_MAX, BODY_TIMEOUT};
use crate::token_error::{TokenError, json_response};

pub(crate) async fn token(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    match server.answer_token_request(request).await {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(error) => error.into_response(),
    }
}

/// What any other method than POST is told (OAuth 2.1 section 3.2).
pub(crate) async fn post_only() -> Response {
    TokenError::Method("POST").into_response()
}

pub(crate) const UNREADABLE_BODY: &str = "the body is too large, took too long or was cut off";

/// Reads a body of bounded size in bounded time: one that never ends must not hold its connection for good.
pub(crate) async fn read_body(request: Request) -> Option<Bytes> {
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_MAX)).await.ok()?.ok()
}

/// Reads a form body. Parameters in the URL are refused: URLs end up in logs (RFC 6749 section 2.3.1).
pub(crate) async fn form_of(request: Request) -> Result<(HeaderMap, Parameters), TokenError> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(TokenError::InvalidRequest("parameters belong into the body"));
    }
    let headers = request.headers().clone();
    let is_form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(TokenError::InvalidRequest("the content type must be application/x-www-form-urlencoded"));
    }
    let body = read_body(request).await.ok_or(TokenError::InvalidRequest(UNREADABLE_BODY))?;
    let form = Parameters::parse(&body)?;
    form.refuse_duplicates(&["resource"])?;
    Ok((headers, form))
}

impl AuthServer {
    async fn answer_token_request(&self, request: Request) -> Result<Value, TokenError> {
        let address = limit_key(request.extensions());
        let (headers, form) = form_of(request).await?;
        let grant_type = form.one("grant_type")?.ok_or(TokenError::InvalidRequest("grant_type is missing"))?;
        let loaded = self.authenticate_client(&headers, &form, address).await?;
        // Before anything is spent: who cannot sign must not redeem.
        let keys = self.keys.to_sign().await?;
        let issue = match grant_type {
            "authorization_code" => self.by_code(&form, &loaded.row).await?,
            "refresh_token" => self.by_refresh_token(&form, &loaded.row).await?,
            _ => return Err(TokenError::UnsupportedGrantType),
        };
        // The client exists long enough for this answer in any case; not being able to prolong it is no reason to fail.
        if let Err(error) = self.prolong_client(&loaded).await {
            tracing::warn!(%error, "a client could not be prolonged");
        }
        self.response(&keys, &issue, &loaded.row, grant_type == "authorization_code")
    }

    async fn by_code(&self, form: &Parameters, client: &Client) -> Result<Issue, TokenError> {
        let code = form.one("code")?.ok_or(TokenError::InvalidRequest("code is missing"))?;
        // Every code was issued for a challenge, so a presentation without a verifier is a wrong one (RFC 7636 section 4.6).
        let verifier = form.one("code_verifier")?.filter(|text| is_verifier(text)).ok_or(TokenError::InvalidGrant)?;
        self.redeem(&CodePresentation {
            code,
            client: &client.id,
            client_refreshes: client.refreshes,
            redirect_uri: form.one("redirect_uri")?,
            verifier,
            resources: form.all("resource").collect(),
        })
        .await
    }

    async fn by_refresh_token(&self, form: &Parameters, client: &Client) -> Result<Issue, TokenError> {
        if !client.refreshes {
            return Err(TokenError::UnauthorizedClient);
        }
        let token = form.one("refresh_token")?.ok_or(TokenError::InvalidRequest("refresh_token is missing"))?;
        self.refresh(&RefreshPresentation {
            token: RefreshToken::parse(token).ok_or(TokenError::InvalidGrant)?,
            client: &client.id,
            rotation: match client.auth_method {
                AuthMethod::None => Rotation::EveryUse,
                AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => Rotation::LateInLife,
            },
            scope: form.one("scope")?,
            resources: form.all("resource").collect(),
        })
        .await
    }

    fn response(
        &self,
        keys: &KeysNow,
        issue: &Issue,
        client: &Client,
        with_id_token: bool,
    ) -> Result<Value, TokenError> {
        let now = self.now();
        let expires = now.plus(self.config.access_token_lifetime).min(issue.ends);
        let grant = &issue.grant;
        let scope = issue.scope.join(" ");
        let access_token = sign_access_token(
            keys,
            &AccessClaims {
                iss: self.config.issuer.clone(),
                sub: grant.subject.clone(),
                aud: grant.resource.clone(),
                client_id: grant.client.clone(),
                iat: now.seconds(),
                exp: expires.seconds(),
                jti: random_text::<16>(&*self.entropy)?,
                scope: scope.clone(),
                auth_time: grant.auth_time.seconds(),
                grant: issue.id.clone(),
                generation: issue.generation,
            },
        )?;
        let mut body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": expires.since(now).as_secs(),
            "scope": scope,
        });
        if client.refreshes {
            body["refresh_token"] = issue.refresh_token.as_str().into();
        }
        if with_id_token && grant.scope.iter().any(|scope| scope == scope::OPENID) {
            body["id_token"] = self.id_token(keys, issue)?.into();
        }
        Ok(body)
    }

    fn id_token(&self, keys: &KeysNow, issue: &Issue) -> Result<String, TokenError> {
        let now = self.now();
        let claims = IdClaims {
            iss: &self.config.issuer,
            sub: &issue.grant.subject,
            aud: &issue.grant.client,
            iat: now.seconds(),
            exp: now.plus(self.config.access_token_lifetime).seconds(),
            auth_time: issue.grant.auth_time.seconds(),
            nonce: issue.grant.code.nonce.as_deref(),
        };
        Ok(sign_id_token(keys, &claims)?)
    }
}
