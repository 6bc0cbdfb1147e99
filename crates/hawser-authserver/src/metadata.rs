//! What the server says about itself (RFC 8414, RFC 9207 section 3, OpenID Connect Discovery 1.0 section 3). Only what is
//! on is advertised, and every URL comes from the configured issuer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::keys::PUBLISHED_MAX_AGE;
use crate::scope;
use crate::server::AuthServer;

/// Token endpoint authentication methods, for clients that register themselves.
const AUTH_METHODS: [&str; 3] = ["none", "client_secret_basic", "client_secret_post"];

pub(crate) async fn oauth(State(server): State<Arc<AuthServer>>) -> Response {
    document(server.metadata().to_string().into())
}

pub(crate) async fn openid(State(server): State<Arc<AuthServer>>) -> Response {
    document(server.openid_metadata().to_string().into())
}

pub(crate) async fn jwks(State(server): State<Arc<AuthServer>>) -> Response {
    document(server.keys.now().jwks())
}

/// How long anybody may keep what is published: a new signing key is published for longer before it is used.
const PUBLIC: &str = "public, max-age=300";
const _: () = assert!(PUBLISHED_MAX_AGE.as_secs() == 300, "the age that keys wait for is the one that is told");

fn document(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(PUBLIC));
    response
}

impl AuthServer {
    fn metadata(&self) -> Value {
        let mut scopes = self.config.scopes.clone();
        scopes.push(scope::OPENID.to_owned());
        let mut metadata = json!({
            "issuer": self.config.issuer,
            "authorization_endpoint": self.url("/oauth/authorize"),
            "token_endpoint": self.url("/oauth/token"),
            "revocation_endpoint": self.url("/oauth/revoke"),
            "jwks_uri": self.url("/oauth/jwks"),
            "scopes_supported": scopes,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": AUTH_METHODS,
            "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": false,
        });
        if self.config.registration.enabled {
            metadata["registration_endpoint"] = self.url("/oauth/register").into();
        }
        metadata
    }

    fn openid_metadata(&self) -> Value {
        let mut metadata = self.metadata();
        metadata["end_session_endpoint"] = self.url("/oauth/logout").into();
        metadata["subject_types_supported"] = json!(["public"]);
        metadata["id_token_signing_alg_values_supported"] = json!(["ES256"]);
        metadata["claims_supported"] = json!(["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"]);
        metadata["prompt_values_supported"] = json!(["none", "login", "consent", "select_account"]);
        metadata["request_parameter_supported"] = false.into();
        metadata["request_uri_parameter_supported"] = false.into();
        metadata["claims_parameter_supported"] = false.into();
        metadata
    }
}
