//! The signing keys of the embedded authorization server, as administrators see and replace them.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use hawser_authserver::{AuthServer, SigningKeysError};
use tracing::{error, warn};

use super::Administered;
use super::routes::body_of;
use super::wire::{Refused, ShownSigningKey, SigningKeyList, SigningKeyRemoval, json};

/// `GET /v1/signing-keys`
pub(super) async fn list(State(administered): State<Administered>) -> Result<Response, Refused> {
    Ok(listed(server(&administered)?))
}

/// `POST /v1/signing-keys/rotate`
pub(super) async fn rotate(State(administered): State<Administered>) -> Result<Response, Refused> {
    let server = server(&administered)?;
    server.rotate_signing_key().await?;
    Ok(listed(server))
}

/// `POST /v1/signing-keys/remove`
pub(super) async fn remove(State(administered): State<Administered>, request: Request) -> Result<Response, Refused> {
    let server = server(&administered)?;
    let body = body_of(request).await?;
    let SigningKeyRemoval { kid } =
        serde_json::from_slice(&body).map_err(|error| Refused::new(format!("the body cannot be read: {error}")))?;
    server.remove_signing_key(&kid).await?;
    warn!(target: "hawser::audit", event = "signing_key_removed", kid, "by an administrator");
    Ok(listed(server))
}

fn server(administered: &Administered) -> Result<&AuthServer, Refused> {
    let server = administered.authorization_server.as_ref().map(|(server, _)| server.as_ref());
    server.ok_or_else(|| {
        Refused::new("this gateway has no authorization server of its own").with_status(StatusCode::NOT_FOUND)
    })
}

fn listed(server: &AuthServer) -> Response {
    let keys = server.signing_keys().into_iter().map(|key| ShownSigningKey {
        kid: key.kid,
        state: key.state.as_str().to_owned(),
        created: key.created.seconds(),
        since: key.since.seconds(),
    });
    json(StatusCode::OK, &SigningKeyList { keys: keys.collect() })
}

impl From<SigningKeysError> for Refused {
    fn from(error: SigningKeysError) -> Self {
        match error {
            SigningKeysError::Store(error) => error.into(),
            SigningKeysError::Unknown(_) => {
                Self::of("kid", "there is no such signing key").with_status(StatusCode::NOT_FOUND)
            }
            error => {
                error!(%error, "the signing keys cannot be changed");
                Self::new("the signing keys cannot be changed now; the log says why")
                    .with_status(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}
