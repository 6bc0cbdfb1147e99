//! A connection to a gateway's administration.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::target::Target;
use crate::admin::wire::Refused;
use crate::failure::Failure;

/// Longest wait for one answer: what is ended may have to be found in a large store first.
const PATIENCE: Duration = Duration::from_mins(1);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An open connection.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Connects.
    pub(super) async fn connect(target: &Target) -> Result<Self, Failure> {
        match target {
            Target::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| no_socket(path, &error))?;
                Self::over(stream, None).await
            }
            Target::Tcp { address, token } => {
                let stream = TcpStream::connect(address).await.map_err(|error| {
                    let hint = "is it running, and is this its `admin.listen`?";
                    Failure::run_with_hint(format!("no gateway is administered at {address}: {error}"), hint)
                })?;
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                    .map_err(|_| Failure::run("the token has characters that no token has"))?;
                value.set_sensitive(true);
                Self::over(stream, Some(value)).await
            }
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        Ok(Self { sender, authorization })
    }

    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "hawser");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
        let answered = async {
            let response = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok::<_, Failure>((status, body.map_err(|error| broken(&error))?.to_bytes()))
        };
        let (status, body) =
            timeout(PATIENCE, answered).await.map_err(|_| Failure::run("the gateway did not answer in time"))??;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| broken(&error))
    }
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::run(format!("the gateway's administration does not answer as it should: {error}"))
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<Refused>(body).unwrap_or_default();
    if status == StatusCode::UNAUTHORIZED {
        return Failure::run_with_hint("the gateway refuses the token", "it must be the one of its `admin.token`");
    }
    match (said.parameter, said.error.as_str()) {
        (_, "") => Failure::run(format!("the gateway refuses: {status}")),
        (Some(parameter), error) => Failure::run(format!("`{parameter}`: {error}")),
        (None, error) => Failure::run(error.to_owned()),
    }
}

fn no_socket(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::run_with_hint(
            format!("no gateway runs there: nobody answers on {shown}"),
            "start it with `hawser serve`, or say which one is meant with --config, --data-dir or --admin",
        ),
        io::ErrorKind::PermissionDenied => {
            let owner = std::fs::symlink_metadata(path).map(|found| format!(" (user id {})", found.uid()));
            Failure::run_with_hint(
                format!("{shown} belongs to another user{}", owner.unwrap_or_default()),
                "run this as the user that the gateway runs as",
            )
        }
        _ => Failure::run(format!("cannot connect to {shown}: {error}")),
    }
}
