//! Token revocation (RFC 7009). A refresh token takes its whole grant along, an access token only itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::access_token::own_access_token;
use crate::address::limit_key;
use crate::audit::Audit;
use crate::refresh_token::RefreshToken;
use crate::server::AuthServer;
use crate::token::form_of;
use crate::token_error::{TokenError, json_response};

pub(crate) async fn revoke(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    match server.answer_revocation(request).await {
        Ok(()) => json_response(StatusCode::OK, &json!({})),
        Err(error) => error.into_response(),
    }
}

impl AuthServer {
    /// Unknown, foreign and meaningless tokens get the same 200 as a revoked one (RFC 7009 section 2.2). The hint is not
    /// needed: the two kinds of token cannot be mistaken for each other.
    async fn answer_revocation(&self, request: Request) -> Result<(), TokenError> {
        let address = limit_key(request.extensions());
        let (headers, form) = form_of(request).await?;
        let token = form.one("token")?.ok_or(TokenError::InvalidRequest("token is missing"))?;
        let client = self.authenticate_client(&headers, &form, address).await?.row;
        if let Some(refresh_token) = RefreshToken::parse(token) {
            if let Some(grant) = self.grant_of_refresh_token(&refresh_token, &client.id).await? {
                self.revoke(&grant, "revoked_by_client").await?;
            }
        } else if let Some(claims) = own_access_token(&self.keys.now(), &self.config.issuer, self.now(), token)
            && claims.client_id == client.id
        {
            self.deny_access_token(&claims.grant, &claims.jti, claims.exp).await?;
            Audit::token_revoked(&claims.grant, &claims.jti, &client.id);
        }
        Ok(())
    }
}
